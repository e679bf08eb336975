"""One style for every figure: large type for a lecture room, colours that a colour-blind reader can tell apart."""

from __future__ import annotations

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.colors import ListedColormap

# Okabe & Ito's colours for lines and areas: told apart with any of the common forms of colour blindness.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#6E6E6E")
LINES = [BLUE, RED, GREEN, ORANGE, PURPLE, SKY, GREY]
# Ten classes are too many for colour alone: wherever they are shown, each also carries its name.
CLASSES = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#B8A800", "#6E6E6E", "#332288", "#882255"]
CLASS_COLOURS = ListedColormap(CLASSES, name="ten classes")
# A face's parts, told apart by lightness too.
PART_COLOURS = {"background": "#F4F4F4", "face": "#F0B060", "hair": "#882255", "hat": "#009E73", "glasses": "#101010",
                "clothes": "#56B4E9"}
HEAT = "viridis"  # ordered in lightness: it survives a grey-scale printer


def use_style(svg: bool = False) -> None:
    """Sets the course's style for all figures that follow; ``svg=True`` has notebooks keep them as SVG."""
    plt.rcParams.update({
        "figure.dpi": 88, "savefig.dpi": 88, "figure.facecolor": "white", "figure.constrained_layout.use": True,
        "font.size": 13, "axes.titlesize": 14, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.labelsize": 13, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "axes.axisbelow": True, "grid.color": "#E4E4E4", "legend.frameon": False, "legend.fontsize": 12,
        "lines.linewidth": 2.2,
        "axes.prop_cycle": cycler(color=LINES), "image.cmap": "gray", "image.interpolation": "nearest",
        "svg.fonttype": "none", "mathtext.fontset": "stix"})
    if svg:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
        set_matplotlib_formats("svg")


def save_svg(figure: plt.Figure, path) -> None:
    """Writes any figure of the course as SVG, with its text as text."""
    figure.savefig(path, format="svg", bbox_inches="tight")
