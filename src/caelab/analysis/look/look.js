"use strict";
(() => {
  const { points, names, columns, rows } = JSON.parse(document.getElementById("points").textContent);
  const [plot, ring, thumbnail, at] = ["plot", "ring", "thumbnail", "at"].map((id) => document.getElementById(id));
  const part = (place, count) => (count > 1 ? (100 * place) / (count - 1) : 0) + "%";
  let current;

  function show(i) {
    current = i;
    const { x, y, label, row, psnr } = points[i];
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    ring.setAttribute("visibility", "visible");
    thumbnail.style.backgroundPosition = part(i % columns, columns) + " " + part(Math.floor(i / columns), rows);
    at.textContent = `Class ${names[label]}, test image ${row}, reconstructed at ${psnr.toFixed(1)} dB`;
  }

  // The index for which cost is least; Infinity rules an index out, -1 where all are.
  function least(cost) {
    let best = -1, lowest = Infinity;
    points.forEach((point, i) => {
      const value = cost(point, i);
      if (value < lowest) [best, lowest] = [i, value];
    });
    return best;
  }

  function towards(dx, dy) {
    const from = points[current];
    return least(({ x, y }, i) => {
      const along = (x - from.x) * dx + (y - from.y) * dy;
      const across = Math.abs((x - from.x) * dy - (y - from.y) * dx);
      return i !== current && along > 0 && across <= along ? along + across : Infinity;
    });
  }

  const keys = {
    ArrowLeft: () => towards(-1, 0),
    ArrowRight: () => towards(1, 0),
    ArrowUp: () => towards(0, -1),
    ArrowDown: () => towards(0, 1),
    Home: () => least(({ x }) => x),
    End: () => least(({ x }) => -x),
  };

  // The index of the mark nearest to a point of the map.
  const nearest = (to) => least(({ x, y }) => Math.hypot(x - to.x, y - to.y));

  const { width, height } = plot.viewBox.baseVal;
  show(nearest({ x: width / 2, y: height / 2 }));
  document.documentElement.classList.add("js");
  plot.setAttribute("tabindex", "0");
  plot.setAttribute("role", "application");
  plot.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = keys[event.key]();
    if (next >= 0) show(next);
  });
  const point = (event) =>
    show(nearest(new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse())));
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point); // a tap moves nothing
})();
