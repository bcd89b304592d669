// From what is set to the code that is decoded.

// Numbers in [0, 1) from a seed, by mulberry32.
function generator(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

// What a run was trained to undo, where it draws: pixels, its arguments and random numbers to pixels.
const corruptions = {
  GaussianNoise: (x, { std }, random) => x.map((one) => Math.min(1, Math.max(0, one + std * normal(random)))),
  SaltPepper: (x, { amount }, random) => {
    const drawn = Array.from({ length: height * width }, random);
    return x.map((one, n) => {
      const at = drawn[n % drawn.length];
      return at < amount / 2 ? 1 : at >= 1 - amount / 2 ? 0 : one;
    });
  },
  Masking: (x, { share, patch }, random) => {
    const columns = Math.ceil(width / patch);
    const masked = Array.from({ length: Math.ceil(height / patch) * columns }, () => random() < share);
    const at = (n) => Math.floor((Math.floor(n / width) % height) / patch) * columns + Math.floor((n % width) / patch);
    return x.map((one, n) => (masked[at(n)] ? 0 : one));
  },
};

// The runs that were trained to undo one.
const corrupted = [...runs.keys()].filter((run) =>
  runs[run].corruption.kind in corruptions || document.getElementById(`corruption-${run}`));

// Pixels of an image as a network is given them: corrupted as in its training.
async function given(net, pixels, image, seed) {
  const { about, place, sessions } = net;
  if (!seed || !corrupted.includes(place)) return pixels;
  if (!sessions.corruption) return corruptions[about.corruption.kind](pixels, about.corruption, generator(1000 * seed + image));
  return (await net.pass("corruption", { x: pixels }, { x: about.shape })).corrupted;
}

const mixed = (a, b, share) => (share ? a.map((one, n) => one + share * (b[n] - one)) : a);
const uses = (map, value) => Object.values(map).includes(value);

// Whether a token is already that of the other image: each turns at a share of its own.
const turned = (token, share) => share === 1 || (((token + 1) * 0.6180339887) % 1) < share;

// A code drawn from a prior that was fitted to the codes of training images.
function drawnFrom({ draws, shares, means, roots }, latent, seed) {
  if (draws) {
    const at = ((seed - 1) * latent) % draws.length;
    return draws.slice(at, at + latent);
  }
  const random = generator(seed);
  let turn = random(), part = 0;
  while (part < shares.length - 1 && turn >= shares[part]) turn -= shares[part++];
  const z = means.slice(part * latent, (part + 1) * latent);
  for (let axis = 0; axis < latent; axis++) {
    const noise = normal(random), at = (part * latent + axis) * latent;
    for (let n = 0; n < latent; n++) z[n] += noise * roots[at + n];
  }
  return z;
}

// The code {z, skips, indices} of a state for one run.
async function codeOf(net, state, encode) {
  const own = await encode(net, state.image);
  const needed = state.mix > 0 || uses(state.skips, "other") || uses(state.painted, "other");
  const other = needed ? await encode(net, state.other) : own;
  const skips = own.skips.map((skip, n) => {
    const choice = state.skips[n + 1];
    if (choice === "off") return new Float32Array(skip.length);
    return choice === "other" ? other.skips[n] : mixed(skip, other.skips[n], state.mix);
  });
  if (!net.about.tokens) return { z: numbersOf(net, state, own, other), skips };
  const indices = indicesOf(net, state, own, other);
  return { z: await net.lookup(indices), skips, indices };
}

// Entries of a map of the state that are for one run: place in its code, and value.
const entriesOf = (map, net) => Object.entries(map).map(([name, value]) => [...name.split(".").map(Number), value])
  .filter(([run]) => run === net.place).map(([, place, value]) => [place, value]);

// Where the numbers of a place lie in z, or its indices among all.
function ofPlace({ places, tokens, latent }, place) {
  const count = (tokens ? tokens.count * tokens.codebooks : latent) / (places.rows * places.columns);
  return Array.from({ length: count }, (_, n) => place * count + n);
}

function indicesOf(net, state, own, other) {
  const { codebooks, entries } = net.about.tokens;
  const indices = own.indices.map((index, n) =>
    (turned(Math.floor(n / codebooks), state.mix) ? other.indices[n] : index));
  for (const [place, kind] of net.about.places ? entriesOf(state.painted, net) : []) {
    if (kind === "other") ofPlace(net.about, place).forEach((n) => { indices[n] = other.indices[n]; });
  }
  for (const [token, index] of entriesOf(state.tokens, net)) {
    if (token < indices.length && index >= 0 && index < entries) indices[token] = index;
  }
  return indices;
}

function numbersOf(net, state, own, other) {
  const { latent, numbers, places } = net.about;
  const prior = state.sample && net.priors[state.prior];
  const start = prior ? drawnFrom(prior, latent, state.sample) : own.z;
  const z = Float32Array.from(mixed(start, other.z, state.mix));
  for (const [place, kind] of places ? entriesOf(state.painted, net) : []) {
    ofPlace(net.about, place).forEach((n) => { z[n] = kind === "other" ? other.z[n] : net.mean[n]; });
  }
  for (const [rank, amount] of Object.entries(state.axes)) {
    const move = net.moves.subarray((rank - 1) * latent, rank * latent);
    move.forEach((one, n) => { z[n] += amount * one; });
  }
  for (const [rank, amount] of Object.entries(state.numbers)) {
    if (rank <= numbers.names.length) z[numbers.names[rank - 1]] += amount * numbers.deviations[rank - 1];
  }
  return z;
}
