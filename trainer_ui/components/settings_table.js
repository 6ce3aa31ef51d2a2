// Every setting of a job as a grid: searched and filtered here, changed by the kernel, which checks every value.
// Source of keys and roles: WAI-ARIA Authoring Practices, "Grid": arrows move, Enter edits, Escape leaves.

const CHUNK = 16; // Rows that are made at once; the next ones when the last of them comes near the visible part.
const SHORTEST_MARK = 2; // A single letter is in nearly every text: marks of it would only be noise.
const COLUMNS = ["Setting", "Value", "From", "Option"];
const FILTERS = [
  ["all", "All", () => true],
  ["mine", "Yours", (row) => row.is_mine],
  ["changed", "Not the default", (row) => row.is_changed],
  ["own", "Only in the engine", (row) => row.group === "own" || row.group === "launch"],
  ["refused", "Cannot be set", (row) => !row.can_set],
];
let made = 0;

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function action(className, text, act) {
  const button = make("button", `jupyter-button ${className}`, text);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

// A long option name may break after each underscore.
function breakable(text) {
  return text.split("_").flatMap((part, at, all) => (at + 1 < all.length ? [`${part}_`, make("wbr")] : [part]));
}

// The text with the words of a search marked.
function mark(node, text, words) {
  node.replaceChildren();
  words = words.filter((word) => word.length >= SHORTEST_MARK);
  if (!words.length) return node.append(...breakable(text));
  const found = new RegExp(words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|"), "gi");
  let at = 0;
  for (const hit of text.matchAll(found)) {
    const marked = make("mark");
    marked.append(...breakable(hit[0]));
    node.append(...breakable(text.slice(at, hit.index)), marked);
    at = hit.index + hit[0].length;
  }
  node.append(...breakable(text.slice(at)));
}

const text = (value) => (typeof value === "string" ? value : "");
const list = (value) => (Array.isArray(value) ? value : []);

// What the kernel sends of a row, with every entry in its type.
function checked(row) {
  const words = {};
  for (const name of ["path", "title", "group", "group_title", "topic", "help", "kind", "shown", "default", "source", "reason", "unit", "bounds", "follows", "inside", "engine_default", "why_not", "note", "problem", "severity"]) words[name] = text(row?.[name]);
  for (const name of ["can_set", "is_mine", "is_changed", "has_help"]) words[name] = row?.[name] === true;
  words.options = list(row?.options).filter((one) => typeof one === "string");
  words.choices = list(row?.choices).filter((one) => Array.isArray(one) && one.every((each) => typeof each === "string"));
  words.native = words.path.startsWith("native.");
  words.searched = [words.title, words.path, words.help, words.topic, ...words.options].join(" ").toLowerCase();
  return words;
}

// ---- one row ------------------------------------------------------------------------------------------------------------

class Row {
  constructor(table, data) {
    this.table = table;
    this.id = `easel-all-${++made}`;
    this.node = make("div", "easel-all-row");
    this.node.setAttribute("role", "row");
    this.cells = ["name", "value", "from", "option"].map((name) => {
      const cell = make("div", `easel-all-${name}`);
      cell.setAttribute("role", "gridcell");
      cell.tabIndex = -1;
      this.node.append(cell);
      return cell;
    });
    this.title = make("b");
    this.unit = make("span", "easel-all-unit");
    this.help = make("div", "easel-all-help");
    this.small = make("code", "easel-all-small");
    const head = make("div");
    head.append(this.title, this.unit);
    this.why = make("div", "easel-all-why");
    this.cells[0].append(head, this.small, this.help, this.why);
    this.problem = make("div", "easel-all-problem");
    this.problem.id = `${this.id}-problem`;
    this.source = action("easel-all-source", "", () => this.turn());
    this.source.tabIndex = -1;
    this.cells[2].append(this.source);
    this.option = make("code");
    this.cells[3].append(this.option);
    this.words = null;
    this.show(data);
  }
  show(data) {
    const before = this.data;
    this.data = data;
    this.words = null;
    const form = JSON.stringify([data.kind, data.can_set, data.choices, data.default]);
    if (form !== this.form) {
      const had = this.control?.contains(document.activeElement);
      this.form = form;
      this.control = data.can_set ? this.field() : make("span", "easel-all-fixed");
      this.cells[1].replaceChildren(this.control, this.problem);
      if (had) this.cells[1].focus();
    }
    const typing = this.control === document.activeElement && this.dirty;
    if (!typing && (!before || before.shown !== data.shown || this.dirty || form !== this.shownForm)) this.fill();
    this.shownForm = form;
    this.problem.textContent = data.problem;
    this.problem.hidden = !data.problem;
    this.problem.className = `easel-all-problem easel-all-${data.severity}`;
    if (data.can_set) {
      this.control.setAttribute("aria-invalid", String(data.severity === "error"));
      this.control.setAttribute("aria-describedby", data.problem ? this.problem.id : "");
    }
    this.source.textContent = data.source || "empty";
    this.source.setAttribute("aria-label", `${data.source || "empty"}: where ${data.title} comes from`);
    this.source.classList.toggle("easel-all-mine", data.is_mine);
    this.node.classList.toggle("easel-all-off", !data.can_set);
    this.node.removeAttribute("aria-busy");
    if (this.details) this.fillDetails();
  }
  // The control of a setting that can be set.
  field() {
    const { kind, title, choices, default: usual } = this.data;
    const input = make(kind === "choice" ? "select" : "input");
    if (kind === "choice") {
      for (const [value, name, why] of choices) {
        const option = make("option", "", why ? `${name} (${why})` : name);
        option.value = value;
        input.append(option);
      }
      if (this.data.native) input.prepend(new Option(usual ? `not set (${usual})` : "not set", ""));
    } else if (kind === "switch") {
      input.type = "checkbox";
    } else {
      input.type = "text";
      input.placeholder = usual || "not set";
      input.spellcheck = false;
      input.autocomplete = "off";
      if (kind === "int" || kind === "float") input.inputMode = "decimal";
    }
    input.tabIndex = -1;
    input.setAttribute("aria-label", title);
    input.addEventListener("input", () => { this.dirty = true; });
    input.addEventListener("change", () => { if (kind === "switch" || (kind === "choice" && !this.byKey)) this.commit(); });
    input.addEventListener("blur", () => this.commit());
    return input;
  }
  fill() {
    const { kind, shown, default: usual, can_set: can } = this.data;
    this.dirty = false;
    if (!can) this.control.textContent = shown || usual || "not set";
    else if (kind === "switch") this.control.checked = (shown || usual) === "on";
    else if (kind === "choice") this.choose(shown);
    else this.control.value = shown;
  }
  choose(value) {
    // A value that is none of the choices is shown too, so that it is not lost.
    if (![...this.control.options].some((one) => one.value === value)) this.control.append(new Option(value, value));
    this.control.value = value;
  }
  get entered() { return this.data.kind === "switch" ? this.control.checked : this.control.value; }
  commit() {
    if (!this.dirty) return;
    this.dirty = false;
    const { path, kind, shown, default: usual, native } = this.data;
    if (kind === "switch" ? this.entered === ((shown || usual) === "on") : this.entered === shown) return;
    this.node.setAttribute("aria-busy", "true");
    if (native && this.entered === "") this.table.send({ kind: "reset", path });
    else this.table.send({ kind: "set", path, value: this.entered });
  }
  revert() { this.fill(); }
  mark(words) {
    if (this.words === words) return;
    this.words = words;
    const { title, unit, help, options, path, native, inside } = this.data;
    mark(this.title, title, words);
    this.unit.textContent = unit;
    mark(this.help, help, words);
    const name = native ? (title === path.split(".").at(-1) ? "" : path) : options.join(", ");
    mark(this.option, inside ? `--${inside} ${title}=…` : native ? `--${title}` : name, words);
    mark(this.small, native ? "" : name, words);
    this.small.hidden = native || !name;
    this.why.textContent = this.data.why_not === help ? "" : this.data.why_not;
    this.help.classList.toggle("easel-all-none", !this.data.has_help);
  }
  // ---- where the value comes from, the whole help, and the way back
  turn() {
    if (this.details) return this.fold();
    this.details = make("div", "easel-all-details");
    this.details.setAttribute("role", "gridcell");
    this.details.setAttribute("aria-colspan", String(COLUMNS.length));
    this.node.append(this.details);
    this.source.setAttribute("aria-expanded", "true");
    this.node.classList.add("easel-all-open");
    this.fillDetails();
  }
  fold() {
    this.details?.remove();
    this.details = null;
    this.source.setAttribute("aria-expanded", "false");
    this.node.classList.remove("easel-all-open");
  }
  fillDetails() {
    const { reason, note, bounds, default: usual, path, options, follows, native, engine_default: theirs, is_mine: mine } = this.data;
    const engine = this.table.engine || "the engine";
    const whose = native ? `Default of ${engine}` : "Easel's default";
    const known = [bounds, usual && `${whose}: ${usual}.`, theirs && `Default of ${engine}: ${theirs}.`, note, options.length > 0 && `Becomes ${options.join(", ")}.`, `In a plan file and on the command line: ${path}`];
    const parts = [make("p", "", reason), make("p", "easel-all-muted", known.filter(Boolean).join(" "))];
    const buttons = make("div", "easel-all-buttons");
    if (mine) buttons.append(action("easel-small", "Remove my value", () => this.reset()));
    if (follows && this.table.rows.has(follows)) {
      buttons.append(action("easel-small", `Go to ${this.table.rows.get(follows).title}`, () => this.table.goTo(follows)));
    }
    if (buttons.childNodes.length) parts.push(buttons);
    this.details.replaceChildren(...parts);
  }
  reset() {
    if (!this.data.is_mine) return;
    this.node.setAttribute("aria-busy", "true");
    this.table.send({ kind: "reset", path: this.data.path });
    this.cells[1].focus();
  }
}

// ---- the table ------------------------------------------------------------------------------------------------------------

class Table {
  constructor(model) {
    this.model = model;
    this.rows = new Map();
    this.nodes = new Map();
    this.filter = "all";
    this.group = "";
    this.words = [];
    this.fitting = [];
    this.shown = [];
    this.next = 0;
    this.at = null; // The cell that Tab reaches: [path, column].
    this.node = make("section", "easel-card easel-all");
    this.node.setAttribute("aria-label", "All settings");
    this.node.append(this.head(), this.tools(), this.grid());
    this.node.addEventListener("keydown", (event) => { if (event.key === "Escape" && this.node.contains(event.target)) this.leave(event); });
  }
  send(message) { this.model.send(message); }

  head() {
    const head = make("div", "easel-all-head");
    this.status = make("span", "easel-all-status");
    this.status.setAttribute("role", "status");
    const title = make("h3", "", "All settings");
    head.append(title, this.status, action("easel-small easel-quiet easel-all-close", "Close", () => this.close()));
    return head;
  }
  tools() {
    const tools = make("div", "easel-all-tools");
    this.search = make("input", "easel-all-search");
    this.search.type = "search";
    this.search.placeholder = "Find by name, text or option";
    this.search.setAttribute("aria-label", "Find a setting");
    this.search.addEventListener("input", () => this.find());
    this.search.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); this.focus(this.shown[0], 1); } });
    const chips = make("div", "easel-all-filters");
    chips.setAttribute("role", "group");
    chips.setAttribute("aria-label", "Which settings");
    this.chips = FILTERS.map(([id, title]) => {
      const chip = action("easel-all-chip", title, () => { this.filter = id; this.find(); });
      chips.append(chip);
      return [id, title, chip];
    });
    this.groups = make("select", "easel-all-groups");
    this.groups.setAttribute("aria-label", "Group");
    this.groups.addEventListener("change", () => { this.group = this.groups.value; this.find(); });
    tools.append(this.search, chips, this.groups);
    return tools;
  }
  grid() {
    this.scroller = make("div", "easel-all-scroll");
    this.scroller.setAttribute("role", "grid");
    this.scroller.setAttribute("aria-label", "All settings");
    this.scroller.setAttribute("aria-colcount", String(COLUMNS.length));
    const head = make("div", "easel-all-row easel-all-titles");
    head.setAttribute("role", "row");
    head.setAttribute("aria-rowindex", "1");
    this.titles = COLUMNS.map((title) => {
      const cell = make("div", "", title);
      cell.setAttribute("role", "columnheader");
      head.append(cell);
      return cell;
    });
    this.body = make("div", "easel-all-body");
    this.body.setAttribute("role", "rowgroup");
    this.end = make("div", "easel-all-end");
    this.none = make("div", "easel-all-nothing", "No setting fits. Search for fewer words, or show all.");
    this.scroller.append(head, this.body, this.end);
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.scroller.addEventListener("focusin", ({ target }) => this.remember(target));
    this.seen = new IntersectionObserver(([last]) => { if (last.isIntersecting) this.more(); }, { root: this.scroller, rootMargin: "600px" });
    this.seen.observe(this.end);
    const box = make("div");
    box.append(this.scroller, this.none);
    return box;
  }

  // ---- what the kernel sends
  take({ kind, rows, engine }) {
    if (kind === "rows") this.takeAll(list(rows).map(checked), text(engine));
    if (kind === "changed") this.takeSome(list(rows).map(checked));
    if (kind === "done") for (const row of this.nodes.values()) row.node.removeAttribute("aria-busy");
  }
  takeAll(rows, engine) {
    const had = this.body.contains(document.activeElement);
    this.engine = engine;
    this.titles[3].textContent = engine ? `In ${engine}` : "Option";
    this.rows = new Map(rows.map((row) => [row.path, row]));
    for (const [path, node] of this.nodes) {
      if (this.rows.has(path)) node.show(this.rows.get(path));
      else this.nodes.delete(path);
    }
    this.showGroups();
    this.find();
    if (had && !this.body.contains(document.activeElement)) this.search.focus();
  }
  takeSome(rows) {
    for (const row of rows) {
      if (!this.rows.has(row.path)) continue;
      this.rows.set(row.path, row);
      const node = this.nodes.get(row.path);
      node?.show(row);
      // A row stays in the list until the user searches again, so that nothing moves under their hands.
      if (node?.node.isConnected) node.mark(this.words);
    }
    this.count();
  }

  // ---- searching
  fits(row) { return (!this.group || row.group === this.group) && this.words.every((word) => row.searched.includes(word)); }
  find() {
    this.words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [, , wanted] = FILTERS.find(([id]) => id === this.filter);
    this.fitting = [...this.rows.values()].filter((row) => this.fits(row)).map((row) => row.path);
    this.shown = this.fitting.filter((path) => wanted(this.rows.get(path)));
    this.next = 0;
    this.heading = "";
    this.body.replaceChildren();
    this.scroller.scrollTop = 0;
    this.scroller.setAttribute("aria-rowcount", String(this.shown.length + 1));
    this.scroller.hidden = !this.shown.length;
    this.none.hidden = Boolean(this.shown.length) || !this.rows.size;
    this.more();
    this.count();
    this.tabStop();
  }
  more(until = this.next + CHUNK) {
    if (this.next >= this.shown.length) return;
    const made = [];
    for (; this.next < Math.min(until, this.shown.length); this.next++) {
      const row = this.rows.get(this.shown[this.next]);
      const heading = row.topic ? `${row.group_title}: ${row.topic}` : row.group_title;
      if (heading !== this.heading) made.push(this.groupRow(row));
      this.heading = heading;
      if (!this.nodes.has(row.path)) this.nodes.set(row.path, new Row(this, row));
      const node = this.nodes.get(row.path);
      node.mark(this.words);
      node.node.setAttribute("aria-rowindex", String(this.next + 2));
      made.push(node.node);
    }
    this.body.append(...made);
  }
  groupRow({ group_title: title, topic }) {
    const row = make("div", "easel-all-group");
    row.setAttribute("role", "row");
    const cell = make("div");
    cell.setAttribute("role", "rowheader");
    cell.setAttribute("aria-colspan", String(COLUMNS.length));
    cell.append(make("b", "", title), topic ? make("span", "", topic) : "");
    row.append(cell);
    return row;
  }
  count() {
    const fitting = this.fitting.map((path) => this.rows.get(path));
    for (const [id, title, chip] of this.chips) {
      const [, , wanted] = FILTERS.find(([name]) => name === id);
      const name = id === "own" && this.engine ? `Only in ${this.engine}` : title;
      chip.replaceChildren(name, " ", make("span", "", fitting.filter(wanted).length.toLocaleString("en")));
      chip.setAttribute("aria-pressed", String(id === this.filter));
    }
    const all = this.rows.size.toLocaleString("en");
    this.status.textContent = this.shown.length === this.rows.size ? `${all}, every one that there is` : `${this.shown.length.toLocaleString("en")} of ${all}`;
  }
  showGroups() {
    const known = new Map([["", "All groups"]]);
    for (const row of this.rows.values()) known.set(row.group, row.group_title);
    if (!known.has(this.group)) this.group = "";
    this.groups.replaceChildren(...[...known].map(([id, title]) => new Option(title, id)));
    this.groups.value = this.group;
  }
  goTo(path) {
    this.search.value = "";
    this.filter = "all";
    this.group = this.groups.value = "";
    this.find();
    this.focus(path, 1);
  }

  // ---- keys
  place(target) {
    const cell = target.closest?.("[role=gridcell]");
    const path = [...this.nodes].find(([, row]) => row.node.contains(target))?.[0];
    const column = path ? this.nodes.get(path).cells.indexOf(cell) : -1;
    return path ? [path, Math.max(0, column)] : null;
  }
  remember(target) {
    const place = this.place(target);
    if (place) this.tabStop(place);
  }
  // Exactly one cell is in the Tab order.
  tabStop(place = this.at) {
    if (this.at) this.nodes.get(this.at[0])?.cells[this.at[1]]?.setAttribute("tabindex", "-1");
    this.at = place && this.shown.includes(place[0]) ? place : this.shown.length ? [this.shown[0], 1] : null;
    if (this.at) this.nodes.get(this.at[0])?.cells[this.at[1]]?.setAttribute("tabindex", "0");
  }
  focus(path, column) {
    const index = this.shown.indexOf(path);
    if (index < 0) return;
    if (index >= this.next) this.more(index + CHUNK);
    const cell = this.nodes.get(path).cells[column];
    const visible = cell.checkVisibility?.() ?? true;
    (visible ? cell : this.nodes.get(path).cells[2]).focus({ preventScroll: true });
    this.nodes.get(path).node.scrollIntoView({ block: "nearest" });
  }
  key(event) {
    const place = this.place(event.target);
    if (!place || event.ctrlKey && !["Home", "End"].includes(event.key) || event.metaKey || event.altKey) return;
    const [path, column] = place;
    const row = this.nodes.get(path);
    if (event.target === row.control) return this.editKey(event, row);
    if (event.target !== row.cells[column] && event.target !== row.source) return;
    const index = this.shown.indexOf(path);
    const last = this.shown.length - 1;
    const move = {
      ArrowDown: [index + 1, column], ArrowUp: [index - 1, column], ArrowRight: [index, column + 1], ArrowLeft: [index, column - 1],
      PageDown: [Math.min(last, index + 8), column], PageUp: [Math.max(0, index - 8), column],
      Home: [event.ctrlKey ? 0 : index, event.ctrlKey ? column : 0], End: [event.ctrlKey ? last : index, event.ctrlKey ? column : 3],
    }[event.key];
    if (move) {
      event.preventDefault();
      if (move[0] < 0) return this.search.focus();
      return this.focus(this.shown[Math.min(last, move[0])], Math.min(3, Math.max(0, move[1])));
    }
    if (event.key === "Enter" || event.key === "F2" || event.key === " ") {
      if (event.target === row.source) return;
      event.preventDefault();
      if (column === 1) this.edit(row);
      else row.turn();
    } else if (event.key === "Delete" && row.data.is_mine) {
      event.preventDefault();
      row.reset();
    }
  }
  edit(row) {
    if (!row.data.can_set) return row.details ? undefined : row.turn();
    if (row.data.kind === "switch") return row.control.click();
    row.control.focus();
    row.control.select?.();
  }
  // In a field, Enter keeps what was entered and Escape does not; both leave it.
  editKey(event, row) {
    row.byKey = event.key.startsWith("Arrow");
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Escape") row.revert();
      row.commit();
      row.cells[1].focus();
    } else if (row.data.kind === "switch" && event.key.startsWith("Arrow")) {
      event.preventDefault();
      row.cells[1].focus();
    }
  }
  // Escape closes the details of a row, then goes to the search, then empties it.
  leave(event) {
    const place = this.place(event.target);
    if (place && this.nodes.get(place[0]).details) {
      event.preventDefault();
      this.nodes.get(place[0]).fold();
      this.focus(...place);
    } else if (event.target !== this.search) {
      event.preventDefault();
      this.search.focus();
    }
  }

  // ---- opening and closing
  opener() { return this.node.closest(".easel")?.querySelector(".easel-opens-settings"); }
  open() {
    this.opener()?.setAttribute("aria-expanded", "true");
    this.search.focus({ preventScroll: true });
    // The bar at the top stays in sight and must not cover it.
    this.node.style.scrollMarginTop = "calc(var(--easel-covered, 140px) + 12px)";
    this.node.scrollIntoView({ block: "start" });
  }
  close() {
    const opener = this.opener();
    opener?.setAttribute("aria-expanded", "false");
    opener?.focus();
    this.send({ kind: "close" });
  }
}

function render({ model, el }) {
  const table = new Table(model);
  el.append(table.node);
  const take = (message) => table.take(message ?? {});
  // The element is not in the page yet while it is rendered.
  const open = () => { if (model.get("opened")) requestAnimationFrame(() => table.open()); };
  model.on("msg:custom", take);
  model.on("change:opened", open);
  model.send({ kind: "hello" });
  open();
  return () => {
    model.off("msg:custom", take);
    model.off("change:opened", open);
    table.seen.disconnect();
  };
}

export default { render };
