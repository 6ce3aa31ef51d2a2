// A list of files and folders. Names are only set as textContent; the kernel decides what is shown and what may be chosen.
// Keys: arrows, Home and End move, Enter opens or chooses, Backspace goes up, Escape closes.

const WAIT_MS = 200;

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = String(text);
  return node;
}

function button(className, text, pressed) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", pressed);
  return node;
}

class Picker {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.node = make("section", "easel-picker");
    this.node.setAttribute("aria-label", model.get("title"));
    this.starts = make("div", "easel-picker-starts");
    this.up = button("jupyter-button easel-small", "Up", () => this.open(this.content.parent));
    this.path = make("span", "easel-picker-path");
    // Why there is no way up.
    this.top = make("p", "easel-picker-top");
    this.filter = make("input", "easel-picker-filter");
    this.filter.type = "text";
    this.filter.placeholder = "Filter";
    this.filter.setAttribute("aria-label", "Filter the names");
    this.filter.addEventListener("input", () => this.narrow());
    this.list = make("div", "easel-picker-list");
    this.list.setAttribute("role", "group");
    this.list.setAttribute("aria-label", "Files and folders");
    this.said = make("p", "easel-picker-said");
    this.said.setAttribute("role", "status");
    this.take = button("jupyter-button", "Use this folder", () => this.choose(this.content.path));
    this.take.hidden = model.get("wants") === "file";
    const head = make("div", "easel-picker-head");
    head.append(this.up, this.path, this.filter);
    const foot = make("div", "easel-picker-foot");
    foot.append(this.said, this.take, button("jupyter-button easel-quiet", "Cancel", () => this.close()));
    this.node.append(this.starts, head, this.top, this.list, foot);
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.content = { items: [], starts: [] };
    this.show();
  }
  open(path) {
    if (!path) return;
    this.filter.value = "";
    this.isAsked = true;
    this.node.classList.add("easel-busy");
    this.model.send({ kind: "open", path, find: "" });
  }
  narrow() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(
      () => this.model.send({ kind: "open", path: this.content.path, find: this.filter.value }),
      WAIT_MS,
    );
  }
  choose(path) {
    this.giveBack();
    this.model.send({ kind: "choose", path });
  }
  close() {
    this.giveBack();
    this.model.send({ kind: "close" });
  }
  giveBack() {
    this.el.closest(".easel-browse")?.querySelector(".easel-browse-open")?.focus();
  }
  press(item) {
    if (item.folder) this.open(item.path);
    else this.choose(item.path);
  }
  rows() {
    return [...this.list.querySelectorAll("button")];
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = this.rows();
    const at = rows.indexOf(document.activeElement);
    const inField = document.activeElement === this.filter;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to !== undefined && !(inField && (event.key === "Home" || event.key === "End"))) {
      if (at < 0 && !inField) return;
      event.preventDefault();
      if (to < 0) this.filter.focus();
      else rows[Math.min(to, rows.length - 1)]?.focus();
    } else if (event.key === "Backspace" && at >= 0) {
      event.preventDefault();
      this.open(this.content.parent);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else return;
    event.stopPropagation();
  }
  row(item) {
    const node = button(item.folder ? "easel-picker-folder" : "easel-picker-file", "", () => this.press(item));
    node.append(make("span", "easel-picker-name", item.name), make("span", "easel-picker-size", item.size));
    node.setAttribute("aria-label", item.folder ? `${item.name}, folder` : `${item.name}, ${item.size}`);
    return node;
  }
  show() {
    const content = this.model.get("content") ?? {};
    if (!content.version || content.version === this.content.version) return;
    const before = this.content.path;
    const hadFocus = this.list.contains(document.activeElement) || this.isAsked;
    this.content = { ...content, items: Array.isArray(content.items) ? content.items : [] };
    this.node.classList.remove("easel-busy");
    this.path.textContent = String(content.path ?? "");
    this.path.title = this.path.textContent;
    this.up.disabled = !content.parent;
    this.top.textContent = String(content.top ?? "");
    this.top.hidden = !content.top;
    const starts = Array.isArray(content.starts) ? content.starts : [];
    this.starts.replaceChildren(
      ...starts.map(({ title, path }) => {
        const node = button("jupyter-button easel-small easel-quiet", title, () => this.open(path));
        node.title = String(path);
        node.classList.toggle("easel-chosen", path === content.path);
        return node;
      }),
    );
    this.list.replaceChildren(...this.content.items.map((item) => this.row(item)));
    if (!this.content.items.length) this.list.append(make("p", "easel-picker-none", "Nothing to choose in this folder."));
    const more = content.left_out ? `${content.left_out} more are not listed: type a part of the name.` : "";
    this.said.textContent = String(content.said || more);
    this.said.classList.toggle("easel-danger", Boolean(content.said));
    if (before === undefined) this.filter.focus();
    else if (before !== content.path && hadFocus) (this.rows()[0] ?? this.filter).focus();
    this.isAsked = false;
  }
}

function render({ model, el }) {
  const picker = new Picker(model, el);
  el.append(picker.node);
  const show = () => picker.show();
  model.on("change:content", show);
  return () => {
    clearTimeout(picker.waiting);
    model.off("change:content", show);
  };
}

export default { render };
