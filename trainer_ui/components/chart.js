// Numbers as text, the series of a run, and the chart of its loss. monitor.py puts this file before monitor.js.

const SMOOTHEST = 0.02;

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

// ---- figures ---------------------------------------------------------------------------------------------------

const known = (number) => typeof number === "number" && Number.isFinite(number);

function loss(number) {
  return known(number) ? (number >= 0.001 ? number.toFixed(4) : number.toExponential(2)) : "–";
}

function rate(number) {
  if (number === 0) return "0";
  return known(number) ? number.toExponential(2).replace(/\.?0+e/, "e") : "–";
}

function speed(seconds) {
  if (!known(seconds) || seconds <= 0) return "–";
  return seconds < 1 ? `${(1 / seconds).toFixed(1)} it/s` : `${seconds.toFixed(1)} s/it`;
}

function duration(seconds) {
  if (!known(seconds)) return "–";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}

// ---- the series ------------------------------------------------------------------------------------------------

class Series {
  constructor() { this.clear(); }
  clear() {
    this.steps = [];
    this.raw = [];
    this.smooth = [];
    this.rate = NaN;
    this.mean = NaN;
    this.seen = 0;
  }
  add(floats) {
    for (let i = 0; i < floats.length; i += 3) {
      const value = floats[i + 1];
      if (Number.isFinite(value)) {
        // The average covers about the last tenth of the steps, so that the curve of a short run does not lag behind.
        const share = Math.max(SMOOTHEST, 1 / (1 + this.seen++ * 0.1));
        this.mean = Number.isNaN(this.mean) ? value : this.mean + share * (value - this.mean);
      }
      this.steps.push(floats[i]);
      this.raw.push(value);
      this.smooth.push(this.mean);
      if (Number.isFinite(floats[i + 2])) this.rate = floats[i + 2];
    }
  }
  get last() { return this.steps.length - 1; }
}

// ---- the chart -------------------------------------------------------------------------------------------------

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(low / size); i * size <= high + size * 1e-9; i++) found.push(i * size);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(size) + 1e-9) + (size / power === 2.5 ? 1 : 0)) };
}

class Chart {
  constructor(series) {
    this.series = series;
    this.node = make("div", "easel-chart");
    this.canvas = make("canvas");
    this.canvas.setAttribute("role", "img");
    this.readout = make("div", "easel-readout");
    this.parts = ["", "easel-key easel-key-raw", "easel-key"].map((name) => make("span", name));
    this.plot = make("div", "easel-plot");
    this.plot.append(this.canvas);
    this.node.append(this.plot, this.readout);
    this.node.easelSeries = series;
    this.pointer = null;
    this.canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.soon(); });
    this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.soon(); });
  }
  soon() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }
  bounds() {
    const { raw, smooth } = this.series;
    const sorted = raw.filter(Number.isFinite).sort((a, b) => a - b);
    if (!sorted.length) return [0, 1];
    // A few outliers must not flatten the rest of the curve.
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    let [low, high] = [at(0.005), at(0.995)];
    for (const value of smooth) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
    const air = (high - low) * 0.08 || Math.abs(high) * 0.1 || 0.1;
    return [low - air, high + air];
  }
  draw() {
    const width = this.plot.clientWidth, height = this.plot.clientHeight;
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const style = getComputedStyle(this.node);
    const token = (name) => style.getPropertyValue(`--easel-${name}`).trim();
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, width, height);
    pen.font = `11px ${token("font") || "sans-serif"}`;
    const { steps } = this.series;
    const [low, high] = this.bounds();
    const first = steps.length ? steps[0] : 0, final = steps.length > 1 ? steps[this.series.last] : first + 1;
    const box = { left: 46, right: width - 10, top: 8, bottom: height - 24 };
    const x = (step) => box.left + ((step - first) / (final - first)) * (box.right - box.left);
    const y = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    this.grid(pen, box, x, y, [first, final, low, high], token);
    if (steps.length) {
      pen.save();
      pen.beginPath();
      pen.rect(box.left - 4, box.top - 4, box.right - box.left + 8, box.bottom - box.top + 8);
      pen.clip();
      this.curve(pen, x, y, box, token("accent"));
      pen.restore();
    }
    this.tell(pen, x, y, box, token);
  }
  grid(pen, box, x, y, [first, final, low, high], token) {
    pen.strokeStyle = token("line");
    pen.fillStyle = token("muted");
    pen.lineWidth = 1;
    const horizontal = ticks(low, high, 5), vertical = ticks(first, final, Math.max(2, (box.right - box.left) / 110));
    pen.beginPath();
    for (const value of horizontal.found) { pen.moveTo(box.left, Math.round(y(value)) + 0.5); pen.lineTo(box.right, Math.round(y(value)) + 0.5); }
    // Without steps there is no axis to label.
    if (this.series.steps.length) for (const step of vertical.found) { pen.moveTo(Math.round(x(step)) + 0.5, box.top); pen.lineTo(Math.round(x(step)) + 0.5, box.bottom); }
    pen.stroke();
    if (!this.series.steps.length) return;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of horizontal.found) pen.fillText(value.toFixed(horizontal.digits), box.left - 7, y(value));
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const step of vertical.found.filter(Number.isInteger)) {
      // The last label ends at the edge of the chart.
      const text = step.toLocaleString("en"), most = box.right + 8 - pen.measureText(text).width / 2;
      pen.fillText(text, Math.min(x(step), most), box.bottom + 7);
    }
  }
  // One column of pixels shows the lowest and the highest raw value of its steps, and the last smoothed value.
  curve(pen, x, y, box, colour) {
    const { steps, raw, smooth } = this.series;
    pen.strokeStyle = colour;
    const line = new Path2D(), band = new Path2D();
    let column = -1, low = Infinity, high = -Infinity, value = NaN, started = false, linked = false;
    const flush = () => {
      if (low <= high) {
        band[linked ? "lineTo" : "moveTo"](column, y(low));
        band.lineTo(column, y(high) - (low === high ? 0.01 : 0));
        linked = true;
      }
      if (Number.isFinite(value)) { line[started ? "lineTo" : "moveTo"](column, y(value)); started = true; }
    };
    for (let i = 0; i < steps.length; i++) {
      const here = Math.round(x(steps[i]));
      if (here !== column) { flush(); column = here; low = Infinity; high = -Infinity; }
      if (Number.isFinite(raw[i])) { low = Math.min(low, raw[i]); high = Math.max(high, raw[i]); }
      value = smooth[i];
    }
    flush();
    pen.globalAlpha = 0.55;
    pen.lineWidth = 1;
    pen.stroke(band);
    pen.globalAlpha = 1;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.stroke(line);
    // A dot at the newest step; a single step would draw no line.
    if (!Number.isFinite(value)) return;
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(column, y(value), 3.5, 0, 2 * Math.PI);
    pen.fill();
  }
  tell(pen, x, y, box, token) {
    const { steps, raw, smooth, last } = this.series;
    if (last < 0) {
      this.readout.textContent = this.over ? "No step was made." : "The loss appears with the first steps.";
      this.canvas.setAttribute("aria-label", "Loss chart, empty so far");
      return;
    }
    let at = last;
    if (this.pointer !== null) {
      const wanted = steps[0] + ((this.pointer - box.left) / (box.right - box.left)) * (steps[last] - steps[0]);
      let a = 0, b = last;
      while (a < b) { const middle = (a + b) >> 1; if (steps[middle] < wanted) a = middle + 1; else b = middle; }
      at = a;
      pen.strokeStyle = token("muted");
      pen.beginPath();
      pen.moveTo(x(steps[at]), box.top);
      pen.lineTo(x(steps[at]), box.bottom);
      pen.stroke();
    }
    const texts = [`step ${steps[at].toLocaleString("en")}`, `loss ${loss(raw[at])}`, `smoothed ${loss(smooth[at])}`];
    texts.forEach((text, place) => { this.parts[place].textContent = text; });
    this.readout.replaceChildren(...this.parts);
    this.canvas.setAttribute("aria-label", `Loss over ${steps[last]} steps: smoothed from ${loss(smooth[0])} to ${loss(smooth[last])}`);
  }
}

