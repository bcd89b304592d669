// What is seen: the pictures on one side, the controls on the other.
const letters = runs.length > 1 ? ["A: ", "B: "] : [""];

// Bytes (C, H, W) of the user's picture as text for a link, and back.
const written = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
const ownPixels = (text) =>
  Float32Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0) / 255);

function figure(name, kind) {
  const canvas = make("canvas", { role: "img", "aria-label": name }), caption = make("figcaption", {}, name);
  return { canvas, caption, element: make("figure", { className: kind }, canvas, caption) };
}

function buildStage() {
  const image = figure("image", "image"), input = figure("given to the network", "input");
  const outputs = runs.map((_, n) => [figure(`${letters[n]}reconstruction`, "decoded"), figure(`${letters[n]}error`, "error")]);
  const element = document.getElementById("stage");
  element.append(make("div", { className: "pictures" }, ...[image, ...outputs.flat(), input].map((one) => one.element)));
  const show = (clean, corrupted, decoded) => {
    paintPixels(image.canvas, clean);
    input.element.classList.toggle("off", !corrupted);
    if (corrupted) paintPixels(input.canvas, corrupted);
    outputs.forEach(([picture, error], n) => {
      paintPixels(picture.canvas, decoded[n]);
      paintError(error.canvas, clean, decoded[n]);
      picture.caption.textContent = `${letters[n]}${psnr(clean, decoded[n]).toFixed(2)} dB`;
      error.caption.textContent = `${letters[n]}error; white: ${FULL} of 255 or more`;
    });
  };
  return { element, show };
}

function buildControls(tests, set, keep, replace) {
  const names = tests.map((_, n) => `test image ${images.rows[n]}${images.names.length ? `, ${images.names[n]}` : ""}`);
  const pick = (key) => strip(`choose the ${key === "image" ? "image" : "other image"}`, tests, names, (n) => {
    set(key, null, n);
    keep();
  });
  const image = pick("image"), other = pick("other");
  const mix = slider("to the other image", { least: 0, most: 1, step: 0.01, text: (value) => `${Math.round(100 * value)} %` },
    (value) => set("mix", null, value), keep);
  const file = make("label", { className: "file" }, "Open a picture", make("input", { type: "file", id: "file", accept: "image/*" }));
  const found = [
    { element: section("Image", "A test image, or a picture of yours: drop it here.", image.element, file),
      show: (state) => image.show(state.image) },
    { element: section("Other image", "Where the code goes to.", other.element, mix.element),
      show: (state) => { other.show(state.other); mix.show(state.mix); } },
  ];
  const free = runs.filter((run) => run.axes);
  if (free.length) {
    const ranked = (kind, label) => {
      const longest = Math.max(...free.map((run) => run[kind].names.length));
      return Array.from({ length: longest }, (_, n) => free.map((run) => label(run[kind].names[n])).join(" | "));
    };
    const axes = sliders("axes", ranked("axes", (name) => `axis ${name}`), set, keep);
    const single = sliders("numbers", ranked("numbers", (name) => `z[${name}]`), set, keep);
    found.push({ element: section("Principal axes", "In standard deviations; the largest effect on the picture first.", axes.element), show: axes.show });
    found.push({ element: section("Single numbers", "In standard deviations of each; the largest effect first.", single.element), show: single.show });
  }
  return found;
}
