"""`make lock`: writes requirements.lock anew, with the newest versions that fit pyproject.toml on every platform."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tools.common import ROOT

# PyTorch and torchvision go by pairs, so they are moved by hand: here, both at once.
TORCH, TORCHVISION = "2.13.0", "0.28.0"
HEADER = """\
# The versions that the course is tested with: one lock for users, CI and every platform, for Python 3.11 to 3.13.
# Made by `make lock` from pyproject.toml (with its extra "test"): do not edit.
#
# torch===: the triple = compares the version as text, so that it takes the package index's own build, for which there
# is a torchvision. With ==, pip would prefer a build such as 2.13.0+cpu from another source if it knew of one, and that
# has no torchvision beside it: "operator torchvision::nms does not exist".
"""


def resolve(constraints: str) -> str:
    """The resolver's answer for all platforms, from a throwaway environment that holds uv."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], check=True)
        (folder / "constraints.txt").write_text(constraints)
        (folder / "build.txt").write_text("setuptools>=77\n")       # builds the project itself, without a network
        (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
        subprocess.run([python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
                        "--fork-strategy", "fewest", "--extra", "test", "--no-header", "--no-annotate",
                        "--constraint", folder / "constraints.txt", "--output-file", folder / "lock",
                        folder / "pyproject.toml", folder / "build.txt"], check=True, cwd=folder)
        return (folder / "lock").read_text()


def main() -> None:
    path = ROOT / "requirements.lock"
    before = set(path.read_text().splitlines()) if path.exists() else set()
    pins = resolve(f"torch=={TORCH}\ntorchvision=={TORCHVISION}\n")
    pins = re.sub(r"^torch==", "torch===", pins, flags=re.MULTILINE)
    # What only later Pythons than ours would have to be told apart for.
    pins = pins.replace("python_full_version < '3.15' and ", "")
    path.write_text(HEADER + pins)
    after = set(path.read_text().splitlines())
    for sign, lines in (("-", before - after), ("+", after - before)):
        print("".join(f"{sign} {line}\n" for line in sorted(lines)), end="")
    print(f"requirements.lock has {len(pins.splitlines())} packages. Now run `make test`.")


if __name__ == "__main__":
    main()
