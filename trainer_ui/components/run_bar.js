// The bar of the run that is shown: state, time left, progress, stages, actions. The kernel sends `content`; the clocks run here.

const KINDS = { stop: "easel-stop", result: "mod-primary" };
class RunBar {
  constructor(model) {
    this.model = model;
    this.asking = "";
    this.node = make("section", "easel-run");
    this.node.setAttribute("aria-label", "Run");
    this.pill = make("span", "easel-run-pill");
    this.title = make("h2", "easel-run-title");
    this.title.tabIndex = -1;
    this.summary = make("span", "easel-run-summary");
    const name = make("div", "easel-run-name");
    name.append(this.pill, this.title, this.summary);
    this.actions = make("div", "easel-run-actions");
    this.buttons = {};
    this.line = make("div", "easel-run-line");
    this.headline = make("b", "easel-run-headline");
    this.figures = make("span", "easel-run-figures");
    this.clock = make("span");
    this.ends = make("span", "easel-run-end");
    this.line.append(this.headline, this.figures, this.clock, this.ends);
    this.track = make("div", "easel-track");
    this.track.setAttribute("role", "progressbar");
    this.track.setAttribute("aria-label", "Training progress");
    this.track.setAttribute("aria-valuemin", "0");
    this.track.setAttribute("aria-valuemax", "100");
    this.fill = make("i");
    this.marks = make("span");
    this.track.append(this.fill, this.marks);
    this.stages = make("ol", "easel-stages");
    this.stages.setAttribute("aria-label", "Stages");
    this.old = make("p", "easel-run-old");
    this.old.setAttribute("role", "status");
    this.question = make("div", "easel-run-question");
    this.question.setAttribute("role", "group");
    this.live = make("p", "easel-sr");
    this.live.setAttribute("role", "status");
    this.node.append(name, this.actions, this.line, this.track, this.stages, this.question, this.old, this.live);
    this.show();
  }
  act(id, more = {}) { this.model.send({ kind: "act", id, run: this.run, ...more }); }
  now() { return Date.now() / 1000 - this.offset; }
  show() {
    const content = this.content = this.model.get("content") ?? {};
    // The clocks of kernel and page may differ.
    if (content.now !== this.told) { this.told = content.now; this.offset = Date.now() / 1000 - (content.now ?? 0); }
    // A question is about the run for which it was asked.
    if (content.run !== this.run) { this.run = content.run; this.asking = ""; }
    const [word, tone] = list(content.pill);
    this.node.dataset.state = text(content.state);
    this.pill.className = `easel-run-pill easel-tone-${text(tone)}`;
    this.pill.hidden = !word;
    put(this.pill, text(word));
    put(this.title, text(content.title));
    put(this.summary, text(content.summary));
    this.showFigures(content);
    this.showTrack(content.track ?? {});
    put(this.old, text(content.old));
    this.old.hidden = !content.old;
    this.node.classList.toggle("easel-is-old", Boolean(content.old));
    this.showActions(list(content.actions));
    this.showStages(list(content.stages));
    this.showQuestion();
    this.tick();
    put(this.live, word ? `${text(content.title)}: ${word}` : "");
  }
  showFigures({ figures, ends, note, run }) {
    this.line.hidden = !run;
    const parts = list(figures).map(([before, value, after]) => {
      const part = make("span", "", before ? `${before} ` : "");
      part.append(make("b", "", value), after ? ` ${after}` : "");
      return part;
    });
    const told = parts.map((part) => part.textContent).join("|");
    if (told !== this.figures.dataset.told) { this.figures.replaceChildren(...parts); this.figures.dataset.told = told; }
    const at = known(ends) ? new Date(ends * 1000) : null;
    put(this.ends, at ? `ends about ${at.getHours()}:${String(at.getMinutes()).padStart(2, "0")}${this.day(at)}${note ? `, ${text(note)}` : ""}` : text(note));
  }
  day(at) {
    const today = new Date();
    if (at.toDateString() === today.toDateString()) return "";
    today.setDate(today.getDate() + 1);
    return at.toDateString() === today.toDateString() ? " tomorrow" : ` on ${at.toLocaleDateString("en", { weekday: "long" })}`;
  }
  showTrack({ share, tone, step, total, saved, planned }) {
    this.track.hidden = !known(share);
    if (!known(share)) return;
    this.track.className = `easel-track easel-tone-${text(tone)}`;
    this.fill.style.width = `${(100 * share).toFixed(2)}%`;
    this.track.setAttribute("aria-valuenow", (100 * share).toFixed(0));
    this.track.setAttribute("aria-valuetext", step ? `${count(step)} of ${count(total)} steps` : "not started");
    const marks = [...list(saved).map((at) => ["u", at]), ...list(planned).map((at) => ["s", at])].filter(([, at]) => known(at));
    const told = marks.join();
    if (told === this.marks.dataset.told) return;
    this.marks.dataset.told = told;
    this.marks.replaceChildren(...marks.map(([tag, at]) => {
      const mark = make(tag);
      mark.style.left = `${(100 * at).toFixed(2)}%`;
      return mark;
    }));
  }
  showStages(rows) {
    this.stages.hidden = !rows.length;
    while (this.stages.children.length > rows.length) this.stages.lastChild.remove();
    while (this.stages.children.length < rows.length) this.stages.append(make("li"));
    rows.forEach((row, index) => { this.stages.children[index].className = `easel-stage-${text(row.state)}`; });
  }
  // What changes with the clock.
  tick() {
    const { clock: taken, stages, headline } = this.content;
    const rows = list(stages);
    let doing = "";
    rows.forEach((row, index) => {
      const runs = row.state === "now", seconds = runs ? this.now() - row.since : row.seconds;
      const usual = known(row.usual) && (runs || row.state === "next") ? ` of usually ${clock(row.usual)}` : "";
      const words = row.state === "next" ? (usual ? `${row.name}, usually ${clock(row.usual)}` : row.name) : `${row.name} ${clock(seconds)}${usual}`;
      put(this.stages.children[index], words);
      if (runs) doing = `${text(row.doing)}, ${clock(seconds)}${usual}`;
    });
    put(this.headline, text(headline) || doing);
    const since = taken?.since;
    put(this.clock, known(since) ? `${span(Math.max(0, this.now() - since))} so far` : [taken?.text, taken?.when].filter(Boolean).join(", "));
  }
  showActions(actions) {
    const wanted = new Set(actions.map(({ id }) => id));
    for (const id of Object.keys(this.buttons)) if (!wanted.has(id)) this.drop(id);
    actions.forEach(({ id, title, brief, sentence, possible }, index) => {
      const found = this.buttons[id] ??= button("", `easel-two ${KINDS[id] ?? ""}`, () => this.press(id));
      twoLines(found, title, brief);
      found.title = sentence;
      // It stays in the Tab order, so that those who use the keyboard hear why it is not possible.
      found.setAttribute("aria-disabled", String(!possible));
      found.classList.toggle("easel-is-busy", this.content.busy === id);
      if (this.actions.children[index] !== found) this.actions.insertBefore(found, this.actions.children[index] ?? null);
    });
    this.actions.hidden = !actions.length;
  }
  drop(id) {
    if (this.asking === id) this.asking = "";
    const had = this.buttons[id] === document.activeElement;
    this.buttons[id].remove();
    delete this.buttons[id];
    if (had) this.later = true;
  }
  press(id) {
    const action = list(this.content.actions).find((one) => one.id === id);
    if (!action) return;
    // A second press goes to the answer that does it.
    const yes = id === this.asking && this.question.querySelector("[data-yes]");
    if (yes) return yes.focus();
    // What is not possible says why, and nothing else.
    if (!action.possible || list(action.asks).length || id === "extend") return this.ask(id);
    this.act(id);
  }
  ask(id) {
    this.asking = id;
    this.made = "";
    this.showQuestion(true);
  }
  close() {
    const id = this.asking;
    this.asking = "";
    if (this.content.proposal) this.act("dismiss");
    this.showQuestion();
    (this.buttons[id] ?? this.actions.querySelector("button"))?.focus();
  }
  showQuestion(moves = false) {
    const { actions, proposal } = this.content;
    const action = list(actions).find((one) => one.id === this.asking);
    const key = JSON.stringify([this.asking, action?.possible, action?.possible ? "" : action?.sentence, proposal]);
    if (key === this.made) {
      if (this.sentence && action) put(this.sentence, this.saying(action));
      return;
    }
    const had = this.question.contains(document.activeElement), came = proposal && !this.proposed;
    this.made = key;
    this.proposed = Boolean(proposal);
    this.sentence = null;
    this.question.replaceChildren();
    if (proposal) this.showProposal(proposal);
    else if (action) this.showAction(action);
    this.question.hidden = !this.question.children.length;
    if (this.question.hidden) {
      // Not to a button: one more Enter would do something that was not asked for.
      if (had || this.later) this.title.focus();
      this.later = false;
      return;
    }
    if (moves || had || came) this.question.querySelector("[data-first]")?.focus();
  }
  saying({ asks, sentence }) { return list(asks).length ? `${asks[0]} ${sentence}` : sentence; }
  showAction(action) {
    const { id, possible, asks } = action;
    this.sentence = make("p", "", possible ? this.saying(action) : action.sentence);
    this.question.append(this.sentence);
    if (!possible) {
      this.sentence = null;
      return this.answers(button("Close", "easel-small", () => this.close()));
    }
    if (id === "extend") return this.askSteps();
    const [, yes, no] = list(asks);
    const doing = button(yes, id.startsWith("stop") ? "easel-stop" : "mod-primary", () => {
      this.asking = "";
      this.act(id);
      this.showQuestion();
    });
    doing.dataset.yes = "";
    this.answers(doing, button(no, "", () => this.close()));
  }
  askSteps() {
    const label = make("label", "easel-run-steps", "Steps to add");
    const field = make("input");
    field.type = "number";
    field.min = "1";
    field.step = "1";
    field.value = String(this.content.added ?? 100);
    field.dataset.first = "";
    label.append(field);
    const show = () => { if (field.checkValidity() && field.value) this.act("extend", { steps: Number(field.value) }); else field.reportValidity(); };
    field.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); show(); } });
    this.question.append(label);
    this.answers(button("Show the new schedule", "", show), button("Not now", "", () => this.close()));
  }
  showProposal({ id, title, rows, needs_trust: needsTrust }) {
    this.asking = id;
    this.question.append(make("h3", "", title));
    const table = make("div", "easel-pairs-grid");
    for (const [label, said] of list(rows)) {
      const isWarning = label === "warning";
      table.append(make("span", "", isWarning ? "note" : label), make("span", isWarning ? "easel-is-warning" : "", said));
    }
    this.question.append(table);
    let trusted = null;
    if (needsTrust) {
      const label = make("label", "easel-run-trust");
      trusted = make("input");
      trusted.type = "checkbox";
      label.append(trusted, "I know where this state comes from, and trust it.");
      this.question.append(label);
    }
    const words = id === "extend" ? "Extend it now" : "Resume it now";
    this.answers(button(words, "mod-primary", () => {
      this.asking = "";
      this.act("continue", { trusted: Boolean(trusted?.checked) });
    }), button("Not now", "", () => this.close()));
  }
  answers(...buttons) {
    const row = make("div", "easel-run-answers");
    // The answer that changes nothing has the keyboard first.
    if (!this.question.querySelector("[data-first]")) buttons[buttons.length - 1].dataset.first = "";
    row.append(...buttons);
    this.question.append(row);
  }
}

function render({ model, el }) {
  const bar = new RunBar(model);
  el.append(bar.node);
  const show = () => bar.show();
  model.on("change:content", show);
  const timer = setInterval(() => bar.tick(), 1000);
  // What is stored of the content may be old: the kernel answers with how it is now.
  model.send({ kind: "hello" });
  return () => {
    model.off("change:content", show);
    clearInterval(timer);
  };
}

export default { render };
