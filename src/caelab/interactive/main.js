// The page: what is set, what is drawn of it, and what is kept.
async function begin() {
  const tests = await readImages();
  const runtime = await startRuntime();
  const nets = []; // one after the other: the runtime knows the weights of each by the same name
  for (const place of runs.keys()) nets.push(await new Run(runtime, place).open());
  let state = parse(location.hash.slice(1));
  const steps = new Steps(state, remember);
  const pixelsOf = (image) => (image === OWN ? ownPixels(state.own) : tests[image]);
  const encode = async (net, image) => {
    const { corrupt, own } = state; // which may be others once the pixels are there
    return net.encode(await given(net, pixelsOf(image), image, corrupt), `${image} ${corrupt} ${image === OWN ? own : ""}`);
  };

  const stage = buildStage();
  const controls = buildControls(tests, { set, keep }, stage.covers);
  document.getElementById("controls").append(...controls.map((one) => one.element));
  const undo = make("button", { type: "button", title: "Ctrl+Z" }, "Undo"), redo = make("button", { type: "button", title: "Ctrl+Y" }, "Redo");
  const reset = make("button", { type: "button" }, "Reset"), link = make("button", { type: "button" }, "Copy link");
  const time = make("span", { className: "meta" });
  stage.element.append(make("div", { className: "bar" }, undo, redo, reset, link, time));

  // Set part of the state, and draw it; a step is kept when the hand lets go.
  function set(key, name, value) {
    if (name === null) state[key] = value;
    else if (value === null) delete state[key][name];
    else state[key][name] = value;
    draw().catch(fail);
  }

  function keep() {
    steps.keep(state);
    controls.forEach((one) => one.show(state));
  }

  function replace(next) {
    if (!next) return;
    state = next;
    keep();
    draw().catch(fail);
  }

  function remember() {
    history.replaceState(null, "", `#${steps.now}`);
    undo.disabled = !steps.past.length;
    redo.disabled = !steps.future.length;
  }

  let drawing = false, stale = false;
  async function draw() {
    stale = true;
    if (drawing) return;
    drawing = true;
    try {
      while (stale) await drawOnce();
    } finally {
      drawing = false;
    }
    document.getElementById("status").hidden = true;
  }

  async function drawOnce() {
    stale = false;
    const text = format(state), clean = pixelsOf(state.image);
    const began = performance.now();
    const codes = [], pictures = [];
    for (const net of nets) {
      codes.push(await codeOf(net, state, encode));
      pictures.push(await net.decode(codes.at(-1)));
    }
    time.textContent = `${((performance.now() - began) / nets.length).toFixed(1)} ms a picture`;
    const inputs = [];
    for (const net of nets) inputs.push(await given(net, clean, state.image, state.corrupt));
    stage.show(clean, inputs, pictures, nets.map((net) => state.sample && state.prior in net.priors));
    controls.forEach((one) => one.drawn?.(codes));
    document.documentElement.dataset.drawn = text;
    await new Promise(requestAnimationFrame);
  }

  undo.addEventListener("click", () => replace(steps.undo()));
  redo.addEventListener("click", () => replace(steps.redo()));
  reset.addEventListener("click", () => replace({ ...fresh(), image: state.image, other: state.other, own: state.own }));
  link.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      link.textContent = "Copied";
      setTimeout(() => { link.textContent = "Copy link"; }, 1500);
    } catch {
      prompt("The link", location.href); // where the browser lets no page write to the clipboard
    }
  });
  addEventListener("hashchange", () => replace(parse(location.hash.slice(1))));
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    replace(key === "y" || event.shiftKey ? steps.redo() : steps.undo());
  });
  const drop = async (file) => {
    if (!file) return;
    const own = written(await readPicture(file));
    replace({ ...state, image: OWN, own });
  };
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop(event.dataTransfer.files[0]).catch(fail);
  });
  document.getElementById("file").addEventListener("change", ({ target }) => {
    drop(target.files[0]).catch(fail);
    target.value = ""; // so that the same file is a change
  });

  remember();
  await draw();
  document.getElementById("bench").hidden = false;
  controls.forEach((one) => one.show(state));
}

function fail(error) {
  const line = document.getElementById("status");
  line.hidden = false;
  line.textContent = `${error.message ?? error}`;
  console.error(error);
}

begin().catch(fail);
