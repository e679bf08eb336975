"""`make picture`: the picture of README.md, drawn by the course from its stored models."""

from __future__ import annotations

import matplotlib

matplotlib.use("agg")

import torch

from course_lib import metrics, plots, recipes
from course_lib.datasets import mnist
from tools.common import ROOT


def main() -> None:
    plots.use_style()
    (x, labels), (x_test, _) = mnist("train").floats(), mnist("test").floats()
    model, classifier = recipes.load("ae-digits-2"), recipes.load("digit-classifier")
    limits = recipes.table("hole-limits-digits")["rows"][0]
    ruler = metrics.HoleRuler(model.encode, model.decode, classifier, x, x_test, **limits)
    ends = [ruler.codes[labels == c].median(0).values for c in (1, 3)]
    way = torch.lerp(*ends, torch.linspace(0, 1, 101)[:, None])
    figure = plots.walk(way, metrics.in_blocks(model.decode, way), ruler.scores(way), ruler.codes, labels,
                        "A walk from the 1s to the 3s crosses ground that is neither")
    figure.savefig(ROOT / "data" / "picture.png")
    print("data/picture.png is drawn: look at it.")


if __name__ == "__main__":
    main()
