// What is moved by hand. Each control shows a state when it is told to, and tells what it becomes.
const make = (tag, set = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(set)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};

const section = (title, how, ...children) =>
  make("details", { open: true }, make("summary", {}, title), make("p", { className: "meta" }, how), ...children);

const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(2);

// A slider: {element, show}. A double click puts it back, to where it rests.
function slider(label, { least, most, step, rest = 0, text = signed }, moved, kept) {
  const output = make("output"), input = make("input", { type: "range", min: least, max: most, step, "aria-label": label });
  const show = (value) => {
    input.value = value;
    output.textContent = text(value);
  };
  input.addEventListener("input", () => {
    output.textContent = text(Number(input.value));
    moved(Number(input.value));
  });
  input.addEventListener("change", kept);
  input.addEventListener("dblclick", () => { moved(rest); kept(); });
  return { element: make("label", { className: "slider" }, make("span", {}, label), input, output), show };
}

const AT_ONCE = 8; // sliders that a button shows

// Sliders for the entries of a map of the state: name by rank, in the order of their effect.
function sliders(key, names, moved, kept) {
  const list = make("div"), all = [];
  const more = make("button", { type: "button", className: "more" });
  const grow = (count) => {
    while (all.length < Math.min(count, names.length)) {
      const rank = all.length + 1;
      const one = slider(names[rank - 1], { least: -3, most: 3, step: 0.05 }, (value) => moved(key, rank, value || null), kept);
      one.show(0);
      all.push(one);
      list.append(one.element);
    }
    more.hidden = all.length === names.length;
    more.textContent = `Show ${Math.min(AT_ONCE, names.length - all.length)} more of ${names.length}`;
  };
  more.addEventListener("click", () => grow(all.length + AT_ONCE));
  grow(AT_ONCE);
  const show = (state) => {
    grow(Math.max(0, ...Object.keys(state[key]).map(Number).filter((rank) => rank <= names.length)));
    all.forEach((one, n) => one.show(state[key][n + 1] ?? 0));
  };
  return { element: make("div", {}, list, more), show };
}

// A choice of one of several values, side by side.
function choice(label, values, chosen) {
  const buttons = Object.entries(values).map(([value, text]) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => chosen(value));
    return [value, button];
  });
  const show = (value) => buttons.forEach(([one, button]) => button.setAttribute("aria-pressed", one === value));
  const group = make("span", { className: "choice", role: "group", "aria-label": label }, ...buttons.map(([, button]) => button));
  return { element: make("div", { className: "slider" }, make("span", {}, label), group), show };
}

// Arrow keys go from button to button, by the steps of each key.
function arrows(buttons, steps, reached = () => {}) {
  buttons.forEach((button, n) => button.addEventListener("keydown", (event) => {
    const step = steps[event.key], next = buttons[n + step];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); // the page would scroll
    if (!next) return;
    button.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    reached(n + step);
  }));
}

// A row of images of which one is chosen; arrow keys go along it.
function strip(label, pictures, names, chosen) {
  const buttons = pictures.map((pixels, n) => {
    const canvas = make("canvas");
    paintPixels(canvas, pixels);
    return make("button", { type: "button", title: names[n], "aria-label": names[n] }, canvas);
  });
  buttons.forEach((button, n) => button.addEventListener("click", () => chosen(n)));
  arrows(buttons, { ArrowLeft: -1, ArrowRight: 1 }, chosen);
  const element = make("div", { className: "strip", role: "group", "aria-label": label }, ...buttons);
  const show = (place) => buttons.forEach((button, n) => {
    const is = n === place;
    if (is && button.ariaPressed !== "true") {
      element.scrollLeft = button.offsetLeft - element.offsetLeft - element.clientWidth / 2;
    }
    button.setAttribute("aria-pressed", is);
    button.tabIndex = is || (place < 0 && !n) ? 0 : -1;
  });
  return { element, show };
}
