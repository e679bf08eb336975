"""A pytest plugin beside nbval: patience on a busy machine, the time of each notebook, and the notebook that failed.

The course's notebooks are compared in full (`pytest --nbval`). What that means, by nbval 0.11:
- each cell's outputs are sorted by kind (stdout, stderr, text/plain, text/html, …) and compared as lists of texts;
- images (PNG, JPEG) and a widget's view are left out, but the text/plain beside them is compared, and how many there
  are; a widget's own state and messages are not seen at all;
- a cell that was never executed (execution count null) is run and not compared.
tests/test_notebooks_under_nbval.py shows each of these, and tests/notebook_rules.py draws the conclusions.
"""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

import pytest

from tools.common import EXECUTED, kernel_environment

OUTPUT_TIMEOUT = 120        # s; nbval's own 5 s between two messages of a kernel is too short on an overloaded machine
BUDGET = 90                 # s for a notebook on two cores, one thread each; a slow machine is told, not failed

os.environ.update(kernel_environment())
os.environ.pop("MPLBACKEND", None)


def is_notebook_cell(item) -> bool:
    return hasattr(item, "cell") and hasattr(item, "output_timeout")


def is_worker(config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config):
    config.option.nbval_current_env = True          # this .venv's kernel, whatever kernels the user has besides
    if getattr(config.option, "nbval", False) and not is_worker(config):
        shutil.rmtree(config.rootpath / EXECUTED, ignore_errors=True)
        config.pluginmanager.register(NotebookTimes(config.rootpath), "notebook-times")


def pytest_itemcollected(item):
    if is_notebook_cell(item):
        item.output_timeout = OUTPUT_TIMEOUT


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if is_notebook_cell(item) and outcome.get_result().failed:
        item.parent.has_failed = True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """After a notebook's last cell: keeps the notebook as it came out, if one of its cells failed."""
    yield
    last = nextitem is None or nextitem.parent is not item.parent
    if is_notebook_cell(item) and last and getattr(item.parent, "has_failed", False):
        keep_executed(item)


def keep_executed(item):
    import nbformat

    notebook = copy.deepcopy(item.parent.nb)
    ran = {i.cell_num: i for i in item.session.items if i.parent is item.parent}
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code_cells):
        outputs = getattr(ran.get(number), "test_outputs", None)
        cell.outputs = copy.deepcopy(outputs) if outputs is not None else []
        cell.execution_count = number + 1 if outputs is not None else None
        for output in cell.outputs:
            if "execution_count" in output or output.output_type == "execute_result":
                output.execution_count = cell.execution_count
    target = item.config.rootpath / EXECUTED / item.path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


class NotebookTimes:
    """Adds up what pytest reports of each notebook's cells (and the kernel's start), for a table at the end."""

    def __init__(self, rootpath: Path):
        self.rootpath = rootpath
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report):
        path = report.nodeid.split("::")[0]
        if path.endswith(".ipynb"):
            self.seconds[path] = self.seconds.get(path, 0.0) + report.duration
            if report.failed:
                self.failed.add(path)

    def pytest_terminal_summary(self, terminalreporter):
        if not self.seconds:
            return
        write = terminalreporter.write_line
        terminalreporter.section("time of each notebook", sep="-")
        for path, seconds in sorted(self.seconds.items()):
            remark = f"   over the {BUDGET} s that a notebook may take on two idle cores" if seconds > BUDGET else ""
            write(f"{seconds:7.1f} s  {'FAILED  ' if path in self.failed else ''}{path}{remark}")
        total, count = sum(self.seconds.values()), len(self.seconds)
        write(f"{total:7.1f} s  in all, {count} notebook{'s' * (count > 1)}; the limit is {BUDGET} s for each")
        for path in sorted(self.failed):
            kept = EXECUTED / Path(path).name
            if (self.rootpath / kept).exists():
                write(f"{path} failed; what it put out in this run: {kept}")
