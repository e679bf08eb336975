"""`make picture`: the pictures of README.md and of data/README.md, drawn by the course from its stored models."""

from __future__ import annotations

import matplotlib

matplotlib.use("agg")

import torch

from course_lib import metrics, plots, recipes
from course_lib.datasets import faces, mnist
from tools.common import ROOT


def main() -> None:
    plots.use_style()
    for draw in (walk, sheet, blur):
        name = f"data/{'picture' if draw is walk else f'faces_{draw.__name__}'}.png"
        draw().savefig(ROOT / name)
        print(f"{name} is drawn: look at it.")


def walk():
    """A walk over a hole, for README.md."""
    (x, labels), (x_test, _) = mnist("train").floats(), mnist("test").floats()
    model, classifier = recipes.load("ae-digits-2"), recipes.load("digit-classifier")
    limits = recipes.table("hole-limits-digits")["rows"][0]
    ruler = metrics.HoleRuler(model.encode, model.decode, classifier, x, x_test, **limits)
    ends = [ruler.codes[labels == c].median(0).values for c in (1, 3)]
    way = torch.lerp(*ends, torch.linspace(0, 1, 101)[:, None])
    return plots.walk(way, metrics.in_blocks(model.decode, way), ruler.scores(way), ruler.codes, labels,
                      "A walk from the 1s to the 3s crosses ground that is neither")


def sheet():
    """The first trial of the faces: can one see what a hundred of them look like?"""
    return plots.image_grids({"": faces("test").images[:100]}, "The first hundred test faces", columns=20, scale=0.62)


def blur():
    """The second trial: what does a VAE make of them?"""
    model, x = recipes.load("vae-faces"), faces("test").floats()[:14]
    return plots.image_rows({"test face": x, "VAE": metrics.in_blocks(model, x)},
                            "A VAE with 64 latents keeps pose and colours, and blurs the rest")


if __name__ == "__main__":
    main()
