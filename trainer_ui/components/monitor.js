// The chart of a run and the figures beside it. The kernel sends what is new; this view keeps the rest.

class Monitor {
  constructor(model) {
    this.model = model;
    this.series = new Series();
    this.chart = new Chart(this.series, () => this.press());
    this.node = make("section", "easel-monitor");
    this.node.setAttribute("aria-label", "Loss and figures");
    this.node.hidden = true;
    this.build();
  }
  build() {
    this.card = make("div", "easel-card easel-chart-card");
    this.title = make("h3", "", "Loss");
    this.legend = make("div", "easel-legend");
    this.keys = { raw: "each step", smooth: "smoothed", valid: "validation" };
    for (const [name, words] of Object.entries(this.keys)) {
      this.keys[name] = make("span", `easel-key easel-key-${name}`, words);
      this.legend.append(this.keys[name]);
    }
    this.views = this.segment("What is drawn", [["loss", "Loss"], ["rate", "Learning rate"]], (view) => this.chart.show(view));
    this.ranges = this.segment("Range", [["all", "All"], ["last", `Last ${LAST}`]], (range) => this.chart.choose(range));
    const head = make("div", "easel-card-head");
    head.append(this.title, this.legend, this.views.node, this.ranges.node);
    this.card.append(head, this.chart.node);
    this.cells = make("div", "easel-card easel-cells");
    this.cells.setAttribute("role", "group");
    this.cells.setAttribute("aria-label", "Figures of the run");
    this.made = {};
    this.notice = make("div", "easel-notices");
    this.notice.setAttribute("role", "status");
    const images = make("div", "easel-monitor-row");
    images.append(this.card, this.cells);
    this.node.append(this.notice, images);
    this.press();
  }
  segment(name, options, choose) {
    const node = make("div", "easel-seg");
    node.setAttribute("role", "group");
    node.setAttribute("aria-label", name);
    const buttons = Object.fromEntries(options.map(([id, words]) => {
      const one = make("button", "", words);
      one.type = "button";
      one.addEventListener("click", () => choose(id));
      node.append(one);
      return [id, one];
    }));
    return { node, press: (chosen) => { for (const [id, one] of Object.entries(buttons)) one.setAttribute("aria-pressed", String(id === chosen)); } };
  }
  press() {
    const { view, range } = this.chart;
    this.views.press(view);
    this.ranges.press(Array.isArray(range) ? "" : range);
    put(this.title, view === "rate" ? "Learning rate" : "Loss");
    this.legend.hidden = view === "rate";
  }
  take(message, buffers) {
    if (message.kind !== "run") return;
    if (message.full) this.clear(message.run !== this.run);
    else if (message.run !== this.run || message.from !== this.series.steps.length) return this.hello();
    this.run = message.run;
    if (this.run === "") { this.node.hidden = true; return; }
    const bytes = buffers[0];
    if (bytes?.byteLength) this.series.add(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)));
    if (message.saves) this.series.saves = list(message.saves).filter(known);
    if (message.validations) this.series.validations = list(message.validations).filter(([step, value]) => known(step) && known(value));
    if (message.cells) this.told = list(message.cells);
    for (const one of list(message.story)) if (one.severity !== "info") this.warnings.push(text(one.text));
    this.warnings = this.warnings.slice(-2);
    this.status(message.status);
    this.chart.soon();
  }
  hello() { this.model.send({ kind: "hello" }); }
  clear(isOther) {
    this.series.clear();
    this.warnings = [];
    this.told = [];
    if (isOther) Object.assign(this.chart, { range: "all", pointer: null, view: "loss" });
    this.press();
  }
  status({ state, total, failed_at: failed, old }) {
    const over = ["COMPLETED", "FAILED", "CANCELLED", "LOST"].includes(state);
    const { series, chart } = this;
    this.node.dataset.state = state;
    this.node.classList.toggle("easel-is-old", Boolean(old) && !over);
    chart.total = over && !failed && state === "COMPLETED" ? 0 : total;
    chart.failed = failed || 0;
    this.card.hidden = series.last < 0;
    this.keys.valid.hidden = !series.validations.length;
    this.views.node.hidden = !series.hasRate;
    this.ranges.node.hidden = series.steps.length <= LAST;
    const cells = [...this.own(), ...this.told];
    this.showCells(cells);
    this.cells.hidden = !cells.length;
    // After the end, the card of the run says what happened; all warnings are in the log.
    this.notice.replaceChildren(...(over ? [] : this.warnings.map((words) => make("p", "easel-notice", words))));
    this.node.hidden = this.card.hidden && this.cells.hidden && !this.notice.children.length;
  }
  // The figures that follow from the curve.
  own() {
    const { smooth, rates, validations, last } = this.series, found = [];
    if (last >= 0 && Number.isFinite(smooth[last])) {
      const by = Math.min(100, last), change = smooth[last] - smooth[last - by];
      const note = by >= 20 ? `${change < 0 ? "−" : "+"}${loss(Math.abs(change))} in ${by} steps` : "";
      found.push({ id: "loss", label: "Loss, smoothed", value: loss(smooth[last]), note });
    }
    if (validations.length) {
      const [step, value] = validations.reduce((best, one) => (one[1] < best[1] ? one : best));
      const [newest, measured] = validations[validations.length - 1];
      const note = newest === step ? `lowest so far, step ${count(step)}` : `lowest ${loss(value)}, step ${count(step)}`;
      found.push({ id: "validation", label: "Validation", value: loss(measured), note });
    }
    if (Number.isFinite(this.series.rate)) {
      const { rate: latest, highest } = this.series, every = Math.ceil(rates.length / 60), drawn = [];
      for (let i = 0; i < rates.length; i += every) drawn.push(rates[i]);
      found.push({ id: "rate", label: "Learning rate", value: rate(latest), spark: drawn, note: highest > latest ? `highest ${rate(highest)}` : "" });
    }
    return found;
  }
  showCells(cells) {
    const wanted = new Set(cells.map(({ id }) => id));
    for (const id of Object.keys(this.made)) if (!wanted.has(id)) { this.made[id].node.remove(); delete this.made[id]; }
    cells.forEach((cell, index) => {
      const key = JSON.stringify(cell), made = this.made[cell.id] ??= { node: make("div", `easel-cell easel-cell-${cell.id.replace(/\d+$/, "")}`) };
      if (made.key !== key) { made.key = key; made.node.replaceChildren(...this.parts(cell)); made.node.classList.toggle("easel-is-stale", cell.is_old === true); }
      if (this.cells.children[index] !== made.node) this.cells.insertBefore(made.node, this.cells.children[index] ?? null);
    });
    this.cells.classList.toggle("easel-odd", cells.length % 2 === 1);
  }
  parts({ label, value, unit, note, spark: series, range, meter }) {
    const number = make("div", "easel-cell-value", value);
    if (unit) number.append(make("small", "", ` ${unit}`));
    const parts = [make("div", "easel-cell-label", label), number];
    const drawn = series ? spark(list(series), range) : null;
    if (drawn) { const row = make("div", "easel-cell-spark"); row.append(drawn); parts.push(row); }
    if (list(meter).some(known)) {
      const row = make("div", "easel-cell-meter"), bar = make("span", "easel-cell-bar");
      bar.setAttribute("aria-hidden", "true");
      list(meter).forEach((share, index) => {
        const part = make(index ? "s" : "i");
        part.style.width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
        bar.append(part);
      });
      row.append(bar);
      parts.push(row);
    }
    if (note) parts.push(make("div", "easel-cell-note", note));
    return parts;
  }
}

function render({ model, el }) {
  const monitor = new Monitor(model);
  monitor.clear(true);
  el.append(monitor.node);
  const take = (message, buffers) => monitor.take(message, buffers);
  model.on("msg:custom", take);
  const size = new ResizeObserver(() => monitor.chart.soon());
  size.observe(monitor.chart.node);
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
    monitor.clear(true);
  };
}

export default { render };
