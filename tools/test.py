"""`make test [NB=01]`: ruff, the unit tests, and every notebook under nbval, compared in full."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tools.common import ROOT, choose_notebooks, kernel_environment

# Two workers, and a file (so a notebook, with its one kernel) stays with one of them.
WORKERS = ["-n", "2", "--dist", "loadfile"]
# One thread each comes with kernel_environment(). A kernel may take long to start on an overloaded machine.
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-kernel-startup-timeout", "300", "--nbval-cell-timeout", "600"]


def commands(notebooks: list[Path], everything: bool) -> dict[str, list[str]]:
    """The steps of a test run by name: all of them, or only what concerns these notebooks."""
    python = [sys.executable, "-m"]
    options = ["-q", f"--color={'yes' if sys.stdout.isatty() else 'no'}"]
    steps = {}
    if everything:
        steps["ruff"] = [*python, "ruff", "check", "--quiet", "."]
        steps["unit tests"] = [*python, "pytest", *options, *WORKERS, "tests"]
    else:
        chosen = " or ".join(path.stem for path in notebooks)
        steps["rules"] = [*python, "pytest", *options, "tests/test_notebooks.py", "-k", chosen]
    if notebooks:
        paths = [str(path.relative_to(ROOT)) for path in notebooks]
        steps["notebooks"] = [*python, "pytest", *options, *WORKERS, *NBVAL, *paths]
    return steps


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument("--nb", help="the number of one notebook, such as 01: only this one is run")
    arguments = parser.parse_args()
    notebooks = choose_notebooks(arguments.nb)

    lines, failed = [], False
    for name, command in commands(notebooks, everything=arguments.nb is None).items():
        print(f"\n== {name} ==", flush=True)
        start = time.perf_counter()
        status = subprocess.run(command, cwd=ROOT, env=kernel_environment()).returncode
        failed |= status != 0
        lines.append(f"  {'passed' if status == 0 else 'FAILED'}  {name} ({time.perf_counter() - start:.0f} s)")
    if not notebooks:
        lines.append("  nothing to run: there are no notebooks in notebooks/")
    print("\n" + "\n".join(lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
