// The files of a folder. Only the rows in sight are made; names are only ever set as textContent.
// Keys: arrows, Home, End, Page Up and Down move; Space chooses, with Shift up to here; Enter opens; F2 renames; Delete asks;
// Backspace goes up; Ctrl+A chooses all.

const ROW = 44, AHEAD = 6;
const [NAME, KIND, SIZE, DATE, IS_FOLDER, LINK] = [0, 1, 2, 3, 4, 5];
const COLUMNS = [["name", "Name"], ["kind", "Kind"], ["size", "Size"], ["date", "Changed"]];
const KIND_WORDS = { folder: "Folder", model: "Model", image: "Image", text: "Text", archive: "Archive", file: "File" };
const LINK_WORDS = { inside: "link", outside: "link out of here, not followed", broken: "link to nowhere" };
const KIND_SIGNS = {
  folder: "M2.5 5.500h5l1.500 2h8.500v8.500h-15z", model: "m10 2.800 6.500 3.600v7.200L10 17.200l-6.500-3.600V6.400zM3.500 6.400l6.500 3.700 6.500-3.700M10 10.100v7.100",
  image: "M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M13 8.200h.1", text: "M5 3h7l3 3v11H5zM8 9h4M8 12h4", archive: "M4 4h12v12H4zM10 4v2M10 8v2M10 12v2", file: "M5 3h7l3 3v11H5z",
};
const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const SORTS = { name: (a, b) => order.compare(a[NAME], b[NAME]), kind: (a, b) => order.compare(a[KIND], b[KIND]), size: (a, b) => a[SIZE] - b[SIZE], date: (a, b) => a[DATE] - b[DATE] };
let tables = 0;

const bytes = (number) => number >= 1e9 ? `${(number / 1e9).toFixed(2)} GB` : number >= 1e6 ? `${(number / 1e6).toFixed(1)} MB` : number >= 1e3 ? `${Math.round(number / 1e3)} kB` : `${number} bytes`;
function when(seconds) {
  const date = new Date(seconds * 1000), two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

class FilesTable {
  constructor(model) {
    this.model = model;
    this.id = `easel-files-${++tables}`;
    this.all = [];
    this.shown = [];
    this.chosen = new Set();
    this.at = this.anchor = 0;
    this.sort = "name";
    this.descending = false;
    this.version = -1;
    this.node = make("section", "easel-files");
    this.path = make("nav", "easel-files-path");
    this.path.setAttribute("aria-label", "Path");
    this.find = make("input", "easel-files-find");
    this.find.type = "search";
    this.find.placeholder = "Find by name";
    this.find.setAttribute("aria-label", "Find by name");
    this.find.addEventListener("input", () => { this.at = 0; this.arrange(); });
    const top = make("div", "easel-files-top");
    top.append(this.path, this.find);
    this.head = make("div", "easel-files-head");
    this.sorts = new Map(COLUMNS.map(([key, words]) => {
      const node = button(words, `easel-files-sort easel-files-${key}`, () => this.sorted(key));
      this.head.append(node);
      return [key, node];
    }));
    this.body = make("div", "easel-files-body");
    this.body.tabIndex = 0;
    this.body.setAttribute("role", "listbox");
    this.body.setAttribute("aria-multiselectable", "true");
    this.body.setAttribute("aria-label", "Files in this folder");
    this.room = make("div", "easel-files-room");
    this.body.append(this.room);
    this.body.addEventListener("scroll", () => this.draw(), { passive: true });
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("focus", () => this.draw());
    this.told = make("p", "easel-files-told");
    this.told.setAttribute("role", "status");
    this.keys = make("p", "easel-files-keys", "Enter opens, Space chooses, F2 renames, Delete asks");
    const foot = make("div", "easel-files-foot");
    foot.append(this.told, this.keys);
    this.node.append(top, this.head, this.body, foot);
    this.nodes = new Map();
    new ResizeObserver(() => this.draw()).observe(this.body);
    model.send({ kind: "hello" });
  }
  say(kind, more = {}) { this.model.send({ kind, version: this.version, ...more }); }
  take(message) {
    if (message?.kind === "rows") this.rows(message);
    else if (message?.kind === "chosen" && message.version === this.version) {
      this.chosen = new Set(list(message.names));
      this.draw();
    }
  }
  rows({ version, path, rows, note, can }) {
    const names = list(path).map(text), isSame = names.join("\n") === this.names?.join("\n");
    const was = this.shown[this.at]?.[NAME];
    this.version = version;
    this.names = names;
    this.can = Boolean(can);
    this.note = text(note);
    this.all = list(rows).filter((row) => Array.isArray(row) && typeof row[NAME] === "string");
    const there = new Set(this.all.map((row) => row[NAME]));
    this.chosen = new Set(isSame ? [...this.chosen].filter((name) => there.has(name)) : []);
    if (!isSame) {
      this.find.value = "";
      this.body.scrollTop = 0;
    }
    this.crumbs();
    this.arrange();
    const found = this.shown.findIndex((row) => row[NAME] === was);
    this.at = isSame && found >= 0 ? found : Math.min(isSame ? this.at : 0, Math.max(0, this.shown.length - 1));
    this.draw();
  }
  crumbs() {
    const had = this.path.contains(document.activeElement);
    const last = this.names.length - 1;
    this.path.replaceChildren(...this.names.flatMap((name, depth) => {
      const node = depth === last ? make("b", "", name) : button(name, "easel-small easel-quiet", () => this.say("go", { depth }));
      return depth ? [make("span", "easel-files-slash", "/"), node] : [node];
    }));
    if (had) this.body.focus();
  }
  arrange() {
    const wanted = this.find.value.trim().toLowerCase();
    const by = SORTS[this.sort], turn = this.descending ? -1 : 1;
    this.shown = this.all.filter((row) => !wanted || row[NAME].toLowerCase().includes(wanted));
    this.shown.sort((a, b) => Number(b[IS_FOLDER]) - Number(a[IS_FOLDER]) || turn * by(a, b) || SORTS.name(a, b));
    this.at = Math.min(this.at, Math.max(0, this.shown.length - 1));
    for (const [key, node] of this.sorts) {
      const is = key === this.sort, words = COLUMNS.find(([one]) => one === key)[1];
      put(node, is ? `${words} ${this.descending ? "↓" : "↑"}` : words);
      node.classList.toggle("easel-is-sorted", is);
      node.setAttribute("aria-label", is ? `Sorted by ${words}, ${this.descending ? "descending" : "ascending"}: turn around` : `Sort by ${words}`);
    }
    this.draw();
  }
  sorted(key) {
    this.descending = key === this.sort ? !this.descending : key === "size" || key === "date";
    this.sort = key;
    this.arrange();
  }
  draw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => { this.waits = false; this.show(); });
  }
  show() {
    const first = Math.max(0, Math.floor(this.body.scrollTop / ROW) - AHEAD);
    const last = Math.min(this.shown.length, Math.ceil((this.body.scrollTop + this.body.clientHeight) / ROW) + AHEAD);
    this.room.style.height = `${this.shown.length * ROW}px`;
    const kept = new Map();
    for (let at = first; at < last; at++) {
      const node = this.nodes.get(at) ?? this.row();
      this.fill(node, at);
      kept.set(at, node);
    }
    for (const [at, node] of this.nodes) if (!kept.has(at)) node.remove();
    for (const node of kept.values()) if (!node.isConnected) this.room.append(node);
    this.nodes = kept;
    if (this.shown.length) this.body.setAttribute("aria-activedescendant", `${this.id}-${this.at}`);
    else this.body.removeAttribute("aria-activedescendant");
    const what = this.find.value.trim() ? `${count(this.shown.length)} of ${count(this.all.length)} fit` : this.all.length ? `${count(this.all.length)} here` : "Nothing is here yet.";
    put(this.told, [what, this.chosen.size ? `, ${count(this.chosen.size)} chosen` : "", this.note ? `. ${this.note}` : ""].join(""));
  }
  row() {
    const node = make("div", "easel-files-row");
    node.setAttribute("role", "option");
    // Drawn, because an option of a list may contain no control of its own; the state is that of the option.
    node.check = make("span", "easel-files-check");
    node.check.setAttribute("aria-hidden", "true");
    node.check.addEventListener("click", (event) => { event.stopPropagation(); this.toggle(node.at, event.shiftKey); });
    node.sign = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    node.sign.setAttribute("viewBox", "0 0 20 20");
    node.sign.setAttribute("aria-hidden", "true");
    node.sign.setAttribute("class", "easel-icon");
    node.sign.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    node.cells = COLUMNS.map(([key]) => make("span", `easel-files-${key}`));
    const title = make("span", "easel-files-title");
    title.append(node.sign, node.cells[0]);
    node.append(node.check, title, ...node.cells.slice(1));
    node.addEventListener("click", (event) => this.clicked(node.at, event));
    node.addEventListener("dblclick", () => this.open());
    return node;
  }
  fill(node, at) {
    const row = this.shown[at], isChosen = this.chosen.has(row[NAME]);
    node.at = at;
    node.id = `${this.id}-${at}`;
    node.style.transform = `translateY(${at * ROW}px)`;
    node.classList.toggle("easel-is-chosen", isChosen);
    node.classList.toggle("easel-is-current", at === this.at);
    node.setAttribute("aria-selected", String(isChosen));
    node.setAttribute("aria-posinset", String(at + 1));
    node.setAttribute("aria-setsize", String(this.shown.length));
    node.sign.firstChild.setAttribute("d", KIND_SIGNS[row[KIND]] ?? KIND_SIGNS.file);
    put(node.cells[0], row[NAME]);
    put(node.cells[1], [KIND_WORDS[row[KIND]] ?? "File", LINK_WORDS[row[LINK]]].filter(Boolean).join(", "));
    put(node.cells[2], row[IS_FOLDER] ? "" : bytes(row[SIZE]));
    put(node.cells[3], when(row[DATE]));
    node.title = row[NAME];
  }
  // ---- what the user does ----
  tell() { this.say("choose", { names: [...this.chosen] }); }
  toggle(at, isRange) {
    const row = this.shown[at];
    if (!row) return;
    if (isRange) for (let each = Math.min(at, this.anchor); each <= Math.max(at, this.anchor); each++) this.chosen.add(this.shown[each][NAME]);
    else if (!this.chosen.delete(row[NAME])) this.chosen.add(row[NAME]);
    if (!isRange) this.anchor = at;
    this.at = at;
    this.draw();
    this.tell();
  }
  clicked(at, event) {
    if (event.target.closest(".easel-files-field")) return;
    if (event.shiftKey || event.ctrlKey || event.metaKey) return this.toggle(at, event.shiftKey);
    this.chosen = new Set([this.shown[at][NAME]]);
    this.at = this.anchor = at;
    this.draw();
    this.tell();
  }
  open() {
    const row = this.shown[this.at];
    if (row?.[IS_FOLDER]) this.say("open", { names: [row[NAME]] });
  }
  move(to, isRange) {
    this.at = Math.min(this.shown.length - 1, Math.max(0, to));
    const top = this.at * ROW, { body } = this;
    if (top < body.scrollTop) body.scrollTop = top;
    else if (top + ROW > body.scrollTop + body.clientHeight) body.scrollTop = top + ROW - body.clientHeight;
    if (isRange) this.toggle(this.at, true);
    this.draw();
  }
  key(event) {
    if (event.target !== this.body || event.altKey) return;
    const page = Math.max(1, Math.floor(this.body.clientHeight / ROW) - 1), isAll = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a";
    if (isAll) {
      this.chosen = new Set(this.shown.map((row) => row[NAME]));
      this.draw();
      this.tell();
    } else if (event.ctrlKey || event.metaKey) return;
    else {
      const act = {
        ArrowDown: () => this.move(this.at + 1, event.shiftKey), ArrowUp: () => this.move(this.at - 1, event.shiftKey), Home: () => this.move(0, event.shiftKey), End: () => this.move(Infinity, event.shiftKey),
        PageDown: () => this.move(this.at + page, event.shiftKey), PageUp: () => this.move(this.at - page, event.shiftKey),
        Enter: () => this.open(), " ": () => this.toggle(this.at, event.shiftKey), F2: () => this.rename(),
        Delete: () => this.remove(), Backspace: () => { if (this.names.length > 1) this.say("go", { depth: this.names.length - 2 }); },
      }[event.key];
      if (!act) return;
      act();
    }
    event.preventDefault();
    event.stopPropagation();
  }
  remove() {
    const row = this.shown[this.at];
    if (!row) return;
    if (!this.chosen.size) this.chosen.add(row[NAME]);
    this.draw();
    this.say("delete", { names: [...this.chosen] });
  }
  rename() {
    const node = this.nodes.get(this.at), row = this.shown[this.at];
    if (!node || !this.can || this.field) return;
    const field = (this.field = make("input", "easel-files-field"));
    field.value = row[NAME];
    field.maxLength = 200;
    field.setAttribute("aria-label", `New name of ${row[NAME]}`);
    const end = (keeps) => {
      if (!this.field) return;
      this.field = null;
      const had = document.activeElement === field;
      field.remove();
      node.cells[0].hidden = false;
      if (keeps && field.value.trim() && field.value.trim() !== row[NAME]) this.say("rename", { names: [row[NAME]], text: field.value.trim() });
      if (had) this.body.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); end(event.key === "Enter"); }
    });
    field.addEventListener("blur", () => end(true));
    node.cells[0].hidden = true;
    node.cells[0].after(field);
    field.focus();
    const dot = row[IS_FOLDER] ? -1 : row[NAME].lastIndexOf(".");
    field.setSelectionRange(0, dot > 0 ? dot : row[NAME].length);
  }
}

function render({ model, el }) {
  const table = new FilesTable(model);
  el.append(table.node);
  const take = (message) => table.take(message);
  model.on("msg:custom", take);
  return () => model.off("msg:custom", take);
}

export default { render };
