// What is seen: the pictures on one side, the controls on the other.
const several = runs.length > 1;
const letters = several ? ["A: ", "B: "] : [""];

function figure(name, kind) {
  const canvas = make("canvas", { role: "img", "aria-label": name }), caption = make("figcaption", {}, name);
  const cover = make("div", { className: "cover" }, canvas);
  return { canvas, caption, cover, element: make("figure", { className: kind }, cover, caption) };
}

function buildStage() {
  const image = figure("image", "image"), inputs = runs.map((_, n) => figure(`${letters[n]}given to the network`, "input"));
  const outputs = runs.map((_, n) => [figure(`${letters[n]}reconstruction`, "decoded"), figure(`${letters[n]}error`, "error")]);
  const element = document.getElementById("stage");
  const all = [image, ...outputs.flatMap((pair, n) => (corrupted.includes(n) ? [inputs[n], ...pair] : pair))].map((one) => one.element);
  element.append(make("div", { className: corrupted.length ? "pictures four" : "pictures" }, ...all));
  const show = (clean, given, decoded, sampled) => {
    paintPixels(image.canvas, clean);
    outputs.forEach(([picture, error], n) => {
      paintPixels(inputs[n].canvas, given[n]);
      paintPixels(picture.canvas, decoded[n]);
      paintError(error.canvas, sampled[n] ? decoded[n] : clean, decoded[n]);
      picture.caption.textContent = letters[n] + (sampled[n] ? "sample" : `${psnr(clean, decoded[n]).toFixed(2)} dB`);
      error.caption.textContent = sampled[n] ? "" : `${letters[n]}error, white from ${FULL}`;
    });
  };
  return { element, show, covers: outputs.map(([picture]) => picture.cover) };
}

function imageControls(tests, { set, keep }) {
  const names = tests.map((_, n) => `test image ${images.rows[n]}${images.names.length ? `, ${images.names[n]}` : ""}`);
  const pick = (key, label) => strip(label, tests, names, (n) => { set(key, null, n); keep(); });
  const image = pick("image", "choose the image"), other = pick("other", "choose the other image");
  const mix = slider("to the other image", { least: 0, most: 1, step: 0.01, text: (value) => `${Math.round(100 * value)} %` },
    (value) => set("mix", null, value), keep);
  const file = make("label", { className: "file" }, "Open a picture", make("input", { type: "file", id: "file", accept: "image/*" }));
  return [
    { element: section("Image", "A test image, or your own picture: drop it here.", image.element, file),
      show: (state) => image.show(state.image) },
    { element: section("Other image", "The image that the slider moves the code towards.", other.element, mix.element),
      show: (state) => { other.show(state.other); mix.show(state.mix); } },
  ];
}

function directionControls({ set, keep }) {
  const free = runs.filter((run) => run.axes);
  const ranked = (kind, label) => Array.from(
    { length: Math.max(...free.map((run) => run[kind].names.length)) },
    (_, n) => free.map((run) => (n < run[kind].names.length ? label(run[kind].names[n]) : "–")).join(" | "));
  const of = (key, title, how, label) => {
    const { element, show } = sliders(key, ranked(key, label), set, keep);
    return { element: section(title, how, element), show };
  };
  return free.length ? [
    of("axes", "Principal axes", "In standard deviations; the largest effect on the picture first. Double-click a slider to reset it.", (name) => `axis ${name}`),
    of("numbers", "Single numbers", "Each in its own standard deviations; the largest effect first.", (name) => `z[${name}]`),
  ] : [];
}

const buildControls = (tests, hand, covers) => [
  ...imageControls(tests, hand), ...corruptionControls(hand), ...priorControls(hand), ...skipControls(hand),
  ...tokenControls(hand), ...placeControls(hand, covers), ...directionControls(hand),
];
