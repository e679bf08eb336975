import ast
import inspect

import pytest

from course_lib import autoencoders, networks, notebook
from course_lib.notebook import show_rows, show_source


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(notebook, "display", lambda output: outputs.append(output.data))
    return outputs


def test_the_source_shown_is_the_code_that_runs(shown):
    show_source(autoencoders.ae_loss, networks.Autoencoder)
    (text,) = shown
    assert text.startswith("```python\n") and text.endswith("\n```") and text.count("```") == 2
    code = text.removeprefix("```python\n").removesuffix("\n```")
    assert inspect.getsource(autoencoders.ae_loss).rstrip() in code and "return error.flatten(1).sum(1).mean()" in code
    assert [node.name for node in ast.parse(code).body] == ["ae_loss", "Autoencoder"]


def test_a_method_can_be_shown(shown):
    show_source(networks.Autoencoder.forward)
    assert "return self.decode(self.encode(x))" in shown[0]


def test_rows_become_a_table(shown):
    show_rows([{"latents": 2, "unsure": 0.126, "rule": "box"}, {"latents": 16, "unsure": 1.0, "rule": "normal"}],
              {"unsure": ".0%"})
    assert shown == ["| latents | unsure | rule |\n|---|---|---|\n| 2 | 13% | box |\n| 16 | 100% | normal |"]
    show_rows([{"n": 1}])
    assert shown[1] == "| n |\n|---|\n| 1 |"


def test_no_rows_are_refused(shown):
    with pytest.raises(ValueError, match="no rows to show"):
        show_rows([])
    assert shown == []


def test_a_number_that_is_none_is_a_dash(shown):
    show_rows([{"share": float("nan"), "rule": "box"}], {"share": ".0%"})
    assert shown == ["| share | rule |\n|---|---|\n| – | box |"]
