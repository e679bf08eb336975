"""What a notebook of the course may not hold: each rule is a function from a notebook to its complaints.

Most are traps that nbval lays: it compares what a cell sends while it runs, not what a reader sees in the end, and it
leaves out what was never executed. tests/test_notebooks_under_nbval.py shows that the traps are real. The others keep
the notebooks what they are: text that explains, with the computing in course_lib.

A complaint names the notebook, the cell (counted from 1, all cells, as a reader scrolls) and the remedy.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import re
import statistics
import symtable
from collections.abc import Iterator

MAX_BYTES = 1_500_000
MEDIAN_LINES, MAX_LINES = 5, 25
SLIDE_TYPES = ("slide", "subslide", "fragment", "notes", "skip", "-")
OWN_CODE = {"by-hand", "exercise"}      # tags of cells in which a loop, a network or a plot may be written out
CELL_METADATA = {"slideshow", "tags", "jupyter"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

# Each of these changes a cell's output after it was sent, or holds it in a place of its own.
TRAPS = {
    "clear_output": "nbval still sees what was cleared; print only what shall stay",
    "update_display": "nbval sees only the first version; display once, when it is final",
    "display_id": "nbval sees only the first version; display once, when it is final",
    "interact": "it prints into an Output widget; build a VBox of controls and redraw an Image in it",
    "interactive": "it prints into an Output widget; build a VBox of controls and redraw an Image in it",
    "interact_manual": "it prints into an Output widget; build a VBox of controls and redraw an Image in it",
    "interactive_output": "it prints into an Output widget; build a VBox of controls and redraw an Image in it",
    "Output": "what is printed into it appears as the cell's own output under nbval; redraw an Image instead",
}
NBVAL_MARKS = re.compile(r"nbval[-_]|pytest[-_]validate|raises-exception", re.IGNORECASE)
SAVED_BY_RUN = {
    r"0x[0-9a-fA-F]{6,}": "the address of an object; give the object a repr, or end the cell with `_ = …`",
    r"(?<![\w.])\d+\.\d+ ?s(ec(onds)?)?\b|\d ?(ms|µs|μs|ns)\b|it/s\b|Wall time|CPU times":
        "a time that the next run will not repeat; leave it out",
    r"/home/|/root/|/Users/|/tmp/|/mnt/|[A-Z]:\\\\?Users": "a path of the machine that ran it; print a relative one",
}
BARE_FIGURE = re.compile(r"<Figure size|<matplotlib\.|\[<matplotlib|\bText\(|<Axes|array\(\[?<Axes")
DRAWING = {"plot", "scatter", "imshow", "hist", "hist2d", "bar", "barh", "contour", "contourf", "pcolormesh", "quiver",
           "streamplot", "fill_between", "errorbar", "axhline", "axvline", "semilogx", "semilogy", "loglog", "step",
           "stem", "boxplot", "subplots", "add_subplot", "set_title", "set_xlabel", "set_ylabel", "annotate", "text",
           "legend"}


def text(source) -> str:
    return source if isinstance(source, str) else "".join(source)


def tags(cell: dict) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", []))


def code_cells(notebook: dict) -> Iterator[tuple[int, dict]]:
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell["cell_type"] == "code":
            yield number, cell


def code_lines(cell: dict) -> list[str]:
    return [line for line in text(cell["source"]).splitlines() if line.strip() and not line.strip().startswith("#")]


def parse(source: str) -> ast.Module:
    """The tree of a cell; lines that only Jupyter understands (%magic, !shell, name?) are left out."""
    return ast.parse(re.sub(r"^(\s*)[%!?].*$|^(\s*)[\w.]+\?+$", r"\1\2pass", source, flags=re.MULTILINE))


def texts_of(output: dict) -> Iterator[tuple[str, str]]:
    if output["output_type"] == "stream":
        yield output["name"], text(output["text"])
    for kind, data in output.get("data", {}).items():
        if kind.startswith("text/"):
            yield kind, text(data)


def traps_in(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, name, remedy) for every use of what nbval cannot follow; also applied to course_lib."""
    for node in ast.walk(parse(source)):
        names = []
        if isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.keyword):
            names = [node.arg]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        for name in names:
            if name in TRAPS:
                yield getattr(node, "lineno", 0), name, TRAPS[name]


# --- the rules: (file name, notebook, size in bytes) -> complaints as (cell number or None, text) -------------------

def is_named_by_number(name, notebook, size):
    if not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", name):
        yield None, "a chapter's file is named NN_words_in_lower_case.ipynb, such as 01_autoencoder_holes.ipynb"


def has_a_head(name, notebook, size):
    cells = notebook["cells"]
    if not cells or cells[0]["cell_type"] != "markdown" or not text(cells[0]["source"]).startswith("# "):
        yield 1, "the first cell is the head of the chapter: Markdown that begins with `# ` and the title"


def is_small(name, notebook, size):
    if size > MAX_BYTES:
        yield None, f"{size / 1e6:.2f} MB; at most {MAX_BYTES / 1e6} MB: fewer or smaller pictures and frames"


def is_tidy(name, notebook, size):
    metadata = notebook.get("metadata", {})
    if "widgets" in metadata:
        yield None, "the state of widgets is stored in the metadata; `make notebooks` leaves it out"
    if set(metadata) - {"kernelspec", "language_info", "widgets"} or set(metadata.get("language_info", {})) - {"name"}:
        yield None, "metadata of an editor or a kernel version is stored; `make notebooks` leaves it out"
    for number, cell in enumerate(notebook["cells"], start=1):
        extra = sorted(set(cell.get("metadata", {})) - CELL_METADATA)
        if extra:
            yield number, f"metadata that only an editor needs ({', '.join(extra)}); `make notebooks` leaves it out"
        if any(WIDGET_VIEW in output.get("data", {}) for output in cell.get("outputs", [])):
            yield number, "a widget's view is stored, an error without its state; `make notebooks` leaves it out"


def is_a_lecture(name, notebook, size):
    for number, cell in enumerate(notebook["cells"], start=1):
        kind = cell.get("metadata", {}).get("slideshow", {}).get("slide_type")
        if kind not in SLIDE_TYPES:
            yield number, f"slide type {kind!r}; set metadata.slideshow.slide_type to one of {', '.join(SLIDE_TYPES)}"


def was_executed_in_order(name, notebook, size):
    for count, (number, cell) in enumerate(code_cells(notebook), start=1):
        if not text(cell["source"]).strip():
            yield number, "an empty code cell; delete it"
        elif cell.get("execution_count") is None:
            yield number, "never executed, so nbval would run it and compare nothing; `make notebooks`"
        elif cell["execution_count"] != count:
            yield number, f"execution count {cell['execution_count']} where {count} is due; `make notebooks`"


def has_clean_outputs(name, notebook, size):
    for number, cell in code_cells(notebook):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                yield number, f"a stored error ({output.get('ename')}); to show a mistake, catch it and print it"
            if output.get("name") == "stderr":
                yield number, ("output on stderr (a warning, a log or a progress bar), which another machine will "
                               "not repeat; silence its cause")


def repeats_itself(name, notebook, size):
    for number, cell in code_cells(notebook):
        if re.search(r"^\s*%{1,2}time(it)?\b", text(cell["source"]), flags=re.MULTILINE):
            yield number, "%time prints what the next run will not repeat; leave it out"
        for output in cell.get("outputs", []):
            picture = any(kind.startswith("image/") for kind in output.get("data", {}))
            for kind, words in texts_of(output):
                if BARE_FIGURE.search(words) and not picture and kind == "text/plain":
                    yield number, "a matplotlib object's repr in the output; end the cell with `plt.show()` or `_ = …`"
                    break
                for pattern, remedy in SAVED_BY_RUN.items():
                    found = re.search(pattern, words)
                    if found:
                        yield number, f"the output holds {found.group()!r}: {remedy}"


def has_no_silencing_semicolon(name, notebook, size):
    for number, cell in code_cells(notebook):
        lines = code_lines(cell)
        if lines and re.sub(r"\s#.*$", "", lines[-1]).rstrip().endswith(";"):
            yield number, "a `;` at the end silences nothing under nbval; end the cell with `plt.show()` or `_ = …`"


def keeps_clear_of_traps(name, notebook, size):
    for number, cell in code_cells(notebook):
        try:
            found = list(traps_in(text(cell["source"])))
        except SyntaxError as error:
            yield number, f"the cell cannot be parsed: {error}"
            continue
        for _, what, remedy in found:
            yield number, f"`{what}`: {remedy}"


def is_compared_in_full(name, notebook, size):
    for number, cell in code_cells(notebook):
        comments = [line for line in text(cell["source"]).splitlines() if line.strip().startswith("#")]
        for mark in [*sorted(tags(cell)), *comments]:
            if NBVAL_MARKS.search(mark):
                yield number, (f"{mark.strip()!r} takes the cell out of the comparison; print what every machine "
                               "gives, and assert the rest as an inequality")


def leaves_computing_to_the_library(name, notebook, size):
    for number, cell in code_cells(notebook):
        if "by-hand" in tags(cell) and not name.startswith("01_"):
            yield number, "only chapter 01 writes a training loop by hand; import it from course_lib"
        if tags(cell) & OWN_CODE:
            continue
        try:
            tree = parse(text(cell["source"]))
        except SyntaxError:
            continue                                            # keeps_clear_of_traps says so
        yield from ((number, f"{what}; put it into course_lib and show its source here") for what in computing_in(tree))


def computing_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any("Module" in ast.unparse(base) for base in node.bases):
            yield f"defines the network {node.name}"
        elif isinstance(node, ast.FunctionDef) and re.search(r"(^|_)(loss|step|train)(_|$)", node.name):
            yield f"defines {node.name}(), a part of training"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, method = root_name(node.func), node.func.attr
            if method in ("backward", "zero_grad") or (method == "step" and owner.startswith("opt")):
                yield f"trains by hand ({ast.unparse(node.func)}())"
            elif owner in ("plt", "pyplot", "matplotlib") and method not in ("show", "use"):
                yield f"draws by hand ({ast.unparse(node.func)}())"
            elif re.match(r"(ax|axes|axs|fig|figure)(_|\d|s?$)", owner) and method in DRAWING:
                yield f"draws by hand ({ast.unparse(node.func)}())"


def root_name(node: ast.expr) -> str:
    """The name that a chain such as axes[0].imshow begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def has_short_cells(name, notebook, size):
    lengths = {number: len(code_lines(cell)) for number, cell in code_cells(notebook) if not tags(cell) & OWN_CODE}
    for number, length in lengths.items():
        if length > MAX_LINES:
            yield number, f"{length} lines of code, at most {MAX_LINES}; split it, or move a part into course_lib"
    if lengths and statistics.median(lengths.values()) > MEDIAN_LINES:
        yield None, (f"its code cells have a median of {statistics.median(lengths.values()):g} lines, at most "
                     f"{MEDIAN_LINES}; move what computes into course_lib")


def sections_stand_alone(name, notebook, size):
    """A reader may start at any section (`## …`) after the first code cell: no section uses a name of another one."""
    cells = list(enumerate(notebook["cells"], start=1))
    first = next((number for number, cell in code_cells(notebook)), None)
    starts = [number for number, cell in cells
              if cell["cell_type"] == "markdown" and text(cell["source"]).startswith("## ")]
    for start, end in itertools.pairwise([*starts, len(cells) + 1]):
        inside = [(number, text(cell["source"])) for number, cell in code_cells(notebook)
                  if number == first or start < number < end]
        try:
            missing = undefined_names("\n".join(ast.unparse(parse(source)) for _, source in inside))
        except SyntaxError:
            continue                                            # keeps_clear_of_traps says so
        for what in sorted(missing):
            number = next(number for number, source in inside if re.search(rf"\b{what}\b", source))
            yield number, f"`{what}` comes from another section; define it in this one too, or in the first code cell"


def undefined_names(source: str) -> set[str]:
    """The names that code uses and nothing in it defines."""
    module = symtable.symtable(source, "section", "exec")
    defined = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    tables, used = [module], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        used |= {symbol.get_name() for symbol in table.get_symbols()
                 if symbol.is_referenced() and (table is module or symbol.is_global())}
    return used - defined - set(dir(builtins)) - {"get_ipython", "display"}


RULES = (is_named_by_number, has_a_head, is_small, is_tidy, is_a_lecture, was_executed_in_order, has_clean_outputs,
         repeats_itself, has_no_silencing_semicolon, keeps_clear_of_traps, is_compared_in_full,
         leaves_computing_to_the_library, has_short_cells, sections_stand_alone)


def complaints(name: str, notebook: dict, size: int = 0, rules=RULES) -> list[str]:
    """All that is wrong with a notebook (a dict as in the file), in words."""
    return [f"{name}, cell {number}: {what}" if number else f"{name}: {what}"
            for rule in rules for number, what in rule(name, notebook, size)]
