"""Every notebook keeps every rule, and every rule refuses what it is for."""

import base64
import io
import json

import notebook_rules as rules
import numpy as np
import pytest
from notebook_rules import complaints
from PIL import Image

from tools import test as test_command
from tools.common import ONE_THREAD, ROOT, choose_notebooks, kernel_environment
from tools.notebooks import smaller_png

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
NOTEBOOKS = [path for path in NOTEBOOKS if ".ipynb_checkpoints" not in path.parts]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_keeps_the_rules(path):
    found = complaints(path.name, json.loads(path.read_text(encoding="utf-8")), path.stat().st_size)
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("path", sorted((ROOT / "course_lib").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_library_keeps_clear_of_traps(path):
    found = [f"{path.relative_to(ROOT)}:{line}: `{name}`: {remedy}"
             for line, name, remedy in rules.traps_in(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(["", *found])


# --- each rule on the smallest notebook that breaks it --------------------------------------------------------------

SLIDE = {"slideshow": {"slide_type": "-"}}


def markdown(source="# 01 Title"):
    return {"cell_type": "markdown", "source": source, "metadata": dict(SLIDE)}


def code(source="x = 1", outputs=(), count=1, tags=()):
    metadata = {**SLIDE, **({"tags": list(tags)} if tags else {})}
    return {"cell_type": "code", "source": source, "outputs": list(outputs), "execution_count": count,
            "metadata": metadata}


def notebook(*cells, **metadata):
    return {"cells": [markdown(), *cells], "metadata": metadata}


def stdout(words, name="stdout"):
    return {"output_type": "stream", "name": name, "text": words}


def result(words, **more):
    return {"output_type": "execute_result", "data": {"text/plain": words, **more}, "execution_count": 1}


def without(cell, *keys):
    return {**cell, "metadata": {k: v for k, v in cell["metadata"].items() if k not in keys}}


GOOD = notebook(
    code("mu, sigma = 1.5, 0.4\nprint(f'{mu:.3f} nats')", [stdout("1.500 nats\n")], 1),
    code("plots.reconstructions(x, model(x))\nplt.show()",
         [{"output_type": "display_data", "data": {"text/plain": "<Figure size 640x480>", "image/png": "iVBO"}}], 2),
    code("loss = model.loss(x)\nloss.backward()\noptimizer.step()", (), 3, ["by-hand"]),
    code("%matplotlib inline\nprint(card)  # 75 s;", [stdout("vae-digits: trained in 75 s on 2 cores\n")], 4),
    kernelspec={"name": "python3"}, language_info={"name": "python"})

BAD = {     # what is wrong: (rule, cell that the complaint names, words of the remedy, notebook[, file name[, size]])
    "name without a number": (rules.is_named_by_number, None, "NN_words", GOOD, "autoencoder.ipynb"),
    "no title": (rules.has_a_head, 1, "Markdown that begins", {"cells": [code()], "metadata": {}}),
    "title of the second level": (rules.has_a_head, 1, "title", {"cells": [markdown("## 1")], "metadata": {}}),
    "too large": (rules.is_small, None, "1.60 MB", GOOD, "01_x.ipynb", 1_600_000),
    "widget state": (rules.is_tidy, None, "widgets", notebook(widgets={"state": {}})),
    "kernel version": (rules.is_tidy, None, "version", notebook(language_info={"name": "python", "version": "3.12"})),
    "execution times": (rules.is_tidy, 2, "execution", notebook({**code(), "metadata": {**SLIDE, "execution": {}}})),
    "widget view": (rules.is_tidy, 2, "view", notebook(code("w", [result("VBox()", **{rules.WIDGET_VIEW: {}})]))),
    "no slide type": (rules.is_a_lecture, 2, "slide_type", notebook(without(code(), "slideshow"))),
    "no slide type on text": (rules.is_a_lecture, 2, "slide_type", notebook(without(markdown(), "slideshow"))),
    "never executed": (rules.was_executed_in_order, 2, "compare nothing", notebook(code(count=None))),
    "executed out of order": (rules.was_executed_in_order, 3, "2 is due", notebook(code(), code(count=5))),
    "empty cell": (rules.was_executed_in_order, 2, "empty", notebook(code(" \n"))),
    "stored error": (rules.has_clean_outputs, 2, "ValueError",
                     notebook(code(outputs=[{"output_type": "error", "ename": "ValueError"}]))),
    "stderr": (rules.has_clean_outputs, 2, "stderr", notebook(code(outputs=[stdout("UserWarning", "stderr")]))),
    "address": (rules.repeats_itself, 2, "address", notebook(code(outputs=[result("<Foo at 0x7f3a12b4c9d0>")]))),
    "figure's repr": (rules.repeats_itself, 2, "plt.show()", notebook(code(outputs=[result("<Figure size 640x480>")]))),
    "lines' repr": (rules.repeats_itself, 2, "plt.show()", notebook(code(outputs=[result("[<matplotlib.lines>]")]))),
    "title's repr": (rules.repeats_itself, 2, "plt.show()", notebook(code(outputs=[result("Text(0.5, 1.0, 'x')")]))),
    "seconds": (rules.repeats_itself, 2, "1.23 s", notebook(code(outputs=[stdout("took 1.23 s")]))),
    "milliseconds": (rules.repeats_itself, 2, "5 ms", notebook(code(outputs=[stdout("5 ms a step")]))),
    "steps per second": (rules.repeats_itself, 2, "it/s", notebook(code(outputs=[stdout("100% 20.1it/s")]))),
    "%%time": (rules.repeats_itself, 2, "%time", notebook(code("%%time\nf()"))),
    "%timeit": (rules.repeats_itself, 2, "%time", notebook(code("x = 1\n%timeit f(x)"))),
    "path": (rules.repeats_itself, 2, "relative", notebook(code(outputs=[stdout("/home/ada/data")]))),
    "semicolon": (rules.has_no_silencing_semicolon, 2, "silences nothing", notebook(code("plt.plot(x);"))),
    "semicolon before a comment": (rules.has_no_silencing_semicolon, 2, "_ =", notebook(code("f();  # a figure"))),
    "clear_output": (rules.keeps_clear_of_traps, 2, "cleared",
                     notebook(code("from IPython.display import clear_output as clear"))),
    "display_id": (rules.keeps_clear_of_traps, 2, "first version", notebook(code("h = display(x, display_id=True)"))),
    "update_display": (rules.keeps_clear_of_traps, 2, "first version", notebook(code("update_display(x)"))),
    "interact": (rules.keeps_clear_of_traps, 2, "VBox", notebook(code("@interact(k=3)\ndef f(k): pass"))),
    "interactive": (rules.keeps_clear_of_traps, 2, "VBox", notebook(code("%pylab\nwidgets.interactive(f, k=3)"))),
    "Output": (rules.keeps_clear_of_traps, 2, "Image", notebook(code("out = widgets.Output()"))),
    "unreadable": (rules.keeps_clear_of_traps, 2, "parsed", notebook(code("def f("))),
    "tag for nbval": (rules.is_compared_in_full, 2, "inequality", notebook(code(tags=["nbval-skip"]))),
    "tag for exceptions": (rules.is_compared_in_full, 2, "inequality", notebook(code(tags=["raises-exception"]))),
    "comment for nbval": (rules.is_compared_in_full, 2, "inequality", notebook(code("# NBVAL_IGNORE_OUTPUT\nx"))),
    "network": (rules.leaves_computing_to_the_library, 2, "Net", notebook(code("class Net(nn.Module):\n    pass"))),
    "loop": (rules.leaves_computing_to_the_library, 2, "loss.backward", notebook(code("loss.backward()"))),
    "optimizer": (rules.leaves_computing_to_the_library, 2, "opt_G.step", notebook(code("opt_G.step()"))),
    "loss": (rules.leaves_computing_to_the_library, 2, "my_loss", notebook(code("def my_loss(x): return x.mean()"))),
    "plot": (rules.leaves_computing_to_the_library, 2, "plt.scatter", notebook(code("plt.scatter(x, y)\nplt.show()"))),
    "plot on axes": (rules.leaves_computing_to_the_library, 2, "imshow", notebook(code("axes[0, 1].imshow(x)"))),
    "by hand elsewhere": (rules.leaves_computing_to_the_library, 2, "chapter 01",
                          notebook(code("loss.backward()", tags=["by-hand"])), "02_vae.ipynb"),
    "long cell": (rules.has_short_cells, 2, "26 lines", notebook(code("x = 1\n" * 26), *[code()] * 3)),
    "a name of another section": (rules.sections_stand_alone, 6, "`model` comes from another section", notebook(
        code("import torch"), markdown("## 1.1 One"), code("model = torch.zeros(3)"), markdown("## 1.2 Two"),
        code("[torch.abs(m) for m in model]"))),
    "long cells": (rules.has_short_cells, None, "median of 6", notebook(*[code("x = 1\n" * 6)] * 3)),
}


def test_names_of_the_first_cell_and_of_the_section_itself_may_be_used():
    one = notebook(code("import torch\nx = 1"), markdown("## 1.1 One"),
                   code("%matplotlib inline\ny = [x + k for k in range(3)]"),
                   code("def f(a):\n    return a + y[0] + x\nprint(f(torch.pi))"))
    assert complaints("01_good.ipynb", one, 1000, rules=[rules.sections_stand_alone]) == []


def test_good_notebook_has_no_complaints():
    assert complaints("01_good.ipynb", GOOD, 1000) == []


@pytest.mark.parametrize("what", BAD)
def test_rule_refuses(what):
    rule, cell, words, bad, *rest = BAD[what]
    name, size = [*rest, *("01_x.ipynb", 1000)[len(rest):]]
    found = complaints(name, bad, size, rules=[rule])
    assert len(found) == 1, found
    assert words in found[0]
    assert found[0].startswith(f"{name}, cell {cell}: " if cell else f"{name}: ")


def test_every_rule_is_shown_to_refuse_something():
    assert {case[0] for case in BAD.values()} == set(rules.RULES)


def test_exercises_may_hold_code_of_their_own():
    cell = code("class Net(nn.Module):\n" + "    x = 1\n" * 30, tags=["exercise"])
    assert complaints("02_vae.ipynb", notebook(cell)) == []


# --- the test command -----------------------------------------------------------------------------------------------

def test_the_test_command_compares_in_full_with_two_workers():
    commands = test_command.commands([ROOT / "notebooks" / "01_x.ipynb"], everything=True)
    assert list(commands) == ["ruff", "unit tests", "notebooks"]
    for name in ("unit tests", "notebooks"):
        line = " ".join(commands[name])
        assert "-n 2 --dist loadfile" in line       # a notebook's cells share a kernel, so a worker gets all or none
    assert "--nbval" in commands["notebooks"] and "--nbval-lax" not in commands["notebooks"]
    assert not any("sanitize" in word for word in commands["notebooks"])
    assert list(test_command.commands([ROOT / "notebooks" / "01_x.ipynb"], everything=False)) == ["rules", "notebooks"]


def test_no_progress_bar_gets_into_a_notebook(monkeypatch, capfd):
    from course_lib.training import loop

    monkeypatch.delenv("PYTEST_VERSION")        # as in a kernel: not under pytest
    monkeypatch.setenv("COURSE_QUIET", kernel_environment()["COURSE_QUIET"])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert loop._bar(0, 10, None).disable
    monkeypatch.delenv("COURSE_QUIET")
    with loop._bar(0, 10, None) as bar:     # where somebody watches there is one
        assert not bar.disable


def test_stored_pictures_shrink_and_keep_their_colours():
    rng = np.random.default_rng(0)
    inks = np.array([(255, 255, 255), (0, 114, 178), (230, 159, 0), (213, 94, 0), (0, 158, 115)])
    strength = rng.random((300, 400, 1))                        # dots of several inks, more or less transparent
    picture = (255 - strength * (255 - inks[rng.integers(5, size=(300, 400))])).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="png")
    before = base64.b64encode(out.getvalue()).decode()
    after = smaller_png(before)
    kept = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB")).astype(int)
    assert len(after) < 0.8 * len(before) and smaller_png(after) == after
    assert np.abs(kept - picture).max() <= 24 and np.abs(kept - picture).mean() < 6


def test_one_thread_whatever_the_user_has_set(monkeypatch):
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "8")
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    environment = kernel_environment()
    assert {environment[name] for name in ONE_THREAD} == {"1"}
    assert "MPLBACKEND" not in environment


def test_a_notebook_is_chosen_by_its_number(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name in ("01_holes.ipynb", "02_vae.ipynb"):
        (tmp_path / "notebooks" / name).touch()
    assert [path.name for path in choose_notebooks("1", tmp_path)] == ["01_holes.ipynb"]
    assert len(choose_notebooks(None, tmp_path)) == 2
    with pytest.raises(SystemExit, match=r"NB=07.*begins with 07(.|\n)*01_holes\.ipynb\n  02_vae\.ipynb"):
        choose_notebooks("07", tmp_path)
