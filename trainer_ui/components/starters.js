// Models to begin with, as radio buttons: one of each use at first, the others behind a button. Texts are only set as textContent.

let lists = 0;

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = String(text);
  return node;
}

class Starters {
  constructor(model) {
    this.model = model;
    this.name = `easel-starter-${++lists}`;
    this.isWhole = false;
    this.node = make("section", "easel-starters");
    this.head = make("button", "easel-starters-head");
    this.head.type = "button";
    this.head.append(make("b", "", "Start with one of these"), make("span", "", "base models to download"));
    this.head.addEventListener("click", () => this.turn());
    this.inside = make("div", "easel-starters-inside");
    this.inside.id = `${this.name}-list`;
    this.head.setAttribute("aria-controls", this.inside.id);
    this.list = make("div", "easel-starter-list");
    this.list.setAttribute("role", "radiogroup");
    this.list.setAttribute("aria-label", "Base models to download");
    this.more = make("button", "jupyter-button easel-small easel-quiet");
    this.more.type = "button";
    this.more.addEventListener("click", () => this.showAll());
    this.told = make("div", "easel-starter-told");
    this.said = make("p");
    this.said.setAttribute("role", "status");
    this.licence = make("a", "easel-starter-licence");
    this.licence.target = "_blank";
    this.licence.rel = "noopener noreferrer";
    this.get = make("button", "jupyter-button");
    this.get.type = "button";
    this.get.addEventListener("click", () => this.model.send({ kind: "get", id: this.model.get("chosen") }));
    this.told.append(this.said, this.licence, this.get);
    this.inside.append(this.list, this.more, this.told);
    this.node.append(this.head, this.inside);
    this.fill();
    this.show();
  }
  fill() {
    const rows = this.model.get("rows");
    this.options = new Map();
    const uses = new Set();
    let later = 0;
    for (const row of Array.isArray(rows) ? rows : []) {
      const option = this.option(row);
      if (uses.has(row.use)) {
        option.node.classList.add("easel-starter-later");
        later += 1;
      }
      uses.add(row.use);
      this.options.set(row.id, option);
    }
    this.list.replaceChildren(...[...this.options.values()].map(({ node }) => node));
    this.more.textContent = `${later} more models`;
    this.more.hidden = later === 0;
  }
  option(row) {
    const node = make("label", "easel-starter");
    const input = make("input");
    input.type = "radio";
    input.name = this.name;
    input.addEventListener("change", () => this.choose(row.id));
    const text = make("span", "easel-starter-text");
    text.append(make("b", "", row.title), make("span", "", `${row.use}. ${row.about}`));
    const size = make("span", "easel-starter-size");
    size.append(make("b", "", row.size), make("span", "", row.gated ? "needs a token" : ""));
    node.append(input, text, size);
    return { node, input, row };
  }
  turn() {
    this.model.set("is_open", !this.model.get("is_open"));
    this.model.save_changes();
    this.show();
  }
  showAll() {
    this.isWhole = true;
    this.show();
    this.list.querySelector(".easel-starter-later input")?.focus();
  }
  choose(id) {
    this.model.set("chosen", id);
    this.model.save_changes();
    this.show();
  }
  show() {
    const isOpen = this.model.get("is_open") === true;
    this.head.setAttribute("aria-expanded", String(isOpen));
    this.inside.hidden = !isOpen;
    this.list.classList.toggle("easel-whole", this.isWhole);
    if (this.isWhole) this.more.hidden = true;
    const chosen = this.model.get("chosen");
    for (const [id, { node, input }] of this.options) {
      input.checked = id === chosen;
      node.classList.toggle("easel-chosen", id === chosen);
    }
    const row = this.options.get(chosen)?.row;
    const told = this.model.get("told") ?? {};
    this.told.hidden = !row;
    this.said.textContent = String(told.text ?? "");
    this.said.className = told.tone === "warn" ? "easel-warn" : "easel-muted";
    if (row && /^https:\/\//.test(row.licence_url)) this.licence.href = row.licence_url;
    this.licence.textContent = row ? `Licence: ${row.licence}` : "";
    this.get.textContent = String(told.button ?? "");
    this.get.hidden = !told.button;
  }
}

function render({ model, el }) {
  const starters = new Starters(model);
  el.append(starters.node);
  const show = () => starters.show();
  for (const name of ["chosen", "told", "is_open"]) model.on(`change:${name}`, show);
  return () => {
    for (const name of ["chosen", "told", "is_open"]) model.off(`change:${name}`, show);
  };
}

export default { render };
