// Times of an open page, told to the console: caelab bench --page puts this at its end.
const page = document.documentElement;
const count = Math.min(20, JSON.parse(document.getElementById("about").textContent).images.count);

async function drawn(state) {
  location.hash = state;
  while (page.dataset.drawn !== state) await new Promise(requestAnimationFrame);
  return Number.parseFloat(document.querySelector(".bar .meta").textContent); // ms, as the page has measured them
}

while (document.getElementById("bench").hidden) await new Promise((done) => setTimeout(done, 10));
const opened = performance.now(), images = [], moves = [];
for (let n = 1; n < count; n++) images.push(await drawn(`image=${n}`));
for (let n = 1; n < 20; n++) moves.push(await drawn(`image=${count - 1}&mix=${n / 20}`)); // to image 1, encoded before
console.log(`caelab ${JSON.stringify({ opened, images, moves })}`);
