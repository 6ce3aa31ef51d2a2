// A list of sample prompts. The page has the list while it is edited, and sends the whole of it after each change; the kernel
// checks it. A removed prompt can be put back. The keyboard stays with the row that was moved.

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function button(label, className, act, shown = label) {
  const node = make("button", `jupyter-button ${className}`, shown);
  node.type = "button";
  if (shown !== label) node.setAttribute("aria-label", label);
  node.addEventListener("click", act);
  return node;
}

const short = (text) => (text.length > 40 ? `${text.slice(0, 39)}…` : text) || "the empty prompt";
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

class Prompts {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.list = this.sent = this.asked = [];
    this.number = model.get("state").heard ?? 0; // Of what the user did; what the kernel says without having heard of it is old.
    this.fresh = new WeakSet();
    this.opened = [];
    this.rows = [];
    this.undone = null;
    el.classList.add("easel-prompts");
    this.node = make("ol", "easel-prompt-list");
    this.node.setAttribute("aria-label", "Sample prompts");
    this.message = make("div", "easel-prompt-message");
    this.message.setAttribute("role", "status");
    this.adds = make("div", "easel-prompt-adds");
    el.append(this.node, this.message, this.adds);
    this.take();
    this.offer();
  }

  // ---- from the kernel ----
  take() {
    const { rows, heard } = this.model.get("state");
    if ((heard ?? 0) < this.number) return this.draw();
    const found = Array.isArray(rows) ? rows : [];
    // A prompt that has no text yet was not sent, and stays.
    const pending = this.list.filter((prompt) => this.fresh.has(prompt) && !prompt.text.trim());
    this.list = [...found.map(({ prompt }) => ({ ...prompt })), ...pending];
    this.sent = this.asked = found.map(({ prompt }) => ({ ...prompt }));
    this.controls = found.map(({ control }) => Boolean(control));
    this.draw();
  }
  offer() {
    const had = document.activeElement?.dataset?.offer;
    const own = button("Add a prompt", "easel-small", () => this.add(), "+ Add a prompt");
    const offers = this.model.get("offers").map(({ id, title, help }) => {
      const node = button(`Add: ${title}. ${help}`, "easel-quiet", () => this.tellKernel({ kind: "offer", id }), title);
      node.dataset.offer = id;
      node.title = help;
      return node;
    });
    this.adds.replaceChildren(own, ...offers);
    offers.find((node) => node.dataset.offer === had)?.focus();
  }
  tell() {
    const told = this.model.get("told");
    if (told) this.say(told, "easel-danger");
    else if (this.message.classList.contains("easel-danger")) this.say("");
  }

  // ---- to the kernel ----
  send() {
    const full = this.list.filter((prompt) => prompt.text.trim() || !this.fresh.has(prompt));
    if (same(full, this.asked)) return;
    this.asked = full.map((prompt) => ({ ...prompt }));
    this.tellKernel({ kind: "prompts", prompts: full });
  }
  tellKernel(message) { this.model.send({ ...message, number: ++this.number }); }

  // ---- what the user does ----
  add() {
    if (this.list.length >= this.model.get("most")[0]) return this.say(`There can be ${this.model.get("most")[0]} prompts.`);
    this.say("");
    const prompt = { text: "" };
    this.fresh.add(prompt);
    this.list.push(prompt);
    this.draw();
    this.rows.at(-1).text.focus();
  }
  remove(index) {
    const before = { list: [...this.list], opened: [...this.opened] };
    const [gone] = this.list.splice(index, 1);
    this.opened.splice(index, 1);
    this.draw();
    const next = this.rows[Math.min(index, this.rows.length - 1)];
    const undo = button("Put it back", "easel-small", () => {
      this.list = before.list;
      this.opened = before.opened;
      this.say("");
      this.draw();
      this.rows[index].remove.focus();
      this.send();
    });
    if (gone.text.trim()) this.say(`Removed “${short(gone.text)}”.`, "", undo);
    (next?.text ?? this.adds.firstChild).focus();
    this.send();
  }
  move(index, by) {
    const to = index + by;
    for (const list of [this.list, this.opened, this.controls]) [list[index], list[to]] = [list[to], list[index]];
    this.draw();
    const row = this.rows[to];
    const wanted = by < 0 ? row.up : row.down;
    (wanted.disabled ? (by < 0 ? row.down : row.up) : wanted).focus();
    this.say(`“${short(this.list[to].text)}” is now number ${to + 1}.`);
    this.send();
  }
  enter(index, name, kind, value) {
    const text = kind === "str" ? value : value.trim();
    if (name !== "text" && text === "") delete this.list[index][name];
    else this.list[index][name] = kind === "str" ? text : Number.isFinite(Number(text)) ? Number(text) : text;
    this.mark(index);
    this.send();
  }
  say(text, tone = "", ...more) {
    this.message.className = `easel-prompt-message ${tone}`;
    this.message.replaceChildren(...(text ? [make("span", "", text), ...more] : []));
  }

  // ---- the page ----
  draw() {
    while (this.rows.length > this.list.length) this.rows.pop().node.remove();
    while (this.rows.length < this.list.length) {
      this.rows.push(this.row(this.rows.length));
      this.node.append(this.rows.at(-1).node);
    }
    this.list.forEach((_, index) => this.fill(index));
  }
  fill(index) {
    const row = this.rows[index], prompt = this.list[index], shared = this.model.get("state").shared ?? {};
    const set = (field, value) => {
      // What the user is typing is not replaced.
      if (field !== document.activeElement || field.value === field.defaultValue) field.value = value;
      field.defaultValue = value;
    };
    set(row.text, prompt.text);
    for (const [name, field] of row.own) {
      set(field, prompt[name] === undefined ? "" : String(prompt[name]));
      field.placeholder = shared[name] === undefined ? "" : String(shared[name]);
    }
    row.more.open = Boolean(this.opened[index]);
    row.up.disabled = index === 0;
    row.down.disabled = index === this.list.length - 1;
    row.remove.disabled = this.list.length === 1;
    this.mark(index);
  }
  mark(index) {
    const row = this.rows[index], prompt = this.list[index];
    row.control.hidden = !(this.controls[index] && same(prompt.text, this.sent[index]?.text));
    const own = this.model.get("fields").filter(({ name }) => prompt[name] !== undefined);
    row.said.textContent = own.map(({ title, name }) => `${title} ${prompt[name]}`).join(", ") || "as the others";
  }
  row(index) {
    const node = make("li", "easel-prompt"), title = `Prompt ${index + 1}`;
    const text = make("textarea");
    text.rows = 2;
    text.setAttribute("aria-label", title);
    text.placeholder = "{trigger}, what the sample shows";
    text.spellcheck = false;
    text.addEventListener("change", () => this.enter(index, "text", "str", text.value));
    const control = make("span", "easel-prompt-control", "Control: without the trigger word");
    const said = make("span", "easel-prompt-said");
    const up = button(`Move prompt ${index + 1} up`, "easel-quiet easel-prompt-sign", () => this.move(index, -1), "↑");
    const down = button(`Move prompt ${index + 1} down`, "easel-quiet easel-prompt-sign", () => this.move(index, 1), "↓");
    const remove = button(`Remove prompt ${index + 1}`, "easel-quiet easel-prompt-sign", () => this.remove(index), "×");
    const more = make("details", "easel-prompt-more");
    const line = make("summary", "", "Size, seed and more");
    line.setAttribute("aria-label", `Size, seed and more of prompt ${index + 1}`);
    line.append(said);
    const grid = make("div", "easel-prompt-own"), own = new Map();
    for (const each of this.model.get("fields")) {
      const label = make("label", "", each.title), field = make("input");
      field.type = each.kind === "str" ? "text" : "number";
      if (each.kind !== "str") Object.assign(field, { min: each.low, max: each.high, step: each.kind === "int" ? 1 : "any" });
      field.title = each.help;
      field.setAttribute("aria-label", `${each.title} of prompt ${index + 1}`);
      field.addEventListener("change", () => this.enter(index, each.name, each.kind, field.value));
      label.append(field);
      grid.append(label);
      own.set(each.name, field);
    }
    more.append(line, grid);
    more.addEventListener("toggle", () => { this.opened[index] = more.open; });
    const number = make("span", "easel-prompt-number", String(index + 1));
    number.setAttribute("aria-hidden", "true");
    const side = make("div", "easel-prompt-side");
    side.append(up, down, remove);
    const below = make("div", "easel-prompt-below");
    below.append(more, control);
    node.append(number, text, side, below);
    return { node, text, up, down, remove, more, said, control, own };
  }
}

function render({ model, el }) {
  const prompts = new Prompts(model, el);
  const take = () => prompts.take(), offer = () => prompts.offer(), tell = () => prompts.tell();
  model.on("change:state", take);
  model.on("change:offers", offer);
  model.on("change:told", tell);
  return () => {
    model.off("change:state", take);
    model.off("change:offers", offer);
    model.off("change:told", tell);
  };
}

export default { render };
