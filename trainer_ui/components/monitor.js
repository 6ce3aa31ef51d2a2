// The live view of one run: state, figures, loss chart, samples and log.
// Text from outside is only ever set as textContent. The kernel sends what is new; this view keeps the rest.

const LOG_LINES = 500;
const THUMBNAILS = 12;
const STATES = {
  PREPARED: "Prepared", RUNNING: "Running", STOPPING: "Stopping",
  COMPLETED: "Finished", FAILED: "Failed", CANCELLED: "Cancelled", LOST: "Lost",
};

// ---- samples ---------------------------------------------------------------------------------------------------

class Samples {
  constructor(ask) {
    this.ask = ask;
    this.node = make("figure", "easel-samples");
    this.big = make("img", "easel-sample");
    this.caption = make("figcaption");
    this.strip = make("div", "easel-strip");
    this.node.append(this.big, this.caption, this.strip);
    this.clear();
  }
  clear() {
    for (const url of Object.values(this.urls ?? {})) URL.revokeObjectURL(url);
    this.urls = {};
    this.items = [];
    this.chosen = null;
    this.strip.replaceChildren();
    this.big.removeAttribute("src");
    this.node.hidden = true;
  }
  add(items) {
    if (!items.length) return;
    for (const item of items) {
      const button = make("button", "easel-thumb");
      button.type = "button";
      button.title = `Step ${item.step}`;
      button.append(make("img"), make("span", "", item.step.toLocaleString("en")));
      button.firstChild.alt = "";
      button.addEventListener("click", () => { this.chosen = item.index; this.show(item); });
      this.items.push({ ...item, button });
      this.strip.prepend(button);
      this.ask(item.index, "small");
    }
    while (this.strip.children.length > THUMBNAILS) this.strip.lastChild.remove();
    this.node.hidden = false;
    this.strip.hidden = this.items.length < 2;
    // If the user chose an older sample, it stays; else the newest one is shown.
    if (this.chosen === null) this.show(this.items[this.items.length - 1]);
  }
  show(item) {
    this.shown = item.index;
    this.big.alt = `Sample at step ${item.step}`;
    this.caption.textContent = `Step ${item.step.toLocaleString("en")}${item.prompt ? `: ${item.prompt}` : ""}`;
    for (const other of this.items) other.button.setAttribute("aria-pressed", String(other.index === item.index));
    const url = this.urls[`${item.index} full`];
    if (url) this.big.src = url;
    else this.ask(item.index, "full");
  }
  take(index, size, type, bytes) {
    const key = `${index} ${size}`;
    this.urls[key] ??= URL.createObjectURL(new Blob([bytes], { type }));
    if (size === "full" && index === this.shown) this.big.src = this.urls[key];
    if (size === "small") for (const item of this.items) if (item.index === index) item.button.firstChild.src = this.urls[key];
  }
}

// ---- the log ---------------------------------------------------------------------------------------------------

class Log {
  constructor() {
    this.node = make("div", "easel-log");
    this.node.tabIndex = 0;
    this.node.setAttribute("role", "log");
    this.node.setAttribute("aria-label", "Log of the engine");
    this.node.setAttribute("aria-live", "off");
    this.open = make("div", "easel-log-line");
    // If the user scrolled up, the log stays there; else its end is shown, also when it gets narrower and so longer.
    this.follows = true;
    this.node.addEventListener("scroll", () => {
      this.follows = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < 40;
    });
    this.clear();
  }
  follow() { if (this.follows) this.node.scrollTop = this.node.scrollHeight; }
  clear() { this.node.replaceChildren(this.open); this.open.textContent = ""; this.follows = true; }
  add({ lines, open }) {
    for (const line of lines) this.open.before(make("div", "easel-log-line", line || " "));
    this.open.textContent = open;
    while (this.node.children.length > LOG_LINES) this.node.firstChild.remove();
    this.follow();
  }
}

// ---- the whole -------------------------------------------------------------------------------------------------

class Monitor {
  constructor(model) {
    this.model = model;
    this.series = new Series();
    this.chart = new Chart(this.series);
    this.samples = new Samples((index, size) => model.send({ kind: "image", index, size }));
    this.log = new Log();
    this.node = make("section", "easel-monitor");
    this.node.setAttribute("aria-label", "Run");
    this.empty = make("p", "easel-empty", "No run is shown. Start one, or open one from the history.");
    this.body = make("div", "easel-body");
    this.body.hidden = true;
    this.build();
    this.node.append(this.empty, this.body);
  }
  build() {
    this.state = make("span", "easel-state");
    this.phase = make("span", "easel-phase");
    this.percent = make("span", "easel-percent");
    this.bar = make("div", "easel-bar");
    this.bar.setAttribute("role", "progressbar");
    this.bar.setAttribute("aria-label", "Training progress");
    this.fill = make("div");
    this.bar.append(this.fill);
    const line = make("div", "easel-state-line");
    line.append(this.state, this.bar, this.percent);
    this.verdict = make("div", "easel-verdict");
    this.verdict.setAttribute("role", "status");
    this.tiles = {};
    const tiles = make("div", "easel-tiles");
    for (const name of ["Step", "Loss", "Smoothed", "Learning rate", "Speed", "Time left"]) {
      const tile = make("div", "easel-tile");
      this.tiles[name] = make("b", "", "–");
      tile.append(make("span", "", name), this.tiles[name]);
      tiles.append(tile);
    }
    this.gauges = make("div", "easel-gauges");
    this.old = make("div", "easel-notice easel-is-warning");
    this.old.setAttribute("role", "status");
    const images = make("div", "easel-images");
    images.append(this.chart.node, this.samples.node);
    this.notices = make("div", "easel-notices");
    this.body.append(line, this.phase, this.old, this.verdict, tiles, this.gauges, images, this.notices, this.log.node);
  }
  take(message, buffers) {
    if (message.kind === "image") this.samples.take(message.index, message.size, message.type, buffers[0]);
    if (message.kind !== "run") return;
    if (message.full) this.clear();
    else if (message.run !== this.run || message.from !== this.series.steps.length) return this.hello();
    this.run = message.run;
    this.empty.hidden = this.run !== "";
    this.body.hidden = this.run === "";
    if (this.run === "") return;
    const bytes = buffers[0];
    if (bytes?.byteLength) this.series.add(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)));
    this.samples.add(message.samples);
    this.log.add(message.log);
    for (const notice of message.notices) this.notices.append(make("div", `easel-notice easel-is-${notice.severity}`, notice.text));
    while (this.notices.children.length > 8) this.notices.firstChild.remove();
    this.status(message.status);
    this.chart.soon();
  }
  hello() { this.model.send({ kind: "hello" }); }
  clear() {
    this.series.clear();
    this.samples.clear();
    this.log.clear();
    this.notices.replaceChildren();
  }
  status({ state, phase, step, total, seconds_per_step: pace, left_s: left, old, gauges, verdict }) {
    const over = ["COMPLETED", "FAILED", "CANCELLED", "LOST"].includes(state);
    const { series } = this;
    this.chart.over = over;
    const percent = total ? Math.min(100, (100 * step) / total) : 0;
    this.node.dataset.state = state;
    this.state.textContent = STATES[state] ?? state;
    this.phase.textContent = phase;
    this.phase.hidden = over || !phase;
    this.percent.textContent = total ? `${percent.toFixed(percent < 100 ? 1 : 0)} %` : "";
    this.fill.style.width = `${percent}%`;
    this.bar.setAttribute("aria-valuenow", percent.toFixed(0));
    this.bar.setAttribute("aria-valuetext", total ? `${step} of ${total} steps` : "not started");
    this.tiles.Step.textContent = total ? `${step.toLocaleString("en")} / ${total.toLocaleString("en")}` : "–";
    this.tiles.Loss.textContent = loss(series.raw[series.last]);
    this.tiles.Smoothed.textContent = loss(series.smooth[series.last]);
    this.tiles["Learning rate"].textContent = rate(series.rate);
    this.tiles.Speed.textContent = speed(pace);
    this.tiles["Time left"].textContent = over ? "–" : duration(known(left) && total ? left : NaN);
    this.old.textContent = old;
    this.old.hidden = over || !old;
    // What is in use now means nothing after the end.
    this.gauges.replaceChildren(...(over ? [] : gauges).map(({ label, text }) => {
      const gauge = make("span", "", `${label} `);
      gauge.append(make("b", "", text));
      return gauge;
    }));
    this.verdict.replaceChildren(...verdict.map(({ label, text }) => {
      const row = make("div");
      row.append(make("span", "", label), make("span", "", text));
      return row;
    }));
    this.verdict.hidden = !verdict.length;
  }
}

function render({ model, el }) {
  const monitor = new Monitor(model);
  el.append(monitor.node);
  const take = (message, buffers) => monitor.take(message, buffers);
  model.on("msg:custom", take);
  const size = new ResizeObserver(() => { monitor.chart.soon(); monitor.log.follow(); });
  size.observe(monitor.chart.node);
  size.observe(monitor.log.node);
  // A canvas must be redrawn when the colours change.
  const repaint = () => monitor.chart.soon();
  const colours = new MutationObserver(repaint);
  colours.observe(document.body, { attributes: true });
  colours.observe(document.documentElement, { attributes: true });
  const late = requestAnimationFrame(() => {
    const root = el.closest(".easel");
    if (root) colours.observe(root, { attributes: true, attributeFilter: ["class"] });
    repaint();
  });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", repaint);
  // The first message of each view: the kernel answers with everything, and its later answers do not wait for busy cells.
  monitor.hello();
  return () => {
    cancelAnimationFrame(late);
    model.off("msg:custom", take);
    size.disconnect();
    colours.disconnect();
    system.removeEventListener("change", repaint);
    monitor.clear();
  };
}

export default { render };
