"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const chosen = {};
  const drawn = new Set();
  let printing = false;
  const borders = { solid: "solid", dash: "dashed", dashdot: "double", dot: "dotted" };
  const dashes = Object.keys(borders);
  const make = (tag, set = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), set);
    made.append(...children);
    return made;
  };
  // Plotly reads markup in names; here a name is a name.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const brief = (text) => plain(text.length > 28 ? `${text.slice(0, 13)}…${text.slice(-14)}` : text);
  const colour = (i) => data.colours[i % data.colours.length];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // What is shown: a row that no filter leaves out; a floor stays unless its dataset is another.
  const shows = (row) => Object.entries(chosen).every(
    ([group, value]) => !value || row[group] === value || (row.floor && group !== "dataset"));

  // ---- tables
  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      const text = (line) => line.cells[column].textContent.replace(/,/g, "");
      const words = !column || [...body.rows].some((line) => text(line) && Number.isNaN(parseFloat(text(line))));
      const value = (line) => (words ? text(line) : parseFloat(text(line)));
      const button = make("button", { type: "button", title: "sort by this column" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.ariaSort ? head.ariaSort === "descending" : words;
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.ariaSort = up ? "ascending" : "descending";
        const empty = (one) => (words ? one === "" : Number.isNaN(one));
        const lines = [...body.rows].map((line) => [value(line), line]);
        lines.sort(([a], [b]) => empty(a) - empty(b) || (up ? 1 : -1) *
          (words ? a.localeCompare(b, undefined, { numeric: true }) : a - b || 0));
        body.append(...lines.map(([, line]) => line));
      });
    });
  }

  // ---- plots
  const layout = (more) => ({
    autosize: true, ...(printing ? { width: 460, height: 280 } : { height: 320 }), margin: { l: 55, r: 10, t: 10, b: 45 }, hovermode: "closest", showlegend: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: data.colours,
    font: { color: css("--ink"), size: 12, family: "system-ui, sans-serif" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", font: { size: 11 } },
    hoverlabel: { namelength: -1 }, ...more,
  });
  const axis = (title, more) => ({
    title: { text: title }, gridcolor: css("--rule"), linecolor: css("--rule"), zeroline: false, automargin: true, ...more,
  });
  const dash = (i) => dashes[Math.floor(i / data.colours.length) % dashes.length];
  const ink = (i) => (colour(i) === "#000000" ? css("--ink") : colour(i));
  const reach = ([mean, low, high]) => ({
    type: "data", symmetric: false, array: [high === null ? 0 : high - mean],
    arrayminus: [low === null ? 0 : mean - low], visible: low !== null, thickness: 1.5,
  });
  const mark = (row, i) => ({
    color: row.floor ? css("--soft") : ink(i), size: 9,
    symbol: (row.floor ? "square" : "circle") + (row.honest ? "" : "-open"), line: { width: 1.5 },
  });

  // Rows as one trace of points: a trace a row takes seconds to draw where there are many.
  const points = (rows, more) => ({
    mode: "markers", hoverinfo: "x+y+text", text: rows.map(({ row }) => plain(row.label)), ...more,
    marker: Object.fromEntries(["color", "symbol"].map((key) => [key, rows.map(({ row, i }) => mark(row, i)[key])])
      .concat([["size", 9], ["line", { width: 1.5 }]])),
  });

  function dots(rows, metric, key) {
    const names = rows.map((one, n) => `${n}`), [mean, low, high] = [0, 1, 2].map((k) => rows.map(({ row }) => row[key][k]));
    const bars = { type: "data", symmetric: false, thickness: 1.5, color: css("--soft"),
      array: mean.map((one, n) => (high[n] === null ? 0 : high[n] - one)),
      arrayminus: mean.map((one, n) => (low[n] === null ? 0 : one - low[n])), visible: low.some((one) => one !== null) };
    const traces = [points(rows, { x: mean, y: names, error_x: bars, hoverinfo: "x+text" })];
    const report = rows.map(({ row }, n) => [row.report[metric], names[n]]).filter(([value]) => value !== undefined);
    if (report.length) traces.push({
      x: report.map(([x]) => x), y: report.map(([, y]) => y), mode: "markers", hoverinfo: "x+text", text: "the report, of ten images",
      marker: { symbol: "diamond-open", size: 10, color: css("--soft"), line: { width: 1.5 } },
    });
    const ticks = { type: "category", autorange: "reversed", tickvals: names,
      ticktext: rows.map(({ row }) => brief(row.label)) };
    return [traces, layout({ height: 90 + 24 * rows.length, xaxis: axis(data.labels[metric]), yaxis: axis("", ticks) })];
  }

  function line(rows, metric, key, name) {
    const series = new Map();
    rows.forEach((one) => series.set(one.row.series, [...(series.get(one.row.series) || []), one]));
    const ticks = [...new Set(rows.map(({ row }) => row.x).filter((x) => x !== null))].sort((a, b) => a - b);
    if (!ticks.length) return null;
    const traces = [...series].map(([label, members], n) => {
      const level = members.every(({ row }) => row.x === null);
      const points = level ? ticks.map((x) => ({ ...members[0].row, x })) : members.map(({ row }) => row);
      points.sort((a, b) => a.x - b.x);
      const bars = points.map((row) => reach(row[key]));
      return {
        x: points.map((row) => row.x), y: points.map((row) => row[key][0]), name: plain(label),
        mode: level ? "lines" : "lines+markers", marker: mark(members[0].row, n),
        line: { color: mark(members[0].row, n).color, dash: members[0].row.floor ? "dash" : "solid" },
        error_y: { ...bars[0], array: bars.flatMap((bar) => bar.array), arrayminus: bars.flatMap((bar) => bar.arrayminus),
          visible: !level && bars.some((bar) => bar.visible) },
      };
    });
    const powers = ticks.every((x) => x > 0 && Number.isInteger(Math.log2(x)));
    return [traces, layout({ height: 360, showlegend: true, yaxis: axis(data.labels[metric]), xaxis: axis(plain(name),
      { type: powers ? "log" : "linear", ...(powers ? { tickvals: ticks, ticktext: ticks.map(String) } : {}) }) })];
  }

  function costs(rows, numbers) {
    const found = rows.filter(({ row }) => row.code);
    if (new Set(found.map(({ row }) => row.code)).size < 2) return null;
    const traces = [points(found, { x: found.map(({ row }) => row.code), y: found.map(({ row }) => row.psnr[0]) })];
    const image = { type: "line", x0: numbers, x1: numbers, y0: 0, y1: 1, yref: "paper", line: { color: css("--soft"), dash: "dot", width: 1 } };
    return [traces, layout({ shapes: numbers ? [image] : [], yaxis: axis(data.labels["test/psnr"]),
      xaxis: axis("numbers that reach the decoder", { type: "log" }) })];
  }

  function curves(rows, key) {
    const found = rows.filter(({ row }) => row.curves[key]);
    if (!found.length) return null;
    const traces = found.flatMap(({ row, i }) => {
      const [x, mean, low, high] = row.curves[key], name = plain(row.label);
      const band = { x: [...x, ...[...x].reverse()], y: low && [...high, ...[...low].reverse()], fill: "toself", mode: "none",
        fillcolor: ink(i) + "33", hoverinfo: "skip" };
      return [...(low ? [band] : []), { x, y: mean, name, mode: x.length > 1 ? "lines" : "markers",
        line: { color: ink(i), width: 1.8, dash: dash(i) } }];
    });
    const logarithmic = key === "train/loss" && found.every(({ row }) => row.curves[key][1].every((y) => y > 0));
    return [traces, layout({ xaxis: axis("epoch"),
      yaxis: axis(data.curves[key], logarithmic ? { type: "log" } : {}) })];
  }

  function draw(section) {
    drawn.add(section.name);
    const rows = section.rows.map((row, i) => ({ row, i })).filter(({ row }) => row.psnr && shows(row));
    const by = (metric, key) => (section.axis ? line(rows, metric, key, section.axis) : dots(rows, metric, key));
    const plots = rows.length ? {
      "PSNR on the test split: means and 95 % intervals over seeds": by("test/psnr", "psnr"),
      "SSIM on the test split: means and 95 % intervals over seeds": by("test/ssim", "ssim"),
      "PSNR against the numbers that reach the decoder; open marks: some go around the latent, or may": costs(rows, section.numbers),
      "PSNR on the validation split: means, bands from the least to the greatest seed": curves(rows, "val/psnr"),
      "Training loss: means, bands from the least to the greatest seed": curves(rows, "train/loss"),
    } : {};
    const place = document.querySelector(`[data-plots="${CSS.escape(section.name)}"]`);
    for (const old of place.querySelectorAll(".plot")) Plotly.purge(old);
    const areas = Object.entries(plots).filter(([, plot]) => plot).map(([caption, plot]) => {
      const area = make("div", { className: "plot", role: "img", ariaLabel: caption });
      return { area, plot, figure: make("figure", {}, area, make("figcaption", {}, caption)) };
    });
    place.replaceChildren(legend(rows), ...areas.map(({ figure }) => figure));
    for (const { area, plot } of areas) Plotly.newPlot(area, ...plot, { responsive: !printing, displaylogo: false, displayModeBar: false });
  }

  // Colours and dashes of all plots of a section; of very many rows the first ones, a plot names any that is pointed at.
  function legend(rows) {
    const lines = rows.filter(({ row }) => !row.floor && Object.keys(row.curves).length);
    const entries = lines.slice(0, 16).map(({ row, i }) => {
      const sign = make("span", { className: "sign" });
      sign.style.borderTop = `3px ${borders[dash(i)]} ${ink(i)}`;
      return make("li", {}, sign, row.label);
    });
    if (lines.length > 16) entries.push(make("li", {}, `and ${lines.length - 16} more: point at a line to see its name`));
    return make("ul", { className: "legend", hidden: lines.length < 2 }, ...entries);
  }

  // ---- pictures
  function compare(section) {
    const { count, width, height, rows } = section.pictures;
    const place = document.querySelector(`[data-pictures="${CSS.escape(section.name)}"]`);
    const images = rows.map(({ uri }) => Object.assign(new Image(), { src: uri }));
    const scratch = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    const pixels = (row, tile) => {
      scratch.drawImage(images[row], tile * width, 0, width, height, 0, 0, width, height);
      return scratch.getImageData(0, 0, width, height);
    };
    const state = { tile: 0, A: Math.min(1, rows.length - 1), B: Math.min(2, rows.length - 1), over: "" };
    const panels = Object.fromEntries(["original", "A", "B", "error of A", "error of B"].map((name) => {
      const canvas = make("canvas", { width, height }), caption = make("figcaption");
      return [name, { canvas, caption, figure: make("figure", {}, canvas, caption) }];
    }));
    const psnr = (a, b) => {
      let sum = 0, n = 0;
      for (let k = 0; k < a.data.length; k += 4) for (let c = 0; c < 3; c++, n++) sum += (a.data[k + c] - b.data[k + c]) ** 2;
      return sum ? `${(20 * Math.log10(255) - 10 * Math.log10(sum / n)).toFixed(1)} dB` : "equal";
    };
    const error = (a, b) => {
      const map = new ImageData(width, height);
      for (let k = 0; k < a.data.length; k += 4) {
        const gap = [0, 1, 2].reduce((sum, c) => sum + Math.abs(a.data[k + c] - b.data[k + c]), 0) / 3;
        const level = Math.min(1, gap / 64);  // black, red, yellow, white
        map.data.set([765 * level, 765 * level - 255, 765 * level - 510, 255], k);
      }
      return map;
    };
    const put = (name, content, text) => {
      panels[name].canvas.getContext("2d").putImageData(content, 0, 0);
      panels[name].caption.textContent = text;
    };
    const show = () => {
      const original = pixels(0, state.tile);
      put("original", original, "original");
      for (const side of ["A", "B"]) {
        const made = pixels(state[side], state.tile);
        put(side, state.over === side ? original : made, state.over === side ? "original" : `${side}: ${psnr(made, original)}`);
        put(`error of ${side}`, error(made, original), `error of ${side}`);
      }
      tiles.forEach((tile, n) => tile.setAttribute("aria-pressed", n === state.tile));
    };
    const tiles = Array.from({ length: count }, (_, n) => {
      const tile = make("button", { type: "button", className: "tile", title: `picture ${n + 1}` });
      tile.style.backgroundImage = `url(${rows[0].uri})`;
      tile.style.backgroundSize = `${100 * count}% 100%`;
      tile.style.backgroundPosition = `${count > 1 ? (100 * n) / (count - 1) : 0}% 0`;
      for (const event of ["pointerenter", "focus", "click"])
        tile.addEventListener(event, () => { state.tile = n; show(); });
      return tile;
    });
    const sides = ["A", "B"].map((side) => {
      const list = make("select", {}, ...rows.slice(1).map(({ name }, n) => make("option", { value: n + 1 }, name)));
      list.value = state[side];
      list.addEventListener("change", () => { state[side] = Number(list.value); show(); });
      const { canvas } = panels[side];
      canvas.addEventListener("pointerenter", () => { state.over = side; show(); });
      canvas.addEventListener("pointerleave", () => { state.over = ""; show(); });
      return make("label", {}, `${side} `, list);
    });
    place.append(
      make("p", { className: "caption" }, "First test image of each class, of the lowest seed. Point at a picture below to choose it, or at A or B to see the original there. Errors are bright."),
      make("div", { className: "tiles" }, ...tiles), make("p", { className: "sides" }, ...sides),
      make("div", { className: "panels" }, ...Object.values(panels).map(({ figure }) => figure)));
    Promise.all(images.map((image) => image.decode())).then(show);
  }

  // ---- what is shown
  const part = (section) => document.getElementById(section.name).closest("section");
  function refresh() {
    for (const section of data.sections) {
      const rows = section.rows.map(shows), trained = section.rows.some((row) => !row.floor);
      for (const line of part(section).querySelectorAll("tr[data-row]")) line.hidden = !rows[line.dataset.row];
      part(section).hidden = !section.rows.some((row, i) => rows[i] && !(trained && row.floor));
      const link = document.querySelector(`nav a[href="#${CSS.escape(section.name)}"]`);
      if (link) link.parentNode.hidden = part(section).hidden;
      if (drawn.has(section.name) && !part(section).hidden) draw(section);
    }
  }

  const bar = document.getElementById("filter");
  for (const group of data.filters) {
    const options = [...new Set(data.sections.flatMap(({ rows }) => rows.map((row) => row[group])))].filter(Boolean).sort();
    if (options.length < 2) continue;
    const list = make("select", {}, make("option", { value: "" }, "all"), ...options.map((one) => make("option", { value: one }, one)));
    list.addEventListener("change", () => { chosen[group] = list.value; refresh(); });
    bar.append(make("label", {}, `${group} `, list));
  }
  bar.hidden = !bar.children.length;
  document.querySelectorAll("table.rows").forEach(sortable);
  const named = new Map(data.sections.map((section) => [section.name, section]));
  const near = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach(({ target }) => {
    near.unobserve(target);
    draw(named.get(target.dataset.plots));
  }), { rootMargin: "600px" });
  document.querySelectorAll("[data-plots]").forEach((place) => near.observe(place));
  data.sections.filter(({ pictures }) => pictures).forEach(compare);
  // On paper plots are light and half a page wide, whatever the screen is.
  for (const [event, on] of [["beforeprint", true], ["afterprint", false]]) window.addEventListener(event, () => {
    document.documentElement.classList.toggle("paper", printing = on);
    data.sections.filter(({ name }) => on || drawn.has(name)).forEach(draw);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    data.sections.filter(({ name }) => drawn.has(name)).forEach(draw));
})();
