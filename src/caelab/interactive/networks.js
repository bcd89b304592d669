// The networks, run by ONNX Runtime Web on the page's own thread.
async function startRuntime() {
  const script = new Blob([await bytesOf("runtime-script")], { type: "text/javascript" });
  const runtime = await import(URL.createObjectURL(script));
  Object.assign(runtime.env.wasm, { wasmBinary: await bytesOf("runtime-wasm"), numThreads: 1, proxy: false });
  return runtime;
}

class Run {
  constructor(runtime, place) {
    Object.assign(this, { runtime, place, about: runs[place], sessions: {}, codes: new Map() });
  }

  async open() {
    const externalData = [{ path: "weights", data: await bytesOf(`weights-${this.place}`) }]; // of all of them
    for (const name of ["encoder", "decoder", "lookup", "corruption"]) {
      if (document.getElementById(`${name}-${this.place}`))
        this.sessions[name] = await this.runtime.InferenceSession.create(await bytesOf(`${name}-${this.place}`), { externalData });
    }
    this.mean = await floatsOf(`mean-${this.place}`);
    if (this.about.axes) this.moves = await floatsOf(`moves-${this.place}`);
    this.priors = Object.create(null); // which has no names but these
    for (const [name, { draws }] of Object.entries(this.about.priors)) {
      const parts = (draws ? ["draws"] : ["shares", "means", "roots"]).map(async (part) => [part, await floatsOf(`${name}-${part}-${this.place}`)]);
      this.priors[name] = Object.fromEntries(await Promise.all(parts));
    }
    return this;
  }

  // Outputs of one of the networks, by name; inputs are arrays of one image each.
  async pass(name, inputs, shapes) {
    const feeds = Object.fromEntries(Object.entries(inputs).map(([key, one]) => [
      key, new this.runtime.Tensor(one instanceof Int32Array ? "int32" : "float32", one, [1, ...shapes[key]]),
    ]));
    const outputs = await this.sessions[name].run(feeds);
    return Object.fromEntries(Object.entries(outputs).map(([key, tensor]) => [key, tensor.data]));
  }

  // The code {z, skips, indices} of pixels, kept under a key.
  async encode(pixels, key) {
    if (!this.codes.has(key)) {
      const { z, indices, ...rest } = await this.pass("encoder", { x: pixels }, { x: this.about.shape });
      if (this.codes.size > 200) this.codes.clear();
      this.codes.set(key, { z, indices, skips: this.about.skips.map((_, n) => rest[`skip_${n + 1}`]) });
    }
    return this.codes.get(key);
  }

  async decode({ z, skips }) {
    const inputs = { z }, shapes = { z: [this.about.latent] };
    skips.forEach((skip, n) => {
      inputs[`skip_${n + 1}`] = skip;
      shapes[`skip_${n + 1}`] = this.about.skips[n];
    });
    return (await this.pass("decoder", inputs, shapes)).x_hat;
  }

  async lookup(indices) {
    const { count, codebooks } = this.about.tokens;
    return (await this.pass("lookup", { indices }, { indices: [count, codebooks] })).z;
  }
}
