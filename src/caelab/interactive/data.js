// What the page holds: small things as JSON, large ones as gzip in base64.
const { runs, images } = JSON.parse(document.getElementById("about").textContent);
const [channels, height, width] = runs[0].shape;
const numbers = channels * height * width;

async function bytesOf(name) {
  const text = document.getElementById(name).textContent;
  const packed = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const floatsOf = async (name) => new Float32Array((await bytesOf(name)).buffer);

// The test images, each Float32Array (C, H, W) in [0, 1].
async function readImages() {
  const whole = images.bytes ? Float32Array.from(await bytesOf("images"), (byte) => byte / 255) : await floatsOf("images");
  return Array.from({ length: images.count }, (_, n) => whole.subarray(n * numbers, (n + 1) * numbers));
}

// A picture of the user's as bytes (C, H, W): its middle, as large as the network takes it.
async function readPicture(file) {
  if (channels !== 1 && channels !== 3) throw new Error(`The network takes images of ${channels} channels; the page reads pictures of 1 or 3.`);
  const bitmap = await createImageBitmap(file);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, width, height);
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = (at) => 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]; // ITU-R 601-2
  return Uint8Array.from({ length: numbers }, (_, n) => {
    const at = 4 * (n % (height * width));
    return channels === 1 ? Math.round(grey(at)) : data[at + Math.floor(n / (height * width))];
  });
}
