"""What the tools share: where things are, and the environment that notebooks are executed in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = Path("build", "executed")        # where a notebook that failed is kept, as it came out

# Two OpenMP threads beside a busy neighbour spend their time spinning: a training step of 5 ms takes 400.
# With one thread each, two notebooks at a time keep two cores busy, and the figures are the same bits each time.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                            "VECLIB_MAXIMUM_THREADS"), "1")


# glibc hands large blocks back to the system at once and asks for them again, page by page, in the next step: this
# cost a third of a chapter's time. Other systems do not know these names.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "2000000000"}


def kernel_environment() -> dict[str, str]:
    """The environment in which notebooks are tested and made: one thread, this .venv's kernel, inline figures."""
    env = {**os.environ, **ONE_THREAD, **KEEP_MEMORY, "JUPYTER_PREFER_ENV_PATH": "1",
           "PYDEVD_DISABLE_FILE_VALIDATION": "1", "COURSE_QUIET": "1"}      # no progress bars: course_lib.training
    env.pop("MPLBACKEND", None)         # a backend set for the user's desktop would keep figures out of the notebook
    return env


def choose_notebooks(number: str | None, root: Path = ROOT) -> list[Path]:
    """The notebooks of the course in order, or those whose name begins with number ("01" or "1")."""
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    if number is None:
        return notebooks
    wanted = number.zfill(2)
    chosen = [path for path in notebooks if path.name.startswith(wanted)]
    if not chosen:
        names = "\n".join(f"  {path.name}" for path in notebooks) or "  none yet"
        sys.exit(f"NB={number}: no notebook's name in notebooks/ begins with {wanted}. There are:\n{names}")
    return chosen
