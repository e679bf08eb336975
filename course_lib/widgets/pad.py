"""A picture with a point that one drags over it, with the mouse, a finger or the arrow keys."""

from __future__ import annotations

import io

import anywidget
import matplotlib.pyplot as plt
import traitlets

from course_lib.checks import require


class Pad(anywidget.AnyWidget):
    """``point``: (x, y) in the units of the axes that the picture shows; set it, or observe it.

    The browser sends a new point only after Python has answered the last one (``answer``), so that a slow answer
    never leaves a queue behind.
    """

    point = traitlets.Tuple(traitlets.Float(), traitlets.Float()).tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)              # PNG
    frame = traitlets.List(traitlets.Float()).tag(sync=True)    # the axes in the picture: left, top, right, bottom in [0, 1]
    limits = traitlets.List(traitlets.Float()).tag(sync=True)   # what they show: left, top, right, bottom in data units
    width = traitlets.Int(520).tag(sync=True)               # CSS pixels
    label = traitlets.Unicode().tag(sync=True)              # for screen readers
    answered = traitlets.Int(0).tag(sync=True)

    _esm = """
    export default { render({ model, el }) {
      const box = document.createElement("div"), image = document.createElement("img"), dot = document.createElement("div");
      box.style.cssText = `position:relative;width:${model.get("width")}px;max-width:100%;touch-action:none;cursor:crosshair`;
      box.tabIndex = 0;
      box.setAttribute("role", "application");
      box.setAttribute("aria-label", model.get("label") + " Arrow keys move the point, with Shift faster.");
      image.style.cssText = "width:100%;display:block;user-select:none;pointer-events:none";
      image.alt = model.get("label");
      const paint = () => { image.src = URL.createObjectURL(new Blob([model.get("picture")], { type: "image/png" })); };
      dot.style.cssText = "position:absolute;width:16px;height:16px;margin:-10px 0 0 -10px;border:3px solid #000;" +
        "border-radius:50%;background:#fff;box-shadow:0 0 0 2px #fff;pointer-events:none";
      dot.className = "course-pad-point";
      box.append(image, dot); el.append(box);
      let wanted = null, waiting = false;
      const place = ([x, y]) => {
        const [l, t, r, b] = model.get("frame"), [x0, y0, x1, y1] = model.get("limits");
        dot.style.left = 100 * (l + (r - l) * (x - x0) / (x1 - x0)) + "%";
        dot.style.top = 100 * (t + (b - t) * (y - y0) / (y1 - y0)) + "%";
      };
      const inside = (v, a, b) => Math.min(Math.max(v, Math.min(a, b)), Math.max(a, b));
      const send = () => {
        if (waiting || !wanted) return;
        waiting = true; model.set("point", wanted); wanted = null; model.save_changes();
        setTimeout(() => { waiting = false; send(); }, 500);
      };
      const move = (x, y) => {
        const [x0, y0, x1, y1] = model.get("limits");
        wanted = [inside(x, x0, x1), inside(y, y0, y1)];
        place(wanted); send();
      };
      const follow = (event) => {
        const [l, t, r, b] = model.get("frame"), [x0, y0, x1, y1] = model.get("limits"), size = box.getBoundingClientRect();
        move(x0 + (x1 - x0) * ((event.clientX - size.left) / size.width - l) / (r - l),
             y0 + (y1 - y0) * ((event.clientY - size.top) / size.height - t) / (b - t));
      };
      box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); box.focus(); follow(event); });
      box.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
      box.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!way) return;
        event.preventDefault(); event.stopPropagation();
        const [x0, y0, x1, y1] = model.get("limits"), [x, y] = wanted || model.get("point"), part = event.shiftKey ? 0.1 : 0.02;
        move(x + way[0] * part * (x1 - x0), y + way[1] * part * (y1 - y0));
      });
      model.on("change:answered", () => { waiting = false; send(); });
      model.on("change:point", () => { if (!wanted) place(model.get("point")); });
      model.on("change:picture", paint);
      paint(); place(model.get("point"));
    } };
    """

    def __init__(self, figure: plt.Figure, axes: plt.Axes, point: tuple[float, float], label: str, width: int = 520):
        x, y = axes.get_xlim(), axes.get_ylim()
        require(min(x) <= point[0] <= max(x) and min(y) <= point[1] <= max(y),
                f"the point {point} lies outside the axes, which show {x} and {y}.")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        place = axes.get_position()  # after drawing: the layout is settled
        super().__init__(point=tuple(map(float, point)), picture=picture.getvalue(), label=label, width=width,
                         frame=[place.x0, 1 - place.y1, place.x1, 1 - place.y0],
                         limits=[float(v) for v in (x[0], y[1], x[1], y[0])])

    def answer(self) -> None:
        """To be called when the last point has been dealt with: the browser may send the next."""
        self.answered += 1
