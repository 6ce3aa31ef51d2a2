// The series of a run, and the chart of its loss or learning rate.

const SMOOTHEST = 0.02;
const LAST = 200;

class Series {
  constructor() { this.clear(); }
  clear() {
    this.steps = [];
    this.raw = [];
    this.smooth = [];
    this.rates = [];
    this.saves = [];
    this.validations = [];
    this.mean = this.rate = NaN;
    this.highest = -Infinity;
    this.seen = 0;
  }
  add(floats) {
    for (let i = 0; i + 2 < floats.length; i += 3) {
      const value = floats[i + 1];
      if (Number.isFinite(value)) {
        // The average covers about the last tenth of the steps, so that the curve of a short run does not lag behind.
        const share = Math.max(SMOOTHEST, 1 / (1 + this.seen++ * 0.1));
        this.mean = Number.isNaN(this.mean) ? value : this.mean + share * (value - this.mean);
      }
      this.steps.push(floats[i]);
      this.raw.push(value);
      this.smooth.push(this.mean);
      this.rates.push(floats[i + 2]);
      if (Number.isFinite(floats[i + 2])) { this.rate = floats[i + 2]; this.highest = Math.max(this.highest, this.rate); }
    }
  }
  get last() { return this.steps.length - 1; }
  get hasRate() { return Number.isFinite(this.rate); }
  // The index of the first step that is not before this one.
  at(step) {
    let a = 0, b = this.steps.length;
    while (a < b) { const middle = (a + b) >> 1; if (this.steps[middle] < step) a = middle + 1; else b = middle; }
    return a;
  }
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(low / size); i * size <= high + size * 1e-9; i++) found.push(i * size);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(size) + 1e-9) + (size / power === 2.5 ? 1 : 0)) };
}

class Chart {
  constructor(series, changed = () => {}) {
    this.series = series;
    this.changed = changed;
    this.total = 0;
    this.failed = 0;
    this.view = "loss";
    this.range = "all";
    this.pointer = null;
    this.drag = null;
    this.node = make("div", "easel-chart");
    this.node.easelSeries = series;
    this.canvas = make("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.plot = make("div", "easel-plot");
    this.tip = make("div", "easel-tip");
    this.tip.setAttribute("aria-hidden", "true");
    this.tip.hidden = true;
    this.live = make("p", "easel-sr");
    this.live.setAttribute("aria-live", "polite");
    this.plot.append(this.canvas, this.tip);
    this.hint = make("p", "easel-chart-hint");
    this.node.append(this.plot, this.hint, this.live);
    this.listen();
  }
  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.box) return;
      this.drag = { from: event.offsetX, to: event.offsetX };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.drag) this.drag.to = event.offsetX;
      this.point(this.indexAt(event.offsetX));
    });
    canvas.addEventListener("pointerup", () => this.release());
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.soon(); });
    canvas.addEventListener("pointerleave", () => { if (!this.drag && document.activeElement !== canvas) this.point(null); });
    canvas.addEventListener("dblclick", () => this.choose("all"));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.point(null));
  }
  release() {
    const { drag } = this;
    this.drag = null;
    if (drag && Math.abs(drag.to - drag.from) > 6) {
      const [a, b] = [drag.from, drag.to].sort((one, other) => one - other).map((x) => this.stepAt(x));
      if (this.series.at(b + 1e-9) - this.series.at(a) >= 2) this.choose([a, b]);
    }
    this.soon();
  }
  key(event) {
    const { last } = this.series;
    if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const [from, to] = this.visible();
    const now = this.pointer ?? to, far = Math.max(1, Math.round((to - from) / 20)), by = event.shiftKey ? far : 1;
    const wanted = {
      ArrowLeft: now - by, ArrowRight: now + (this.pointer === null ? 0 : by), Home: from, End: to,
      PageDown: now - far, PageUp: now + far,
    }[event.key];
    if (event.key === "Escape" && (this.pointer !== null || this.range !== "all")) {
      if (this.pointer !== null) this.point(null);
      else this.choose("all");
    } else if (wanted !== undefined) {
      this.point(Math.min(to, Math.max(from, wanted)));
      put(this.live, this.words(this.pointer).join(", "));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  point(index) {
    if (index === this.pointer && !this.drag) return;
    this.pointer = index;
    this.soon();
  }
  choose(range) {
    this.range = range;
    this.pointer = null;
    this.changed();
    this.soon();
  }
  show(view) {
    this.view = view;
    this.changed();
    this.soon();
  }
  soon() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }
  // The steps from the left to the right edge.
  domain() {
    const { steps, last } = this.series;
    if (last < 0) return [0, Math.max(1, this.total)];
    if (Array.isArray(this.range)) return this.range;
    if (this.range === "last") return [steps[Math.max(0, last - LAST + 1)], Math.max(steps[last], steps[0] + 1)];
    return [Math.min(steps[0], steps[0] > 1 ? steps[0] - 1 : 0), Math.max(steps[last], this.total, steps[0] + 1)];
  }
  // The indexes of the first and the last step that are seen.
  visible() {
    const [from, to] = this.domain(), { series } = this;
    const first = series.at(from), end = series.at(to + 1e-6) - 1;
    return [Math.min(first, series.last), Math.max(0, Math.min(end, series.last))];
  }
  stepAt(x) {
    const { left, right } = this.box, [from, to] = this.domain();
    return from + ((Math.min(right, Math.max(left, x)) - left) / (right - left)) * (to - from);
  }
  indexAt(x) {
    const { series } = this;
    if (series.last < 0 || !this.box) return null;
    const step = this.stepAt(x), [from, to] = this.visible(), after = Math.min(to, Math.max(from, series.at(step)));
    const before = Math.max(from, after - 1);
    return step - series.steps[before] < series.steps[after] - step ? before : after;
  }
  bounds(first, last) {
    const { raw, smooth, rates, validations, steps } = this.series;
    const key = [first, last, this.view, steps.length, validations.length].join();
    if (key === this.boundsKey) return this.boundsFound;
    this.boundsKey = key;
    const source = this.view === "rate" ? rates : raw;
    const values = Float64Array.from(source.slice(first, last + 1).filter(Number.isFinite)).sort();
    if (!values.length) return (this.boundsFound = [0, 1]);
    // A few outliers must not flatten the rest of the curve.
    const at = (share) => values[Math.round(share * (values.length - 1))];
    let [low, high] = this.view === "rate" ? [Math.min(0, values[0]), values[values.length - 1]] : [at(0.005), at(0.995)];
    if (this.view === "loss") {
      for (let i = first; i <= last; i++) if (Number.isFinite(smooth[i])) { low = Math.min(low, smooth[i]); high = Math.max(high, smooth[i]); }
      for (const [step, value] of validations) if (step >= steps[first] && step <= steps[last]) { low = Math.min(low, value); high = Math.max(high, value); }
    }
    const air = (high - low) * 0.08 || Math.abs(high) * 0.1 || 0.1;
    return (this.boundsFound = [this.view === "rate" ? low : low - air, high + air]);
  }
  draw() {
    const width = this.plot.clientWidth, height = this.plot.clientHeight;
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== wide || this.canvas.height !== high) Object.assign(this.canvas, { width: wide, height: high });
    const style = getComputedStyle(this.node);
    const token = (name) => style.getPropertyValue(`--easel-${name}`).trim();
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `11.5px ${token("font") || "sans-serif"}`;
    const { series } = this, [from, to] = this.domain(), [first, last] = series.last < 0 ? [0, -1] : this.visible();
    const [low, most] = last < 0 ? [0, 1] : this.bounds(first, last);
    const box = this.box = { left: 54, right: width - 14, top: 10, bottom: height - 34 };
    const x = (step) => box.left + ((step - from) / (to - from)) * (box.right - box.left);
    const y = (value) => box.bottom - ((value - low) / (most - low)) * (box.bottom - box.top);
    if (series.last >= 0 && series.steps[series.last] < to) {
      // The steps to come.
      pen.fillStyle = token("raised");
      const begin = Math.max(box.left, x(series.steps[series.last]));
      pen.fillRect(begin, box.top, box.right - begin, box.bottom - box.top);
    }
    this.grid(pen, box, x, y, [from, to, low, most], token);
    if (last >= first) {
      pen.save();
      pen.beginPath();
      pen.rect(box.left - 5, box.top - 5, box.right - box.left + 10, box.bottom - box.top + 10);
      pen.clip();
      if (this.view === "rate") this.curve(pen, x, y, box, token("accent"), null, series.rates, first, last);
      else {
        this.curve(pen, x, y, box, token("accent"), series.raw, series.smooth, first, last);
        this.validation(pen, x, y, token);
      }
      pen.restore();
      this.marks(pen, box, x, [from, to], token);
    }
    this.hover(pen, box, x, y, token);
    this.tell();
  }
  grid(pen, box, x, y, [from, to, low, high], token) {
    pen.strokeStyle = token("line");
    pen.fillStyle = token("muted");
    pen.lineWidth = 1;
    const horizontal = ticks(low, high, 5), vertical = ticks(from, to, Math.max(2, (box.right - box.left) / 90));
    pen.beginPath();
    for (const value of horizontal.found) { pen.moveTo(box.left, Math.round(y(value)) + 0.5); pen.lineTo(box.right, Math.round(y(value)) + 0.5); }
    pen.stroke();
    if (this.series.last < 0) return;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of horizontal.found) pen.fillText(this.view === "rate" ? rate(value) : value.toFixed(horizontal.digits), box.left - 8, y(value));
    pen.textBaseline = "top";
    for (const step of vertical.found.filter(Number.isInteger)) {
      // The last label ends at the edge of the chart.
      const words = count(step), half = pen.measureText(words).width / 2;
      pen.textAlign = "center";
      pen.fillText(words, Math.min(x(step), box.right + 12 - half), box.bottom + 16);
    }
  }
  // One column of pixels shows the lowest and the highest raw value of its steps, and the last value of the line.
  curve(pen, x, y, box, colour, raw, values, first, last) {
    const { steps } = this.series;
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
    for (let i = Math.max(0, first - 1); i <= Math.min(steps.length - 1, last + 1); i++) {
      const here = Math.round(x(steps[i]));
      if (here !== column) { flush(); column = here; low = Infinity; high = -Infinity; }
      if (raw && Number.isFinite(raw[i])) { low = Math.min(low, raw[i]); high = Math.max(high, raw[i]); }
      value = values[i];
    }
    flush();
    pen.globalAlpha = 0.38;
    pen.lineWidth = 1;
    pen.stroke(band);
    pen.globalAlpha = 1;
    pen.lineWidth = 2.2;
    pen.lineJoin = "round";
    pen.stroke(line);
    // A dot at the newest step; a single step would draw no line.
    if (!Number.isFinite(value)) return;
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(column, y(value), 4, 0, 2 * Math.PI);
    pen.fill();
  }
  validation(pen, x, y, token) {
    const { validations } = this.series;
    if (!validations.length) return;
    pen.strokeStyle = token("second");
    pen.fillStyle = token("surface");
    pen.lineWidth = 2;
    pen.setLineDash([6, 4]);
    pen.beginPath();
    validations.forEach(([step, value], index) => pen[index ? "lineTo" : "moveTo"](x(step), y(value)));
    pen.stroke();
    pen.setLineDash([]);
    // Dots that touch each other would hide the line.
    if (validations.length > 80) return;
    for (const [step, value] of validations) {
      pen.beginPath();
      pen.arc(x(step), y(value), 3, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    }
  }
  marks(pen, box, x, [from, to], token) {
    pen.fillStyle = token("muted");
    for (const step of this.series.saves) {
      if (step < from || step > to) continue;
      pen.beginPath();
      pen.moveTo(x(step), box.bottom + 3);
      pen.lineTo(x(step) + 4.5, box.bottom + 10);
      pen.lineTo(x(step) - 4.5, box.bottom + 10);
      pen.fill();
    }
    if (!this.failed || this.failed < from || this.failed > to) return;
    const at = Math.round(x(this.failed)) + 0.5, words = `failed at ${count(this.failed)}`;
    pen.strokeStyle = pen.fillStyle = token("danger");
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(at, box.top);
    pen.lineTo(at, box.bottom);
    pen.stroke();
    pen.textBaseline = "top";
    const fits = at + 8 + pen.measureText(words).width < box.right;
    pen.textAlign = fits ? "left" : "right";
    pen.fillText(words, at + (fits ? 6 : -6), box.top + 2);
  }
  hover(pen, box, x, y, token) {
    if (this.drag && Math.abs(this.drag.to - this.drag.from) > 6) {
      const [a, b] = [this.drag.from, this.drag.to].sort((one, other) => one - other);
      pen.fillStyle = token("accent");
      pen.globalAlpha = 0.14;
      pen.fillRect(Math.max(box.left, a), box.top, Math.min(box.right, b) - Math.max(box.left, a), box.bottom - box.top);
      pen.globalAlpha = 1;
    }
    const index = this.pointer, { steps, smooth, rates } = this.series;
    this.tip.hidden = index === null || index > this.series.last;
    if (this.tip.hidden) return;
    const at = x(steps[index]), value = this.view === "rate" ? rates[index] : smooth[index];
    pen.strokeStyle = token("control-line");
    pen.lineWidth = 1;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(Math.round(at) + 0.5, box.top);
    pen.lineTo(Math.round(at) + 0.5, box.bottom);
    pen.stroke();
    pen.setLineDash([]);
    if (Number.isFinite(value)) {
      pen.fillStyle = token("accent");
      pen.beginPath();
      pen.arc(at, y(value), 4, 0, 2 * Math.PI);
      pen.fill();
    }
    const [head, ...rows] = this.words(index);
    this.tip.replaceChildren(make("b", "", head), ...rows.map((row) => make("span", "", row)));
    const right = at + 12 + this.tip.offsetWidth < box.right;
    this.tip.style.left = `${right ? at + 12 : Math.max(0, at - 12 - this.tip.offsetWidth)}px`;
  }
  // What is known of a step, in words.
  words(index) {
    const { steps, raw, smooth, rates, validations, saves } = this.series, step = steps[index];
    const found = [`Step ${count(step)}`];
    if (Number.isFinite(raw[index])) found.push(`loss ${loss(raw[index])}`);
    else found.push(Number.isNaN(raw[index]) ? "no loss (NaN)" : "loss infinite");
    if (Number.isFinite(smooth[index])) found.push(`smoothed ${loss(smooth[index])}`);
    const measured = validations.find(([at]) => at === step);
    if (measured) found.push(`validation ${loss(measured[1])}`);
    if (Number.isFinite(rates[index])) found.push(`learning rate ${rate(rates[index])}`);
    if (saves.includes(step)) found.push("saved");
    return found;
  }
  tell() {
    const { steps, smooth, rates, last, saves, validations } = this.series;
    if (last < 0) return this.name("Loss chart, empty so far");
    const range = Array.isArray(this.range) ? ` Zoomed to steps ${this.range.map((step) => count(Math.round(step))).join(" to ")}.` : "";
    const told = this.view === "rate"
      ? `Learning rate over ${count(steps[last])} steps: from ${rate(rates.find(Number.isFinite))} to ${rate(rates[last])}.`
      : `Loss over ${count(steps[last])} steps: smoothed from ${loss(smooth.find(Number.isFinite))} to ${loss(smooth[last])}.`;
    const measured = validations.length ? ` Validation ${loss(validations[validations.length - 1][1])} at step ${count(validations[validations.length - 1][0])}.` : "";
    const saved = saves.length ? ` ${count(saves.length)} checkpoints, the last at step ${count(saves[saves.length - 1])}.` : "";
    const failed = this.failed ? ` It failed at step ${count(this.failed)}.` : "";
    this.name(`${told}${measured}${saved}${failed}${range} The arrow keys read single steps.`);
    put(this.hint, `${saves.length ? "▲ a checkpoint was saved. " : ""}${Array.isArray(this.range) ? "Double-click to see all steps." : "Drag to zoom, double-click to see all steps."}`);
  }
  name(words) { if (this.canvas.getAttribute("aria-label") !== words) this.canvas.setAttribute("aria-label", words); }
}
