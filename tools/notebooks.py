"""`make notebooks [NB=01]`: executes the notebooks again, tidies them, and shows what changed in their text outputs.

A notebook with a cell that fails is not written; what it put out is kept in build/executed/. A notebook that is
written holds what a reader needs, that is sources, outputs, slide types and tags; no times, widget state or versions.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import io
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.corpus.words import generate_corpus_id
from PIL import Image

from tools.common import EXECUTED, ROOT, choose_notebooks, kernel_environment

CELL_METADATA = ("slideshow", "tags", "jupyter")        # the others (execution times, scroll positions) are noise
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET_STATE = "application/vnd.jupyter.widget-view+json"
CELL_TIMEOUT = 600      # s


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Runs all cells in a fresh kernel, in place; raises CellExecutionError at the first that fails."""
    os.environ.update(kernel_environment())
    os.environ.pop("MPLBACKEND", None)
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT, iopub_timeout=120, startup_timeout=300,
                            kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.create_kernel_manager()
    client.km.transport_encryption = "auto"
    client.execute()


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it is stored: counts 1…n, no metadata that another run or machine would change. Done in place."""
    notebook.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python"))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count, ids = 0, set()
    for cell in notebook.cells:
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in CELL_METADATA if cell.metadata.get(key)})
        if not cell.get("id") or cell.id in ids:                # an id is given once and then kept
            cell.id = generate_corpus_id()
        ids.add(cell.id)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = merge_streams(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if WIDGET_STATE in output.get("data", {}):
                # Without the widget's state its view is an error to a reader; the picture or text beside it stays.
                output.data.pop(WIDGET_STATE)
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller_png(output.data["image/png"])
    return notebook


def smaller_png(encoded: str) -> str:
    """A PNG (base64) in 256 colours, a third of the size or less; pictures are not compared, so nbval does not mind."""
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    out = io.BytesIO()
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=8, dither=Image.Dither.NONE)
    few.save(out, format="png", optimize=True)      # no colour moves by more than a few steps of 255
    smaller = base64.b64encode(out.getvalue()).decode() + "\n"
    return smaller if len(smaller) < len(encoded) else encoded


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """One stdout entry in place of the pieces that happened to arrive one by one."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def text_of(cell: NotebookNode) -> list[str]:
    """What a cell's outputs say in words, in lines; a picture is a line that names its kind."""
    lines: list[str] = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        lines += output.get("text", "").splitlines()
        for kind in sorted(data):
            lines += data[kind].splitlines() if kind.startswith("text/") else []
        lines += [f"<{kind}>" for kind in sorted(data) if kind.startswith("image/")]
        lines += [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output.get("traceback", [])]
    return lines


def text_difference(before: NotebookNode, after: NotebookNode) -> str:
    """A unified diff of the text outputs, cell by cell; empty where all cells say the same."""
    old = [cell for cell in before.cells if cell.cell_type == "code"]
    new = [cell for cell in after.cells if cell.cell_type == "code"]
    parts = []
    for number, (a, b) in enumerate(zip(old, new, strict=True), start=1):
        name = f"code cell {number}"
        parts += difflib.unified_diff(text_of(a), text_of(b), f"{name} stored", f"{name} now", lineterm="")
    return "\n".join(parts)


def remake(path: Path) -> bool:
    """Executes one notebook and writes it; says what changed. False where a cell failed."""
    name = path.relative_to(ROOT)
    before = nbformat.read(path, as_version=4)
    after = nbformat.reads(nbformat.writes(before), as_version=4)
    for cell in after.cells:
        if cell.cell_type == "code":            # so that a copy that is kept shows this run and nothing else
            cell.outputs, cell.execution_count = [], None
    start = time.perf_counter()
    try:
        execute(after, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        kept = ROOT / EXECUTED / path.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(after, kept)
        print(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), file=sys.stderr)
        print(f"{name}: a cell failed, so the notebook was left as it is. What it put out: {kept.relative_to(ROOT)}",
              file=sys.stderr)
        return False
    seconds = time.perf_counter() - start
    difference = text_difference(before, normalise(after))
    nbformat.write(after, path)
    words = f"the text outputs changed:\n{difference}" if difference else "the text outputs are the same."
    print(f"{name}: written ({seconds:.0f} s, {path.stat().st_size / 1e6:.2f} MB); {words}", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="make notebooks", description=__doc__)
    parser.add_argument("--nb", help="the number of one notebook, such as 01: only this one is executed")
    notebooks = choose_notebooks(parser.parse_args().nb)
    if not notebooks:
        print("There are no notebooks in notebooks/.")
    return 0 if all([remake(path) for path in notebooks]) else 1


if __name__ == "__main__":
    sys.exit(main())
