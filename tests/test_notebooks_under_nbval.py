"""The traps of nbval are real, and what we do instead passes: tiny notebooks, made and run as the course's own are.

A kernel takes seconds to start, so one run of nbval serves all: a notebook as it was made, and an altered copy of it.
"""

import base64
import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.common import EXECUTED, ROOT, kernel_environment
from tools.nbval_plugin import OUTPUT_TIMEOUT
from tools.notebooks import execute, normalise, text_difference
from tools.test import NBVAL, WORKERS

IMPORTS = """\
import os, sys
import ipywidgets as widgets
import matplotlib.pyplot as plt
from IPython.display import clear_output, display"""

PASSES = {      # code cells whose stored outputs equal the next run's
    "text": "print('0.807 nats')",
    "figure": "plt.figure(figsize=(1, 1)); plt.plot([1, 2]); plt.show()",
    "picture redrawn by a control": """\
from course_lib_png import png
k, image = widgets.IntSlider(value=1), widgets.Image(value=png(1))
k.observe(lambda change: setattr(image, 'value', png(change['new'])), 'value')
display(widgets.VBox([k, image]))
k.value = 3""",
    "one thread": "import torch; print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])",
    "inline figures": "print(plt.get_backend())",
}
FAILS = {       # the same, but nbval does not see what the reader sees
    "semicolon": "plt.figure(figsize=(1, 1));",
    "Output": "out = widgets.Output()\nwith out:\n    print('inside')\ndisplay(out)",
    "interact": "_ = widgets.interact(lambda k: print('k is', k), k=3)",
    "clear_output": "print('first'); clear_output(); print('second')",
    "display_id": "handle = display('first', display_id=True)\nhandle.update('second')",
    "a time": "import time; print(time.perf_counter_ns())",
}
PNG = """\
import io
import matplotlib.pyplot as plt

def png(k):
    figure, axes = plt.subplots(figsize=(1, 1)); axes.plot([0, k])
    buffer = io.BytesIO(); figure.savefig(buffer); plt.close(figure)
    return buffer.getvalue()
"""
CELLS = {"imports": IMPORTS, **PASSES, **FAILS}


def run_nbval(folder: Path, *notebooks: str) -> subprocess.CompletedProcess:
    environment = {**kernel_environment(), "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    options = ["-rA", "--color=no", "-p", "no:cacheprovider", *WORKERS, *NBVAL]
    return subprocess.run([sys.executable, "-m", "pytest", *options, *notebooks], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A little course: our conftest, and a notebook that `make notebooks` would write."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "pytest.ini").touch()
    (folder / "course_lib_png.py").write_text(PNG)
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS.values()])
    saved = dict(os.environ)
    try:
        execute(notebook, folder)
    finally:
        os.environ.clear()
        os.environ.update(saved)
    nbformat.write(normalise(notebook), folder / "made.ipynb")
    return folder


@pytest.fixture(scope="module")
def made(folder):
    return nbformat.read(folder / "made.ipynb", as_version=4)


@pytest.fixture(scope="module")
def altered(folder, made):
    """The cells that pass, altered: other pixels, a wrong text, and a wrong text in a cell that was never executed."""
    altered = copy.deepcopy(made)
    altered.cells = altered.cells[:len(PASSES) + 1]
    for cell in altered.cells:
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = base64.b64encode(b"other pixels").decode()
    altered.cells += [new_code_cell("print('0.318 nats')", execution_count=10,
                                    outputs=[new_output("stream", name="stdout", text="0.807 nats\n")]),
                      new_code_cell("print('never compared')"),
                      new_code_cell("raise ValueError('a cell that fails')", execution_count=12)]
    nbformat.write(altered, folder / "altered.ipynb")
    return altered


@pytest.fixture(scope="module")
def report(folder, made, altered):
    return run_nbval(folder, "made.ipynb", "altered.ipynb")


def outcome(report, name: str, number: int) -> str:
    found = re.search(rf"(PASSED|FAILED) {name}\.ipynb::Cell {number}\b", report.stdout)
    assert found, report.stdout + report.stderr
    return found.group(1)


@pytest.mark.parametrize("what", PASSES)
def test_passes(report, what):
    assert outcome(report, "made", list(CELLS).index(what)) == "PASSED"


@pytest.mark.parametrize("what", FAILS)
def test_is_a_trap(report, what):
    assert outcome(report, "made", list(CELLS).index(what)) == "FAILED"


def test_a_wrong_text_fails_and_other_pixels_do_not(report):
    assert outcome(report, "altered", list(CELLS).index("figure")) == "PASSED"
    assert outcome(report, "altered", len(PASSES) + 1) == "FAILED"
    assert "'0.807 nats\\n' == '0.318 nats\\n'" in report.stdout


def test_a_cell_that_was_never_executed_is_not_compared(report):
    assert outcome(report, "altered", len(PASSES) + 2) == "PASSED"


def test_kernels_have_one_thread_and_inline_figures(made):
    by_name = dict(zip(CELLS, made.cells, strict=True))
    assert by_name["one thread"].outputs[0].text == "1 1\n"
    assert "inline" in by_name["inline figures"].outputs[0].text


def test_a_failed_notebook_is_kept_as_it_came_out(report, folder, altered):
    assert report.returncode == 1
    assert f"altered.ipynb failed; what it put out in this run: {EXECUTED / 'altered.ipynb'}" in report.stdout
    kept = nbformat.read(folder / EXECUTED / "altered.ipynb", as_version=4)
    nbformat.validate(kept)
    assert kept.cells[-3].outputs[0].text == "0.318 nats\n"
    assert kept.cells[-1].outputs[0].ename == "ValueError"
    assert "-0.807 nats\n+0.318 nats" in text_difference(altered, kept)


def test_the_time_of_each_notebook_is_printed(report):
    assert re.search(r"\d+\.\d s  FAILED  made\.ipynb\n", report.stdout)
    assert re.search(r"\d+\.\d s  in all, 2 notebooks;", report.stdout)
    assert re.search(r"\d+ failed, \d+ passed in ", report.stdout.splitlines()[-1])


def test_nbval_is_patient_even_by_hand(folder, made, tmp_path):
    """Plain `pytest --nbval`: nbval would give up after 5 s without a message of the kernel."""
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text() + """

def pytest_collection_finish(session):
    print("TIMEOUTS", {item.output_timeout for item in session.items})
""")
    done = subprocess.run([sys.executable, "-m", "pytest", "--nbval", "--collect-only", "-q", "made.ipynb"], cwd=folder,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120)
    assert f"TIMEOUTS {{{OUTPUT_TIMEOUT}}}" in done.stdout, done.stdout + done.stderr


def test_made_notebooks_hold_no_noise(made):
    assert [cell.execution_count for cell in made.cells] == list(range(1, len(CELLS) + 1))
    assert set(made.metadata) == {"kernelspec", "language_info"} and set(made.metadata.language_info) == {"name"}
    assert not any(cell.metadata for cell in made.cells)
    assert "widget-view" not in nbformat.writes(made)
    again = nbformat.from_dict(copy.deepcopy(dict(made)))
    assert nbformat.writes(normalise(again)) == nbformat.writes(made)
