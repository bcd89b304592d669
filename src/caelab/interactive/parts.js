// Controls of what only some codes have: skips, indices, places, a corruption, a prior.

function skipControls({ set, keep }) {
  const longest = runs.reduce((most, { skips }) => (skips.length > most.length ? skips : most), []);
  if (!longest.length) return [];
  const rows = longest.map((shape, n) => choice(
    `skip ${n + 1}, ${shape.join("x")}`, { own: "its own", off: "off", other: "other image's" },
    (value) => { set("skips", n + 1, value === "own" ? null : value); keep(); }));
  return [{
    element: section("Skips", "What goes around the latent. Off is all zeros.", ...rows.map((one) => one.element)),
    show: (state) => rows.forEach((one, n) => one.show(state.skips[n + 1] ?? "own")),
  }];
}

function corruptionControls({ set, keep }) {
  if (!corrupted.length) return [];
  const texts = corrupted.map((run) => {
    const { kind, ...values } = runs[run].corruption;
    return `${letters[run]}${kind} (${Object.entries(values).map(([key, value]) => `${key}=${value}`).join(", ")})`;
  });
  let drawn = 1;
  const on = make("input", { type: "checkbox", id: "corrupt" });
  on.addEventListener("change", () => { set("corrupt", null, on.checked ? drawn : 0); keep(); });
  const again = make("button", { type: "button" }, "Draw again");
  again.addEventListener("click", () => { drawn += 1; set("corrupt", null, drawn); keep(); });
  const random = corrupted.some((run) => runs[run].corruption.kind in corruptions);
  return [{
    element: section("Corruption", "What a network was trained to undo; PSNR compares with the clean image.",
      make("label", {}, on, ` ${texts.join(", ")} `), ...(random ? [again] : [])),
    show: (state) => {
      on.checked = state.corrupt > 0;
      if (state.corrupt) drawn = state.corrupt;
    },
  }];
}

function priorControls({ set, keep }) {
  const priors = Object.entries(Object.assign({}, ...runs.map((run) => run.priors)));
  if (!priors.length) return [];
  let seed = 0;
  const draw = (name, value) => { set("prior", null, name); set("sample", null, value); keep(); };
  const lists = priors.filter(([, { draws }]) => draws)
    .map(([, { title, draws }]) => ` Of the ${title} prior the page has ${draws} draws by caelab sample, which it shows in turn.`);
  const buttons = priors.map(([name, { title }]) => {
    const button = make("button", { type: "button" }, `Draw from the ${title} prior`);
    button.addEventListener("click", () => draw(name, seed + 1));
    return button;
  });
  const back = make("button", { type: "button" }, "Back to the image");
  back.addEventListener("click", () => draw("", 0));
  return [{
    element: section("Samples", `A code drawn from a prior that caelab sample fitted, in place of the image's code.${lists.join("")}`,
      make("div", { className: "bar" }, ...buttons, back)),
    show: (state) => {
      seed = Math.max(seed, state.sample);
      back.disabled = !state.sample;
    },
  }];
}

// A grid of the indices of a discrete code; the slider below changes the chosen one.
function tokenControls({ set, keep }) {
  return runs.flatMap(({ tokens, places }, run) => {
    if (!tokens) return [];
    const { count, codebooks, entries } = tokens;
    let chosen = 0, indices = [];
    const change = slider("index", { least: 0, most: entries - 1, step: 1, rest: null, text: String }, (value) => set("tokens", `${run}.${chosen}`, value), keep);
    const back = make("button", { type: "button" }, "Put back");
    back.addEventListener("click", () => { set("tokens", `${run}.${chosen}`, null); keep(); });
    const buttons = Array.from({ length: count * codebooks }, (_, n) => make("button", { type: "button" }));
    const choose = (n) => {
      buttons[chosen].tabIndex = -1;
      chosen = n;
      buttons[n].tabIndex = 0;
      mark();
    };
    const perPlace = places ? count / (places.rows * places.columns) : 1;
    const columns = places ? places.columns * perPlace : Math.ceil(Math.sqrt(count));
    buttons.forEach((button, n) => {
      button.tabIndex = n ? -1 : 0;
      button.addEventListener("click", () => choose(n));
    });
    const row = columns * codebooks;
    arrows(buttons, { ArrowLeft: -codebooks, ArrowRight: codebooks, ArrowUp: -row, ArrowDown: row }, choose);
    let changed = {};
    const mark = () => {
      buttons.forEach((button, n) => {
        button.setAttribute("aria-pressed", n === chosen);
        button.classList.toggle("changed", `${run}.${n}` in changed);
      });
      back.disabled = !(`${run}.${chosen}` in changed);
      if (indices.length) change.show(indices[chosen]);
    };
    const grids = Array.from({ length: codebooks }, (_, book) => {
      const grid = make("div", { className: "tokens", role: "group", "aria-label": `indices of codebook ${book + 1}` },
        ...buttons.filter((_, n) => n % codebooks === book));
      grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 2.6rem))`;
      return grid;
    });
    return [{
      element: section(`${letters[run]}Indices`, `Choose an index and change it: ${entries} entries${codebooks > 1 ? `, ${codebooks} codebooks` : ""}.`,
        ...grids, change.element, back),
      show: (state) => { changed = state.tokens; mark(); },
      drawn: (codes) => {
        indices = codes[run].indices;
        buttons.forEach((button, n) => {
          button.textContent = indices[n];
          button.style.setProperty("--hue", (indices[n] * 137.508) % 360);
        });
        mark();
      },
    }];
  });
}
