// Pictures and their errors, on canvases of as many pixels as the images have.
const byte = (value) => Math.round(255 * Math.min(1, Math.max(0, value)));

function paint(canvas, colour) {
  const picture = new ImageData(width, height);
  for (let n = 0; n < height * width; n++) picture.data.set([...colour(n), 255], 4 * n);
  Object.assign(canvas, { width, height }).getContext("2d").putImageData(picture, 0, 0);
}

function paintPixels(canvas, x) {
  const bands = images.bands.length === 1 ? [0, 0, 0].fill(images.bands[0]) : images.bands;
  paint(canvas, (n) => bands.map((band) => byte(x[band * height * width + n])));
}

const FULL = 64; // grey levels of error from which it is white

function paintError(canvas, x, xHat) {
  paint(canvas, (n) => {
    let error = 0;
    for (let c = 0; c < channels; c++) error += Math.abs(x[c * height * width + n] - xHat[c * height * width + n]);
    const heat = (765 * (255 * error) / channels) / FULL;
    return [heat, heat - 255, heat - 510].map((one) => Math.min(255, Math.max(0, one)));
  });
}

function psnr(x, xHat) {
  const mse = x.reduce((sum, one, n) => sum + (one - xHat[n]) ** 2, 0) / x.length;
  return Math.min(100, -10 * Math.log10(mse));
}
