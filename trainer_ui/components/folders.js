// The image folders of a job: a row for each with what it trains, which opens to its own values. The kernel has the list; the page
// tells it one change at a time, with the version of the list that it shows.

const STEP = { number: "1", share: "any" };

class Folders {
  constructor(model, el) {
    this.model = model;
    this.rows = [];
    this.opened = new Set();
    this.after = null;
    el.classList.add("easel-folders");
    this.node = make("ol", "easel-folder-list");
    this.node.setAttribute("aria-label", "Image folders");
    this.total = make("div", "easel-folder-total");
    this.message = make("div", "easel-folder-message");
    this.message.setAttribute("role", "status");
    this.more = button("+ Add another folder", "easel-small easel-folder-more", () => this.model.send({ kind: "open" }));
    this.form = this.adder();
    el.append(this.node, this.total, this.message, this.form, this.more);
    this.take();
    this.known();
    this.adding();
    this.tell();
  }

  // ---- from the kernel ----
  take() {
    const { rows, total, most } = this.model.get("state");
    const found = list(rows);
    this.node.hidden = !found.length;
    while (this.rows.length > found.length) this.rows.pop().node.remove();
    found.forEach((row, place) => {
      const isOpen = row.index !== null;
      if (this.rows[place] && this.rows[place].isOpen !== isOpen) {
        for (const old of this.rows.splice(place)) old.node.remove();
      }
      if (!this.rows[place]) {
        this.rows[place] = isOpen ? this.row(place) : this.plain(place);
        this.node.append(this.rows[place].node);
      }
      this.fill(this.rows[place], row, place);
    });
    put(this.total, text(total));
    this.total.hidden = !total;
    this.more.disabled = most === true;
    this.move();
  }
  // After a row was added or removed, the keyboard goes to what took its place.
  move() {
    const after = this.after, own = this.rows.filter((row) => row.isOpen);
    if (!after || own.length === after.count) return;
    this.after = null;
    if (after.kind === "remove") {
      const names = this.model.get("state").rows;
      this.opened = new Set([...this.opened].filter((index) => index < names.length));
      (own[Math.min(after.index, own.length - 1)]?.line ?? this.more).focus();
      return;
    }
    const row = own[after.kind === "add" ? own.length - 1 : Math.min(after.index, own.length - 1)];
    if (!row) return;
    row.details.open = true;
    row.line.focus();
  }
  known() {
    const found = list(this.model.get("known"));
    this.choose.replaceChildren(...[{ title: "choose one of yours", path: "" }, ...found].map(({ title, path }) => {
      const option = make("option", "", text(title));
      option.value = text(path);
      return option;
    }));
    this.choose.parentElement.hidden = !found.length;
  }
  adding() {
    const { is_open: isOpen, path, offer } = this.model.get("adding");
    const wasOpen = !this.form.hidden;
    this.form.hidden = isOpen !== true;
    this.more.hidden = isOpen === true;
    if (this.path !== document.activeElement || isOpen !== true) this.path.value = text(path);
    const had = this.offers.contains(document.activeElement);
    this.offers.replaceChildren(...list(offer).map(({ id, words }) => button(text(words), "easel-small", () => this.add(this.path.value, id))));
    this.offers.hidden = !this.offers.firstChild;
    if (isOpen && !wasOpen && this.ready) this.path.focus();
    else if (isOpen && this.offers.firstChild && (had || this.asked)) this.offers.firstChild.focus();
    else if (!isOpen && wasOpen && !this.after) this.more.focus();
    this.asked = false;
    this.ready = true;
  }
  tell() {
    const told = text(this.model.get("told"));
    if (told) this.say(told, "easel-danger");
    else if (this.message.classList.contains("easel-danger")) this.say("");
  }
  heard(message) {
    if (message?.kind !== "focus") return;
    if (message.index === -1) return this.pick.focus();
    const row = this.rows.find((one) => one.index === message.index);
    row?.fields.get(message.name)?.pick?.focus();
  }

  // ---- to the kernel ----
  send(kind, row, more = {}) {
    this.model.send({ kind, index: row.index, version: this.model.get("state").version, ...more });
  }
  add(path, offer = "") {
    if (!path.trim()) {
      this.path.focus();
      return this.say("Type the path of a folder, or choose one.", "easel-danger");
    }
    this.asked = true;
    this.after = { kind: "add", count: this.rows.filter((row) => row.isOpen).length };
    this.model.send({ kind: "add", path, offer });
  }
  remove(row) {
    const count = this.rows.filter((one) => one.isOpen).length;
    this.after = { kind: "remove", index: row.index, count };
    const back = button("Put it back", "easel-small", () => {
      this.after = { kind: "back", index: row.index, count: this.rows.filter((one) => one.isOpen).length };
      this.say("");
      this.model.send({ kind: "back" });
    });
    this.say(`Removed ${row.title} from this training. The folder itself stays.`, "", back);
    this.send("remove", row);
  }
  copy(row) {
    this.after = { kind: "copy", index: row.index + 1, count: this.rows.filter((one) => one.isOpen).length };
    this.send("copy", row);
  }
  say(words, tone = "", ...more) {
    this.message.className = `easel-folder-message ${tone}`;
    this.message.replaceChildren(...(words ? [make("span", "", words), ...more] : []));
  }

  // ---- the page ----
  head(place) {
    const number = make("span", "easel-folder-number", String(place + 1));
    const names = make("span", "easel-folder-names"), title = make("b"), notes = make("small"), sum = make("span", "easel-folder-sum");
    names.append(title, notes);
    return { number, names, name: title, notes, sum };
  }
  plain(place) {
    const node = make("li", "easel-folder"), line = make("div", "easel-folder-line"), head = this.head(place);
    line.append(head.number, head.names, head.sum);
    node.append(line);
    return { node, line, ...head, isOpen: false, index: null };
  }
  row(place) {
    const node = make("li", "easel-folder"), details = make("details"), line = make("summary", "easel-folder-line"), head = this.head(place);
    const row = { node, details, line, ...head, isOpen: true, index: 0, fields: new Map() };
    line.append(head.number, head.names, head.sum);
    row.problems = make("div", "easel-folder-problems");
    const inside = make("div", "easel-folder-inside"), front = make("div", "easel-folder-fields"), rest = make("div", "easel-folder-fields");
    row.more = make("details", "easel-folder-rest");
    row.said = make("span", "easel-folder-said");
    const summary = make("summary", "", "Captions, flips and held-out images");
    summary.append(row.said);
    row.more.append(summary, rest);
    for (const field of this.model.get("fields")) {
      const made = this.field(row, field);
      row.fields.set(field.name, made);
      (field.is_common ? front : rest).append(made.node);
    }
    const acts = make("div", "easel-folder-acts");
    row.copied = button("Duplicate", "easel-small", () => this.copy(row));
    row.removed = button("Remove", "easel-small", () => this.remove(row));
    acts.append(row.copied, row.removed);
    inside.append(front, row.more, acts);
    details.append(line, inside);
    details.addEventListener("toggle", () => this.opened[details.open ? "add" : "delete"](row.index));
    node.append(details, row.problems);
    return row;
  }
  field(row, field) {
    const node = make("div", "easel-folder-field"), label = make("label", "", field.title), help = make("small", "", field.line);
    const isChoice = field.kind === "choice" || field.kind === "switch";
    const control = make(isChoice ? "select" : "input");
    if (!isChoice) {
      control.type = field.kind in STEP ? "number" : "text";
      if (control.type === "number") control.step = STEP[field.kind];
      control.spellcheck = false;
      control.autocomplete = "off";
    }
    control.title = field.help;
    label.append(control);
    node.append(label);
    const made = { node, control, isChoice, name: field.name };
    if (field.kind === "path") {
      node.classList.add("easel-folder-path");
      made.pick = button("Choose", "easel-small", () => this.send("browse", row, { name: field.name }));
      node.append(made.pick);
    }
    node.append(help);
    // A value is told once: Enter alone does not always make a browser say that a field has changed.
    const told = () => {
      if (control.value === made.last) return;
      made.last = control.value;
      this.send("set", row, { name: field.name, value: control.value });
    };
    control.addEventListener("change", told);
    control.addEventListener("keydown", (event) => { if (event.key === "Enter" && !isChoice) told(); });
    return made;
  }
  fill(row, told, place) {
    row.index = told.index;
    row.title = text(told.title);
    put(row.number, String(place + 1));
    put(row.name, row.title);
    put(row.notes, text(told.notes));
    put(row.sum, text(told.sum));
    row.node.dataset.tone = text(told.tone);
    row.name.title = text(told.path);
    if (!row.isOpen) return;
    row.details.open = this.opened.has(row.index);
    row.copied.setAttribute("aria-label", `Duplicate ${row.title}`);
    row.removed.setAttribute("aria-label", `Remove ${row.title}`);
    for (const made of row.fields.values()) this.value(made, told);
    const set = [...row.fields.values()].filter(({ node, name }) => node.closest(".easel-folder-rest") && name in told.own).length;
    put(row.said, set ? `: ${set} of its own` : "");
    row.more.hidden = ![...row.fields.values()].some(({ node }) => node.closest(".easel-folder-rest") && !node.hidden);
    this.warn(row, list(told.problems));
  }
  value(made, told) {
    const { node, control, isChoice, name } = made;
    const own = text(told.own[name]), usual = text(told.usual[name]);
    if (made.own !== own || made.index !== told.index) Object.assign(made, { own, index: told.index, last: own });
    node.hidden = !(list(told.offered).includes(name) || name in told.own);
    if (isChoice) {
      const wanted = list(told.choices[name]), key = JSON.stringify(wanted);
      if (control.dataset.key !== key) {
        control.dataset.key = key;
        control.replaceChildren(...wanted.map(([value, words]) => {
          const option = make("option", "", words);
          option.value = value;
          return option;
        }));
      }
      control.value = own;
    } else {
      // What the user is typing is not replaced.
      if (control !== document.activeElement || control.value === control.defaultValue) control.value = made.last = own;
      control.defaultValue = own;
      control.placeholder = usual;
    }
  }
  warn(row, problems) {
    const key = JSON.stringify(problems);
    if (row.warned === key) return;
    row.warned = key;
    const had = row.problems.contains(document.activeElement);
    row.problems.replaceChildren(...problems.map(({ severity, message, fix }, number) => {
      const node = make("div", `easel-folder-problem easel-is-${text(severity)}`);
      node.append(make("span", "", text(message)));
      if (fix) node.append(button(text(fix), "easel-small", () => this.send("fix", row, { problem: number })));
      return node;
    }));
    if (had) row.line.focus();
  }
  adder() {
    const node = make("div", "easel-folder-adding");
    const label = make("label", "", "Folder with more images");
    this.path = make("input");
    this.path.type = "text";
    this.path.spellcheck = false;
    this.path.placeholder = "/path/to/more/images";
    this.path.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.add(this.path.value);
    });
    label.append(this.path);
    const yours = make("label", "", "Your datasets");
    this.choose = make("select");
    this.choose.addEventListener("change", () => {
      if (this.choose.value) this.add(this.choose.value);
      this.choose.value = "";
    });
    yours.append(this.choose);
    this.pick = button("Choose a folder", "easel-small", () => this.model.send({ kind: "browse", index: -1, name: "path" }));
    this.offers = make("div", "easel-folder-offers");
    const acts = make("div", "easel-folder-acts");
    acts.append(
      this.pick,
      button("Add this folder", "easel-small", () => this.add(this.path.value)),
      button("Cancel", "easel-small easel-quiet", () => { this.say(""); this.model.send({ kind: "close" }); }),
    );
    node.append(label, yours, acts, this.offers);
    node.hidden = true;
    node.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.model.send({ kind: "close" });
    });
    return node;
  }
}

function render({ model, el }) {
  const folders = new Folders(model, el);
  const heard = (message) => folders.heard(message);
  const on = { "change:state": () => folders.take(), "change:known": () => folders.known(), "change:adding": () => folders.adding(), "change:told": () => folders.tell() };
  for (const [name, act] of Object.entries(on)) model.on(name, act);
  model.on("msg:custom", heard);
  return () => {
    for (const [name, act] of Object.entries(on)) model.off(name, act);
    model.off("msg:custom", heard);
  };
}

export default { render };
