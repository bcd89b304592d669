// What is set in the page: one object, written as the link's hash, and undone step by step.
const fresh = () => ({
  image: 0, other: 1, mix: 0, corrupt: corrupted.length ? 1 : 0, prior: "", sample: 0, own: "",
  axes: {}, numbers: {}, skips: {}, tokens: {}, painted: {},
});
const maps = ["axes", "numbers", "skips", "tokens", "painted"];
const OWN = -1; // in the place of a test image: the user's own

function format(state) {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (maps.includes(key)) {
      const pairs = Object.entries(value).map(([name, one]) => `${name}:${one}`);
      if (pairs.length) words.set(key, pairs.join(","));
    } else if (value !== fresh()[key]) words.set(key, value);
  }
  return words.toString().replace(/%2C/g, ",").replace(/%3A/g, ":");
}

// Bytes (C, H, W) of the user's picture as text for a link, and back.
const written = (bytes) => btoa(Array.from(bytes, (one) => String.fromCharCode(one)).join(""))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
const ownPixels = (text) =>
  Float32Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0) / 255);

function isPicture(text) {
  try {
    return ownPixels(text).length === numbers;
  } catch {
    return false;
  }
}

// A state from a hash; what it cannot be is left as it was at first.
function parse(text) {
  const state = fresh(), words = new URLSearchParams(text);
  const whole = (key, least, most) => {
    const value = Number(words.get(key) ?? state[key]);
    if (Number.isInteger(value) && value >= least && value <= most) state[key] = value;
  };
  state.prior = words.get("prior") ?? "";
  if (isPicture(words.get("own") ?? "")) state.own = words.get("own");
  const least = state.own ? OWN : 0;
  whole("image", least, images.count - 1);
  whole("other", least, images.count - 1);
  whole("corrupt", 0, 1e6);
  whole("sample", 0, 1e6);
  state.mix = Math.min(1, Math.max(0, Number(words.get("mix")) || 0));
  for (const key of maps) {
    for (const pair of (words.get(key) ?? "").split(",").filter(Boolean)) {
      const [name, value] = pair.split(":");
      const read = key === "skips" || key === "painted" ? value : Number(value);
      if (value && !Number.isNaN(read)) state[key][name] = read;
    }
  }
  return state;
}

class Steps {
  constructor(state, changed) {
    Object.assign(this, { past: [], future: [], now: format(state), changed });
  }

  // Keep a state as a step of its own.
  keep(state) {
    const text = format(state);
    if (text === this.now) return;
    this.past.push(this.now);
    this.future = [];
    this.now = text;
    this.changed();
  }

  step(from, to) {
    if (!from.length) return null;
    to.push(this.now);
    this.now = from.pop();
    this.changed();
    return parse(this.now);
  }

  undo() { return this.step(this.past, this.future); }

  redo() { return this.step(this.future, this.past); }
}
