// Runs beside each other: differences first, then results, the loss curves over each other, and the newest sample of each.
// Runs are told apart by colour, by the form of their mark and by the dashes of their line. Texts are only ever textContent.

const LOOKS = [
  { colour: "accent", dash: "", mark: "square" }, { colour: "second", dash: "7 4", mark: "round" },
  { colour: "ok", dash: "2 3", mark: "diamond" }, { colour: "warn", dash: "10 3 2 3", mark: "ring" },
  { colour: "danger", dash: "4 2", mark: "frame" }, { colour: "muted", dash: "1 2", mark: "bar" },
];
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 230, LEFT = 52, RIGHT = 14, TOP = 12, BOTTOM = 28;

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function draw(tag, attributes, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

const look = (place) => LOOKS[place % LOOKS.length];
const loss = (value) => (value >= 0.001 ? value.toFixed(4) : value.toExponential(2));

function mark(place) {
  const node = make("i", `easel-mark-of easel-mark-${look(place).mark}`);
  node.style.color = `var(--easel-${look(place).colour})`;
  node.setAttribute("aria-hidden", "true");
  return node;
}

function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let i = Math.ceil(low / size); i * size <= high + size * 1e-9; i++) found.push(i * size);
  return found;
}

class Curves {
  constructor(names, curves) {
    this.names = names;
    this.curves = curves;
    this.node = make("figure", "easel-curves");
    this.svg = draw("svg", { role: "img", height: HEIGHT });
    this.said = make("figcaption", "easel-curves-said");
    this.node.append(this.svg, this.said);
    const points = curves.flat();
    const steps = points.map(([step]) => step), losses = points.map(([, value]) => value);
    this.first = Math.min(...steps, 0);
    this.last = Math.max(...steps, this.first + 1);
    // The first steps of a training may be far above the rest: they must not flatten the curves.
    const sorted = [...losses].sort((a, b) => a - b);
    const low = sorted[0] ?? 0, high = sorted[Math.round(0.99 * (sorted.length - 1))] ?? 1;
    const air = (high - low) * 0.1 || 0.05;
    this.low = low - air;
    this.high = high + air;
    this.svg.addEventListener("pointermove", (event) => this.hover(event));
    this.svg.addEventListener("pointerleave", () => this.rest());
    this.svg.setAttribute("aria-label", `Smoothed loss by step. ${this.ends()}`);
    this.sizes = new ResizeObserver(() => this.show());
    this.sizes.observe(this.node);
    this.rest();
  }
  ends() {
    return this.curves.map((curve, place) => (curve.length ? `${this.names[place]}: ${loss(curve.at(-1)[1])} at step ${curve.at(-1)[0].toLocaleString("en")}` : `${this.names[place]}: no loss`)).join("; ");
  }
  x(step) { return LEFT + ((step - this.first) / (this.last - this.first)) * (this.width - LEFT - RIGHT); }
  y(value) { return TOP + ((this.high - value) / (this.high - this.low)) * (HEIGHT - TOP - BOTTOM); }
  show() {
    this.width = this.node.clientWidth;
    if (!this.width) return;
    this.svg.setAttribute("width", this.width);
    const nodes = [];
    const clip = draw("clipPath", { id: (this.clip ??= `easel-clip-${Math.random().toString(36).slice(2)}`) });
    clip.append(draw("rect", { x: LEFT, y: TOP - 4, width: Math.max(0, this.width - LEFT - RIGHT + 6), height: HEIGHT - TOP - BOTTOM + 8 }));
    nodes.push(clip);
    const levels = ticks(this.low, this.high, 4);
    const digits = [2, 3, 4, 5].find((many) => levels.every((value) => Math.abs(value - Number(value.toFixed(many))) < 1e-9)) ?? 5;
    for (const value of levels) {
      nodes.push(draw("path", { class: "easel-curves-grid", d: `M${LEFT} ${this.y(value)}H${this.width - RIGHT}` }));
      nodes.push(draw("text", { x: LEFT - 8, y: this.y(value) + 4, "text-anchor": "end" }, value.toFixed(digits)));
    }
    for (const step of ticks(this.first, this.last, Math.max(2, this.width / 110)).filter(Number.isInteger)) {
      nodes.push(draw("text", { x: Math.min(this.x(step), this.width - RIGHT - 4), y: HEIGHT - 8, "text-anchor": step === this.first ? "start" : step >= this.last * 0.97 ? "end" : "middle" }, step.toLocaleString("en")));
    }
    this.curves.forEach((curve, place) => {
      if (!curve.length) return;
      const line = curve.map(([step, value], at) => `${at ? "L" : "M"}${this.x(step).toFixed(1)} ${this.y(value).toFixed(1)}`).join("");
      nodes.push(draw("path", { class: "easel-curves-line", d: line, "clip-path": `url(#${this.clip})`, style: `stroke:var(--easel-${look(place).colour});stroke-dasharray:${look(place).dash || "none"}` }));
      const [step, value] = curve.at(-1);
      nodes.push(draw("circle", { cx: this.x(step), cy: this.y(value), r: 3.5, style: `fill:var(--easel-${look(place).colour})` }));
    });
    this.cross = draw("path", { class: "easel-curves-cross", d: "" });
    nodes.push(this.cross);
    this.svg.replaceChildren(...nodes);
  }
  at(curve, step) {
    let a = 0, b = curve.length - 1;
    while (a < b) { const middle = (a + b) >> 1; if (curve[middle][0] < step) a = middle + 1; else b = middle; }
    return curve[a];
  }
  hover(event) {
    if (!this.width) return;
    const at = event.clientX - this.svg.getBoundingClientRect().left;
    const step = Math.max(this.first, Math.min(this.last, this.first + ((at - LEFT) / (this.width - LEFT - RIGHT)) * (this.last - this.first)));
    this.cross?.setAttribute("d", `M${this.x(step)} ${TOP}V${HEIGHT - BOTTOM}`);
    this.tell(step);
  }
  rest() {
    this.cross?.setAttribute("d", "");
    this.tell(null);
  }
  tell(step) {
    const parts = [make("span", "", step === null ? "At the end" : `Step ${Math.round(step).toLocaleString("en")}`)];
    this.curves.forEach((curve, place) => {
      const part = make("span");
      const beyond = step !== null && curve.length && step > curve.at(-1)[0] + (this.last - this.first) * 0.01;
      const found = !curve.length || beyond ? null : step === null ? curve.at(-1) : this.at(curve, step);
      part.append(mark(place), make("span", "", this.names[place]), make("b", "", found ? loss(found[1]) : curve.length ? "ended before" : "no loss"));
      parts.push(part);
    });
    this.said.replaceChildren(...parts);
  }
}

class Comparison {
  constructor(model) {
    this.model = model;
    this.node = make("section", "easel-compare");
    this.node.setAttribute("aria-label", "Comparison");
    this.urls = [];
  }
  clear() {
    this.curves?.sizes.disconnect();
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.urls = [];
  }
  show(isNew) {
    this.clear();
    const { runs, parts, caveats, curves } = this.model.get("content");
    this.node.hidden = !runs.length;
    this.node.classList.toggle("easel-compare-none", !runs.length);
    if (!runs.length) return this.node.replaceChildren();
    this.curves = new Curves(runs, curves);
    const charts = make("div", "easel-compare-part");
    charts.append(this.heading("Loss, smoothed"), this.curves.node);
    const body = make("div", "easel-compare-body");
    const left = make("div", "easel-compare-column"), right = make("div", "easel-compare-column");
    left.append(this.table(runs, parts));
    const notes = make("ul", "easel-compare-caveats");
    notes.setAttribute("aria-label", "What this comparison cannot say");
    notes.append(...caveats.map((sentence) => make("li", "", sentence)));
    right.append(charts, notes, this.samples(runs));
    body.append(left, right);
    this.node.replaceChildren(this.head(runs), body);
    if (isNew) requestAnimationFrame(() => this.open());
  }
  // It is below the table of runs, which can be out of sight: the bar at the top stays there and must not cover it.
  open() {
    this.title.focus({ preventScroll: true });
    this.node.style.scrollMarginTop = "calc(var(--easel-covered, 140px) + 12px)";
    this.node.scrollIntoView({ block: "start" });
  }
  heading(text) {
    const node = make("div", "easel-compare-title", text);
    node.setAttribute("role", "heading");
    node.setAttribute("aria-level", "4");
    return node;
  }
  head(runs) {
    const node = make("div", "easel-compare-head");
    this.title = make("b", "easel-compare-name", "Compare");
    this.title.tabIndex = -1;
    node.append(this.title);
    const acts = make("span", "easel-compare-acts");
    if (runs.length === 2) acts.append(this.button("Swap", "Shows the second run first", "swap"));
    acts.append(this.button("Close", "Closes the comparison", "close"));
    node.append(acts);
    return node;
  }
  button(words, label, kind) {
    const node = make("button", "jupyter-button easel-quiet", words);
    node.type = "button";
    node.setAttribute("aria-label", `${words}: ${label}`);
    node.addEventListener("click", () => this.model.send({ kind }));
    return node;
  }
  // One table for all parts, so that the runs are named once and their columns are in line.
  table(runs, parts) {
    const frame = make("div", "easel-compare-scroll"), table = make("table", "easel-compare-table"), head = make("tr"), top = make("thead");
    head.append(make("td"));
    runs.forEach((name, place) => {
      const cell = make("th");
      cell.scope = "col";
      cell.append(mark(place), make("span", "", name));
      head.append(cell);
    });
    top.append(head);
    table.append(top, ...parts.map((part) => this.group(runs, part)));
    frame.append(table);
    return frame;
  }
  group(runs, { title, rows }) {
    const body = make("tbody"), first = make("tr", "easel-compare-group"), cell = make("th");
    cell.scope = "rowgroup";
    cell.colSpan = runs.length + 1;
    cell.append(this.heading(title));
    first.append(cell);
    body.append(first);
    for (const [name, texts] of rows.length ? rows : [["No difference.", runs.map(() => "")]]) {
      const line = make("tr"), title = make("th", "", name);
      title.scope = "row";
      line.append(title, ...texts.map((text) => make("td", text === "–" ? "easel-compare-unknown" : "", text)));
      body.append(line);
    }
    return body;
  }
  samples(runs) {
    const part = make("div", "easel-compare-part easel-compare-samples"), row = make("div", "easel-compare-images");
    part.hidden = true;
    part.append(this.heading("Newest sample of each"), row);
    this.images = runs.map((name, place) => {
      const figure = make("figure"), image = make("img"), caption = make("figcaption");
      image.alt = `Newest sample of ${name}`;
      caption.append(mark(place), make("span", "", name));
      figure.append(image, caption);
      figure.hidden = true;
      row.append(figure);
      this.model.send({ kind: "image", place });
      return { figure, image, part };
    });
    return part;
  }
  take({ kind, key, type }, buffers) {
    const found = kind === "image" ? this.images?.[Number(key)] : null;
    if (!found || !type || !buffers?.[0]?.byteLength) return;
    const url = URL.createObjectURL(new Blob([buffers[0]], { type }));
    this.urls.push(url);
    found.image.src = url;
    found.figure.hidden = found.part.hidden = false;
  }
}

function render({ model, el }) {
  const view = new Comparison(model);
  el.append(view.node);
  const show = () => view.show(true);
  const take = (message, buffers) => view.take(message, buffers);
  model.on("change:content", show);
  model.on("msg:custom", take);
  view.show(false);
  return () => {
    model.off("change:content", show);
    model.off("msg:custom", take);
    view.clear();
  };
}

export default { render };
