"""python -m course_lib: make the course's trained models and tables, and list them."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="every recipe: what it makes, and whether that is there")
    for command, what in (("train", "train models into data/checkpoints/"),
                          ("run", "make tables into data/results/; --all makes the models first")):
        sub = commands.add_parser(command, help=what)
        sub.add_argument("names", nargs="*", metavar="NAME", help="a recipe's name, as `list` prints them")
        sub.add_argument("--all", action="store_true", help="all of them")
        sub.add_argument("--device", help="cpu, cuda, cuda:1 …; by default the GPU where there is one")
    given = parser.parse_args(arguments)

    from course_lib import recipes  # torch is imported only where it is needed
    try:
        return _list(recipes) if given.command == "list" else _make(recipes, given, parser)
    except (ValueError, OSError, FloatingPointError) as error:  # OSError: a file that is missing, a disk that is full
        print(f"error: {error}", file=sys.stderr)
        return 1


def _make(recipes, given, parser) -> int:
    if bool(given.names) == given.all:
        parser.error(f"{given.command} takes names or --all: `python -m course_lib list` prints the names.")
    models, tables = _chosen(recipes, given)
    _require_device(given.device)
    for make, names in ((recipes.train, models), (recipes.run, tables)):
        for name in names:
            print(f"{name} …", flush=True)
            make(name, given.device)
            print(recipes.origin(name), flush=True)
    return 0


def _require_device(device: str | None) -> None:
    import torch
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch without CUDA
        raise ValueError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error


def _chosen(recipes, given) -> tuple[list[str], list[str]]:
    """The models and the tables to make, in this order: tables are measured with the models."""
    if given.command == "train":
        for name in given.names:
            recipes.find(name, recipes.MODELS)
        return (list(recipes.MODELS) if given.all else given.names), []
    for name in given.names:
        recipes.find(name, recipes.TABLES)
    return (list(recipes.MODELS), list(recipes.TABLES)) if given.all else ([], given.names)


def _list(recipes) -> int:
    for kind, entries, verb in (("checkpoints", recipes.MODELS, "train"), ("results", recipes.TABLES, "run")):
        print(f"{kind}:")
        for name, recipe in entries.items():
            made = (recipes.folder(kind) / f"{name}.json").exists()
            missing = f"{name}: {recipe.about}; not made yet: python -m course_lib {verb} {name}"
            print(f"  {recipes.origin(name) if made else missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
