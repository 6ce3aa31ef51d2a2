// The log of a job: what happened, all lines of its programs, or the warnings; with a field to find, and a switch to follow.

const KEPT = 2000;
const KINDS_OF_LOG = [["events", "Events"], ["all", "All lines"], ["warnings", "Warnings"]];

class Log {
  constructor(model) {
    this.model = model;
    this.kind = "events";
    this.node = make("section", "easel-card easel-log-card");
    this.node.setAttribute("aria-label", "Log");
    this.node.hidden = true;
    const head = make("div", "easel-card-head");
    const chips = make("div", "easel-log-chips");
    chips.setAttribute("role", "group");
    chips.setAttribute("aria-label", "What the log shows");
    this.chips = Object.fromEntries(KINDS_OF_LOG.map(([id, words]) => {
      const chip = make("button", "easel-chip", words);
      chip.type = "button";
      chip.append(make("small"));
      chip.addEventListener("click", () => this.choose(id));
      chips.append(chip);
      return [id, chip];
    }));
    this.find = make("input", "easel-log-find");
    this.find.type = "search";
    this.find.placeholder = "Find in the log";
    this.find.setAttribute("aria-label", "Find in the log");
    this.find.addEventListener("input", () => { this.found = null; this.fill(); });
    this.find.addEventListener("keydown", (event) => { if (event.key === "Enter") this.search(); });
    const follow = make("label", "easel-log-follow");
    this.follow = make("input");
    this.follow.type = "checkbox";
    this.follow.checked = true;
    this.follow.addEventListener("change", () => this.toEnd());
    follow.append(this.follow, "Follow");
    this.copy = button("Copy", "easel-small easel-quiet", () => this.toClipboard());
    head.append(make("h3", "", "Log"), chips, this.find, follow, this.copy);
    this.box = make("div", "easel-log");
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "log");
    this.box.setAttribute("aria-live", "off");
    // Scrolling up stops following; scrolling to the end goes on with it.
    this.box.addEventListener("scroll", () => {
      if (this.scrolls) { this.scrolls = false; return; }
      this.follow.checked = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    });
    this.last = make("div", "easel-log-line");
    this.foot = make("div", "easel-log-foot");
    this.says = make("span");
    this.says.setAttribute("role", "status");
    this.whole = button("Search the whole log", "easel-small", () => this.search());
    this.foot.append(this.says, this.whole);
    this.node.append(head, this.box, this.foot);
    this.clear();
  }
  clear() {
    this.lines = [];
    this.story = [];
    this.open = "";
    this.found = null;
    this.isKnown = false;
    this.fill();
  }
  take(message) {
    if (message.kind === "found") {
      if (message.text === this.find.value.trim()) { this.found = message; this.fill(); }
      return;
    }
    if (message.kind !== "run") return;
    if (message.full) { if (message.run !== this.run) this.find.value = ""; this.clear(); }
    // What comes before the answer to "hello" has no beginning.
    else if (!this.isKnown || message.run !== this.run) return;
    this.isKnown = true;
    this.run = message.run;
    const { lines, open } = message.log ?? {};
    this.lines.push(...list(lines).map(text));
    // Seldom and many at once, because the rows are then made anew.
    if (this.lines.length > 1.5 * KEPT) this.lines.splice(0, this.lines.length - KEPT);
    this.open = text(open);
    this.story.push(...list(message.story));
    if (this.story.length > 1.5 * KEPT) this.story.splice(0, this.story.length - KEPT);
    this.node.hidden = !this.run || !(this.lines.length || this.story.length || this.open);
    this.fill();
  }
  choose(kind) {
    this.kind = kind;
    this.found = null;
    this.fill();
  }
  // The rows that are shown, each as [time, text, look].
  rows() {
    if (this.found) return list(this.found.hits).map(({ number, text: line }) => [count(number), text(line), ""]);
    if (this.kind === "all") return this.lines.map((line) => ["", line, ""]);
    return this.told().map(({ at, severity, text: line }) => [
      known(at) ? new Date(at * 1000).toLocaleTimeString("en-GB") : "", text(line), severity === "info" ? "" : severity,
    ]);
  }
  told() { return this.kind === "warnings" ? this.story.filter(({ severity }) => severity !== "info") : this.story; }
  fill() {
    const wanted = this.find.value.trim().toLowerCase(), every = this.rows();
    const shown = wanted ? every.filter(([, line]) => line.toLowerCase().includes(wanted)) : every;
    this.count(shown.length, wanted);
    const key = `${this.kind} ${wanted} ${Boolean(this.found)}`;
    // Most of the time rows are only added: then the others stay as they are, and a selection is kept.
    const same = key === this.filled && this.drawn?.length <= shown.length && (this.drawn.length === 0 || this.same(shown));
    if (!same) { this.box.replaceChildren(); this.drawn = []; }
    this.filled = key;
    const fresh = shown.slice(this.drawn.length);
    const rest = document.createDocumentFragment();
    for (const row of fresh) rest.append(this.row(row, wanted));
    this.box.append(rest);
    this.drawn = shown;
    // The row that is not complete yet, such as a progress bar, comes last.
    const isOpen = this.kind === "all" && !this.found && !wanted && this.open;
    put(this.last, isOpen ? this.open : "");
    if (isOpen) this.box.append(this.last);
    else this.last.remove();
    if (!shown.length && !isOpen) this.box.replaceChildren(make("div", "easel-log-none", wanted ? "No line contains this." : this.kind === "warnings" ? "No warnings." : "Nothing yet."));
    if (!shown.length) this.filled = null;
    this.toEnd();
  }
  // Whether the rows that are drawn are the first ones of these.
  same(shown) {
    const at = this.drawn.length - 1;
    return [0, at].every((index) => shown[index].every((part, place) => part === this.drawn[index][place]));
  }
  row([at, line, look], wanted) {
    const node = make("div", `easel-log-line ${look ? `easel-is-${look}` : ""}`);
    if (at) node.append(make("time", "", at), " ");
    const place = wanted ? line.toLowerCase().indexOf(wanted) : -1;
    if (place < 0) node.append(make("span", "", line || " "));
    else node.append(line.slice(0, place), make("mark", "", line.slice(place, place + wanted.length)), line.slice(place + wanted.length));
    return node;
  }
  count(shown, wanted) {
    const numbers = { events: this.story.length, all: this.lines.length + (this.open ? 1 : 0), warnings: this.story.filter(({ severity }) => severity !== "info").length };
    for (const [id, chip] of Object.entries(this.chips)) {
      chip.setAttribute("aria-pressed", String(id === this.kind));
      put(chip.lastChild, ` ${count(numbers[id])}`);
    }
    const found = this.found;
    let said = "";
    if (found) said = found.error || `${count(shown)}${found.more ? " of many more" : ""} of ${count(found.total)} lines of the whole log contain “${found.text}”.`;
    else if (wanted) said = `${count(shown)} ${shown === 1 ? "line contains" : "lines contain"} “${this.find.value.trim()}”.`;
    else if (this.kind === "all" && this.lines.length >= 300) said = `The last ${count(this.lines.length)} lines. The whole log is engine.log in the run folder.`;
    put(this.says, said);
    this.whole.hidden = !wanted || Boolean(found);
    this.foot.hidden = !said && this.whole.hidden;
  }
  search() {
    const wanted = this.find.value.trim();
    if (!wanted) return;
    put(this.says, "Searching…");
    this.model.send({ kind: "search", text: wanted });
  }
  toEnd() {
    if (!this.follow.checked) return;
    const before = this.box.scrollTop;
    this.box.scrollTop = this.box.scrollHeight;
    this.scrolls = this.box.scrollTop !== before;
  }
  async toClipboard() {
    const words = this.drawn.map(([at, line]) => (at ? `${at}  ${line}` : line)).join("\n");
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      // A page without https may not use the clipboard; copying a selection is allowed.
      const field = make("textarea");
      field.value = words;
      this.node.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      this.copy.focus();
    }
    put(this.copy, "Copied");
    clearTimeout(this.copied);
    this.copied = setTimeout(() => put(this.copy, "Copy"), 2000);
  }
}

function render({ model, el }) {
  const log = new Log(model);
  el.append(log.node);
  const take = (message) => log.take(message);
  model.on("msg:custom", take);
  const size = new ResizeObserver(() => log.toEnd());
  size.observe(log.box);
  model.send({ kind: "hello" });
  return () => {
    model.off("msg:custom", take);
    size.disconnect();
    clearTimeout(log.copied);
  };
}

export default { render };
