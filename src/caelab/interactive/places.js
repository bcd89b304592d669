// A brush that writes places of a code that keeps its place, on top of the picture.
function placeControls({ set, keep }, covers) {
  const spatial = runs.flatMap(({ places }, run) => (places ? [run] : []));
  if (!spatial.length) return [];
  const free = spatial.some((run) => !runs[run].tokens);
  let brush = "off";
  const kinds = { off: "no brush", other: "other image's", ...(free ? { mean: "mean code" } : {}), own: "put back" };
  const choose = (value) => {
    brush = value;
    tool.show(brush);
    grids.forEach(({ element }) => element.classList.toggle("on", brush !== "off"));
  };
  const tool = choice("brush writes", kinds, choose);
  const write = (run, place) => brush !== "off" && set("painted", `${run}.${place}`, brush === "own" ? null : brush);
  const grids = spatial.map((run) => grid(run, runs[run].places, (place) => write(run, place), keep));
  grids.forEach(({ run, element }) => covers[run].append(element));
  choose("off");
  return [{
    element: section("Places", "Choose what the brush writes, then draw on the reconstruction.", tool.element),
    show: (state) => grids.forEach((one) => one.show(state)),
  }];
}

// Cells over a picture, one a place; arrow keys go through them, Enter writes.
function grid(run, { rows, columns, side }, write, keep) {
  const cells = Array.from({ length: rows * columns }, (_, place) =>
    make("button", { type: "button", "aria-label": `place ${Math.floor(place / columns) + 1}, ${(place % columns) + 1}`, tabIndex: place ? -1 : 0 }));
  const element = make("div", { className: "places", role: "group", "aria-label": "places of the code" }, ...cells);
  element.style.gridTemplate = `repeat(${rows}, ${(100 * side) / height}%) / repeat(${columns}, ${(100 * side) / width}%)`;
  let down = false;
  const at = ({ clientX, clientY }) => {
    const place = cells.indexOf(document.elementFromPoint(clientX, clientY));
    if (place >= 0) write(place);
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.target.releasePointerCapture?.(event.pointerId);
    down = true;
    at(event);
  });
  element.addEventListener("pointermove", (event) => down && at(event));
  const up = () => {
    if (down) keep();
    down = false;
  };
  addEventListener("pointerup", up);
  addEventListener("pointercancel", up);
  cells.forEach((cell, place) => {
    cell.addEventListener("click", ({ detail }) => {
      if (detail) return; // of the pointer, which has written already
      write(place);
      keep();
    });
  });
  arrows(cells, { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns });
  const show = (state) => cells.forEach((cell, place) => { cell.className = state.painted[`${run}.${place}`] ?? ""; });
  return { run, element, show };
}
