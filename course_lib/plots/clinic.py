"""The clinic's pictures: a symptom beside its cure, all of them on one page, and the values of data and samples."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, PercentFormatter
from torch import Tensor

from course_lib.checks import require, require_one_of
from course_lib.plots.style import BLUE, GREEN, GREY, ORANGE, RED
from course_lib.recipes.clinic import FLOOR, SYMPTOMS

LABELS = {"D(x)": "probability", "D(G(z))": "D(G(z)), probability", "gradient": "gradient at G\n(nats per unit of θ)",
          "G moved": "way from the start,\nas a share of ‖θ₀‖", "near": "modes with samples\nnear, of 8",
          "spread": "spread of samples\nover that of data", "loss of D": "loss (nats)"}
COLOURS = {"loss of D": RED, "loss of G": BLUE, "D(x)": RED, "D(G(z))": BLUE, "G moved": BLUE, "D moved": RED,
           "gradient": BLUE, "near": BLUE, "spread": BLUE}         # what is D's in red, what is G's in blue
DASHES = {"loss of D": "--", "D(x)": "--", "D moved": "--"}
LOWEST = 1e-9                               # what is smaller, 0 too, is drawn here on a logarithmic axis
LEVELS = {("sigmoid", "loss of D"): {"1 for all: 1.627": 1.6275, "0 for all: 1.386": 1.3863,
                                      "the floor: 1.006": FLOOR},
          ("batch norm", "spread"): {"the data's": 1.0}, ("rate", "spread"): {"the data's": 1.0},
          ("collapse", "near"): {"all": 8.0}, ("sign", "loss of D"): {"0: no loss of D is below": 0.0}}


def symptom_chart(rows: Sequence[Mapping], symptom: str, title: str, cases: int = 2) -> plt.Figure:
    """Left a symptom, right its cure, from above to below what one may watch, the tell-tale last; a line a seed.

    rows: of ``clinic.clinic_rows``, those of other symptoms are left out; symptom: one of clinic.SYMPTOMS; cases: how
    many of its cases are drawn, from the first. Values below 1e-9 are drawn there on logarithmic axes. Raises
    ValueError for another symptom, and where there are no rows of a case.
    """
    require_one_of("symptom", symptom, tuple(SYMPTOMS))
    spec = SYMPTOMS[symptom]
    names = list(spec.cases)[:cases]
    fig, axes = plt.subplots(len(spec.panels), cases, figsize=(5.6 * cases + 0.8, 2.7 * len(spec.panels) + 0.9),
                             sharex=True, sharey="row", squeeze=False)
    for k, (column, case) in enumerate(zip(axes.T, names, strict=True)):
        runs = _runs(rows, symptom, case)
        for ax, keys in zip(column, spec.panels, strict=True):
            _lines(ax, runs, keys, spec.scales.get(keys[0], "linear"))
            _levels(ax, symptom, keys, k == 0)
        column[0].set_title(("ill: ", "cured: ", "")[min(k, 2)] + case, fontsize=12, fontweight="normal")
        column[-1].set_xlabel("training step")
    for ax, far, keys in zip(axes[:, 0], axes[:, -1], spec.panels, strict=True):
        ax.set_ylabel(LABELS[keys[0]] + (", log scale" if spec.scales.get(keys[0]) == "log" else ""), fontsize=12)
        if len(keys) > 1:
            handles = [plt.Line2D([], [], color=COLOURS[key], linestyle=DASHES.get(key, "-"), label=key)
                       for key in keys]
            far.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def clinic_chart(rows: Sequence[Mapping], title: str) -> plt.Figure:
    """All symptoms on one page: each one's tell-tale through training, ill (red, dashed) and cured (blue), a line a
    seed. rows: of ``clinic.clinic_rows``, with every symptom's first two cases; raises ValueError where some lack."""
    columns = 4
    fig, axes = plt.subplots(-(-len(SYMPTOMS) // columns), columns, figsize=(15, 6.6), squeeze=False)
    for ax, (symptom, spec) in zip(axes.flat, SYMPTOMS.items(), strict=True):
        key = spec.panels[-1][0]
        scale = spec.scales.get(key, "linear")
        for case, colour, dash in zip(list(spec.cases)[:2], (RED, BLUE), ("--", "-"), strict=True):
            for row in _runs(rows, symptom, case):
                _line(ax, row, key, scale, color=colour, linestyle=dash, linewidth=1.8)
        ax.set_title(f"{symptom}:\n{textwrap.fill(spec.seen, 34)}", fontsize=11, fontweight="normal")
        ax.set_ylabel("D(G(z)), probability" if key == "D(G(z))" else LABELS[key], fontsize=11)
        ax.set_xlabel("training step", fontsize=11)
        ax.tick_params(labelsize=10)
    handles = [plt.Line2D([], [], color=colour, linestyle=dash, label=name)
               for name, colour, dash in (("ill", RED, "--"), ("cured", BLUE, "-"))]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def range_histograms(panels: Mapping[str, tuple[Tensor, Tensor]], title: str) -> plt.Figure:
    """The values of data and of samples, a panel a name: where one never goes, D needs to look at nothing else.

    panels: name → (data, samples), of any shapes, values in [−1, 1].
    """
    require(len(panels) > 0, "there are no panels to draw.")
    fig, axes = plt.subplots(1, len(panels), figsize=(5.6 * len(panels) + 0.4, 3.8), sharey=True, squeeze=False)
    edges = np.linspace(-1, 1, 41)
    for ax, (name, (data, samples)) in zip(axes[0], panels.items(), strict=True):
        for label, values, colour, hatch in (("data", data, ORANGE, ""), ("samples", samples, GREEN, "///")):
            values = np.asarray(values.detach()).ravel()
            ax.hist(values, edges, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.55, hatch=hatch,
                    edgecolor=colour, label=label)
        ax.set(xlabel="value of a pixel", xlim=(-1.03, 1.03), xticks=[-1, -0.5, 0, 0.5, 1])
        ax.set_title(name, fontsize=12, fontweight="normal")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0, 0].set_ylabel("share of the values")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    return fig


def _runs(rows, symptom, case) -> list[Mapping]:
    found = [row for row in rows if (row["symptom"], row["case"]) == (symptom, case)]
    require(len(found) > 0, f"there are no rows of {symptom!r}, {case!r}: take those of recipes.table('gan-clinic').")
    return found


def _lines(ax, runs, keys, scale) -> None:
    for key in keys:
        for row, width in zip(runs, cycle([2.2, 1.6, 1.2])):
            _line(ax, row, key, scale, color=COLOURS[key], linestyle=DASHES.get(key, "-"), linewidth=width)


def _line(ax, row, key, scale, **style) -> None:
    values = np.array(row[key], dtype=float)
    if scale == "log":
        values = values.clip(LOWEST)
    ax.plot(row["step"], values, **style)
    ax.set_yscale("symlog", linthresh=1.0) if scale == "symlog" else ax.set_yscale(scale)
    if scale == "linear" and key in ("D(x)", "D(G(z))"):
        ax.set_ylim(-0.03, 1.05)
    if key == "near":
        ax.set_ylim(-0.2, 8.6)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))


def _levels(ax, symptom, keys, named) -> None:
    for label, level in LEVELS.get((symptom, keys[0]), {}).items():
        ax.axhline(level, color=GREY, linewidth=1, linestyle=":")
        if named:
            ax.annotate(label, (0.98, level), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                        ha="right", fontsize=10, color=GREY)
