// The table of runs. One page of rows comes from the kernel; texts are only ever set as textContent.
// Keys: arrows, Home and End move between rows, Page Up and Down between pages; Enter opens, Space chooses, F2 renames.

const SORTS = [
  ["Run", [["name", "Run"]]], ["State", [["state", "State"]]], ["Model", [["family", "Model"]]],
  ["Length", [["steps", "Steps"], ["images", "Images"]]], ["Loss", [["loss", "Loss, smoothed"]]],
  ["Time", [["took", "Took"], ["started", "When"]]], ["Size", [["size", "Size"]]],
];

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

class Row {
  constructor(table, run) {
    this.table = table;
    this.run = run;
    this.node = make("tr", "easel-runs-row");
    this.check = make("input");
    this.check.type = "checkbox";
    this.check.tabIndex = -1;
    this.check.addEventListener("click", (event) => { event.stopPropagation(); table.say("choose", run); });
    this.image = make("img", "easel-mini");
    this.image.alt = "";
    this.name = make("b", "easel-runs-name");
    this.name.addEventListener("dblclick", (event) => { event.stopPropagation(); this.rename(); });
    this.version = make("span", "easel-runs-version");
    this.note = make("div", "easel-runs-more");
    this.tags = make("div", "easel-runs-tags");
    this.state = make("span", "easel-runs-pill");
    const first = make("td", "easel-runs-check"), second = make("td", "easel-runs-image"), third = make("td", "easel-runs-title");
    first.append(this.check);
    second.append(this.image);
    const line = make("div", "easel-runs-line");
    line.append(this.name, this.version, this.tags);
    third.append(line, this.note);
    this.title = third;
    const pill = make("td", "easel-runs-state");
    pill.append(this.state);
    this.node.append(first, second, third, pill);
    this.cells = {};
    for (const [name, big, small] of [["model", "family", "profile"], ["length", "steps", "images"], ["loss", "loss", ""], ["time", "took", "when"], ["size", "size", ""]]) {
      const cell = make("td", `easel-runs-${name}`);
      this.cells[big] = make("div");
      cell.append(this.cells[big]);
      if (small) cell.append(this.cells[small] = make("div", "easel-runs-more"));
      this.node.append(cell);
    }
    this.node.addEventListener("click", () => { if (!this.field) table.say("open", run); });
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.node.addEventListener("focus", () => table.here(this));
  }
  show(row) {
    this.row = row;
    this.check.checked = row.chosen;
    this.check.setAttribute("aria-label", `Choose ${row.name}`);
    this.node.setAttribute("aria-selected", String(row.chosen));
    this.node.classList.toggle("easel-is-chosen", row.chosen);
    this.node.classList.toggle("easel-is-open", row.open);
    if (row.open) this.node.setAttribute("aria-current", "true");
    else this.node.removeAttribute("aria-current");
    put(this.name, row.name);
    put(this.version, row.version);
    put(this.note, row.note);
    const tags = row.tags.join("\n");
    if (this.shownTags !== tags) this.tags.replaceChildren(...row.tags.map((tag) => make("span", "easel-runs-tag", tag)));
    this.shownTags = tags;
    put(this.state, row.word);
    this.state.className = `easel-runs-pill easel-runs-pill-${row.tone}`;
    for (const [name, cell] of Object.entries(this.cells)) put(cell, row[name]);
    if (this.stamp !== row.stamp) {
      this.stamp = row.stamp;
      this.table.model.send({ kind: "image", run: this.run });
    }
  }
  key(event) {
    if (this.field || event.ctrlKey || event.metaKey || event.altKey) return;
    const { table } = this;
    const act = {
      ArrowDown: () => table.move(this, 1), ArrowUp: () => table.move(this, -1),
      Home: () => table.move(this, -Infinity), End: () => table.move(this, Infinity),
      PageDown: () => table.turn(1), PageUp: () => table.turn(-1),
      Enter: () => table.say("open", this.run), " ": () => table.say("choose", this.run), F2: () => this.rename(),
    }[event.key];
    if (!act || (event.target !== this.node && event.key === " ")) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
  rename() {
    if (this.field) return;
    this.field = make("input", "easel-runs-field");
    this.field.value = this.row.name;
    this.field.maxLength = 100;
    this.field.setAttribute("aria-label", `New name of ${this.row.name}`);
    const end = (keeps) => {
      const { field } = this;
      if (!field) return;
      this.field = null;
      const had = document.activeElement === field;
      field.replaceWith(this.name);
      if (keeps && field.value.trim() !== this.row.name) {
        put(this.name, field.value.trim() || this.row.name);
        this.table.say("name", this.run, { text: field.value });
      }
      if (had) this.node.focus();
    };
    this.field.addEventListener("click", (event) => event.stopPropagation());
    this.field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); end(event.key === "Enter"); }
    });
    this.field.addEventListener("blur", () => end(true));
    this.name.replaceWith(this.field);
    this.field.focus();
    this.field.select();
  }
  take(url) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = url;
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
  }
}

class Table {
  constructor(model) {
    this.model = model;
    this.rows = new Map();
    this.node = make("section", "easel-runs-frame");
    this.node.setAttribute("aria-label", "Runs");
    const table = make("table", "easel-runs");
    table.setAttribute("role", "grid");
    table.setAttribute("aria-multiselectable", "true");
    const head = make("thead"), line = make("tr");
    line.append(make("th", "easel-runs-check"), make("th", "easel-runs-image"));
    line.children[0].append(make("span", "easel-unseen", "Chosen"));
    line.children[1].append(make("span", "easel-unseen", "Newest sample"));
    this.sorts = new Map();
    for (const [title, keys] of SORTS) {
      const cell = make("th", `easel-runs-${{ Run: "title", State: "state", Model: "model", Length: "length", Loss: "loss", Time: "time", Size: "size" }[title]}`);
      cell.scope = "col";
      for (const [key, words] of keys) {
        const button = make("button", "easel-runs-sort", words);
        button.type = "button";
        button.addEventListener("click", () => this.say("sort", "", { text: key }));
        cell.append(button);
        this.sorts.set(key, { button, cell, words });
      }
      line.append(cell);
    }
    head.append(line);
    this.body = make("tbody");
    table.append(head, this.body);
    this.foot = make("div", "easel-runs-foot");
    this.said = make("span");
    this.said.setAttribute("role", "status");
    this.back = this.button("Previous page", "‹", -1);
    this.on = this.button("Next page", "›", 1);
    this.help = make("span", "easel-runs-keys", "Enter opens, Space chooses, F2 renames");
    this.foot.append(this.said, this.help, this.back, this.on);
    this.node.append(table, this.foot);
  }
  button(label, sign, by) {
    const button = make("button", "jupyter-button easel-small easel-runs-turn", sign);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => this.turn(by));
    return button;
  }
  say(kind, run = "", more = {}) { this.model.send({ kind, run, ...more }); }
  here(row) {
    for (const other of this.rows.values()) other.node.tabIndex = other === row ? 0 : -1;
  }
  move(row, by) {
    const all = [...this.rows.values()].filter(({ node }) => node.isConnected).sort((a, b) => a.node.rowIndex - b.node.rowIndex);
    const to = Math.min(all.length - 1, Math.max(0, all.indexOf(row) + by));
    all[to]?.node.focus();
  }
  turn(by) {
    const { first, total, size } = this.model.get("content");
    const to = first + by * size;
    if (to >= total || to < 0) return;
    this.turned = this.body.contains(document.activeElement);
    this.say("page", "", { number: to });
  }
  show() {
    const { rows, sort, descending, first, total, size, loading } = this.model.get("content");
    const focused = [...this.rows.values()].find(({ node }) => node === document.activeElement);
    const at = focused?.node.rowIndex ?? 0;
    const kept = new Map(), nodes = [];
    for (const row of rows) {
      if (row.group !== undefined) { nodes.push(this.group(row)); continue; }
      const found = this.rows.get(row.run) ?? new Row(this, row.run);
      found.show(row);
      kept.set(row.run, found);
      nodes.push(found.node);
    }
    for (const [run, gone] of this.rows) if (!kept.has(run)) gone.take(null);
    this.rows = kept;
    const now = [...this.body.children];
    // A node that is moved loses the keyboard, so nothing is moved while the order is the same.
    if (now.length !== nodes.length || now.some((node, place) => node !== nodes[place])) this.body.replaceChildren(...nodes);
    const all = [...kept.values()];
    if (!all.some(({ node }) => node.tabIndex === 0)) all.forEach(({ node }, place) => { node.tabIndex = place ? -1 : 0; });
    if (focused && kept.get(focused.run) === focused) focused.node.focus({ preventScroll: true });
    else if (this.turned || focused) (all.find(({ node }) => !this.turned && node.rowIndex >= at) ?? all[0])?.node.focus();
    this.turned = false;
    this.reveal(rows.find((row) => row.open)?.run ?? "");
    for (const [key, { button, cell, words }] of this.sorts) {
      const is = key === sort;
      button.classList.toggle("easel-is-sorted", is);
      put(button, is ? `${words} ${descending ? "↓" : "↑"}` : words);
      button.setAttribute("aria-label", is ? `Sorted by ${words}, ${descending ? "descending" : "ascending"}: turn around` : `Sort by ${words}`);
      if (is) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else if (![...this.sorts].some(([other, one]) => other === sort && one.cell === cell)) cell.removeAttribute("aria-sort");
    }
    const number = (value) => value.toLocaleString("en");
    put(this.said, loading ? "Reading the runs…" : !total ? "No run fits the filter." : total > size ? `${number(first + 1)} to ${number(Math.min(first + size, total))} of ${number(total)} runs` : `${number(total)} ${total === 1 ? "run" : "runs"}`);
    this.back.hidden = this.on.hidden = total <= size;
    this.back.disabled = first <= 0;
    this.on.disabled = first + size >= total;
  }
  // On a narrow page the card of a run is below the table: it must not open out of sight.
  reveal(run) {
    const was = this.opened;
    this.opened = run;
    if (!run || was === undefined || was === run) return;
    setTimeout(() => {
      const card = this.node.closest(".easel")?.querySelector(".easel-past-run");
      if (!card || card.getBoundingClientRect().top < window.innerHeight * 0.7) return;
      card.scrollIntoView({ block: "center" });
      card.querySelector("button")?.focus({ preventScroll: true });
    }, 250);
  }
  group({ group, more }) {
    const node = make("tr", "easel-runs-group"), cell = make("td");
    cell.colSpan = 9;
    cell.append(make("b", "", group), make("span", "", more));
    node.append(cell);
    return node;
  }
  take({ kind, key, type }, buffers) {
    if (kind !== "image") return;
    this.rows.get(key)?.take(type && buffers?.[0]?.byteLength ? URL.createObjectURL(new Blob([buffers[0]], { type })) : null);
  }
  close() { for (const row of this.rows.values()) row.take(null); }
}

function render({ model, el }) {
  const table = new Table(model);
  el.append(table.node);
  const show = () => table.show();
  const take = (message, buffers) => table.take(message, buffers);
  model.on("change:content", show);
  model.on("msg:custom", take);
  show();
  return () => {
    model.off("change:content", show);
    model.off("msg:custom", take);
    table.close();
  };
}

export default { render };
