"""Recipes: how each trained model and each table of the course is made, once, under a name.

``python -m course_lib train NAME`` writes data/checkpoints/NAME.safetensors and its card NAME.json; ``python -m
course_lib run NAME`` writes data/results/NAME.json; notebooks read them with ``load`` and ``table``.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from course_lib.checks import require
from course_lib.recipes import (
    attributes,
    clinic,
    diffusion,
    diffusion_tables,
    digits,
    faces,
    gan_failures,
    gans,
    likelihoods,
    measures,
    restricted,
    store,
    vae,
    vaegan_tables,
    wasserstein,
    wasserstein_digits,
)
from course_lib.recipes.store import Model, Table, mean_over_seeds

__all__ = ["MODELS", "TABLES", "card", "load", "mean_over_seeds", "origin", "run", "table", "train"]

MODELS: dict[str, Model] = {**digits.MODELS, **restricted.MODELS, **faces.MODELS, **vae.MODELS, **gans.MODELS,
                            **measures.MODELS, **wasserstein_digits.MODELS, **vaegan_tables.MODELS,
                            **diffusion.MODELS}
TABLES: dict[str, Table] = {**digits.TABLES, **restricted.TABLES, **vae.TABLES, **likelihoods.TABLES,
                           **gan_failures.TABLES, **measures.TABLES, **wasserstein.TABLES,
                           **wasserstein_digits.TABLES, **attributes.TABLES, **vaegan_tables.TABLES,
                           **clinic.TABLES, **diffusion_tables.TABLES}


def load(name: str, device=None) -> nn.Module:
    """A trained model of the course, in eval mode, checked against its card (SHA-256, and its outputs on the probe).

    Raises ValueError for another name than the recipes have, or where file, card and code do not fit together;
    FileNotFoundError where the card is missing. Each message says how to make the model anew.
    """
    return store.load_model(name, find(name, MODELS), folder("checkpoints"), device)


def card(name: str) -> dict:
    """A trained model's card: settings, seconds, versions, figures, SHA-256, probe."""
    find(name, MODELS)
    return store.read_card(name, folder("checkpoints"))


def table(name: str) -> dict:
    """A stored table: its settings, seconds and versions, and its ``rows``, a list of dicts."""
    find(name, TABLES)
    return store.read_card(name, folder("results"))


def origin(name: str) -> str:
    """Where a stored model or table comes from, in one line."""
    if name in TABLES:
        made = table(name)
        return (f"{name}: {len(made['rows'])} rows, made by `{made['made by']}` in {_duration(made['seconds'])} on "
                f"{made['device']}")
    made = card(name)
    figures = ", ".join(f"{key} {value:.4g}" for key, value in made["figures"].items())
    return (f"{name}: {made['parameters']:,} weights, {made['settings']['steps']:,} steps, made by "
            f"`{made['made by']}` in {_duration(made['seconds'])} on {made['device']}; {figures}")


def train(name: str, device=None, into: Path | None = None) -> dict:
    """Makes a model by its recipe, resuming a run that was cut short, and stores it; returns its card."""
    recipe, into = find(name, MODELS), into or folder("checkpoints")
    unfinished = store.unfinished_run(name, recipe, device)
    made = store.train_model(name, recipe, into, device, save_to=unfinished)
    unfinished.unlink(missing_ok=True)
    return made


def run(name: str, device=None, into: Path | None = None) -> dict:
    """Makes a table by its recipe and stores it; returns it."""
    return store.run_table(name, find(name, TABLES), into or folder("results"), device)


def folder(kind: str) -> Path:
    return store.DATA / kind


def find(name: str, among: dict):
    known = MODELS.keys() | TABLES.keys()
    require(name in known, f"there is no recipe {name!r}; there are {', '.join(sorted(known))}.")
    is_a, no, read, make = ("table", "model", "table", "run") if name in TABLES else ("model", "table", "load", "train")
    require(name in among, f"{name} is a {is_a}, not a {no}: read it with recipes.{read}({name!r}), make it with "
                           f"`python -m course_lib {make} {name}`.")
    return among[name]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
