// The browser's half of pad.py: a picture, and a point on it that follows mouse, finger and arrow keys.
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
