// A page of the guide. Its text is only ever set as textContent; a link opens another page here, or another site.

const HEADINGS = ["easel-guide-h1", "easel-guide-h2", "easel-guide-h3"];

class Guide {
  constructor(model) {
    this.model = model;
    this.node = make("section", "easel-guide");
    this.node.setAttribute("role", "dialog");
    this.node.setAttribute("aria-label", "Guide");
    this.pages = make("select");
    this.pages.setAttribute("aria-label", "Page of the guide");
    this.pages.addEventListener("change", () => this.open(this.pages.value, ""));
    const close = button("Close", "easel-quiet", () => this.close());
    const head = make("div", "easel-guide-head");
    head.append(make("b", "", "Guide"), this.pages, close);
    this.body = make("div", "easel-guide-body");
    this.body.tabIndex = 0;
    this.body.setAttribute("role", "document");
    this.node.append(head, this.body);
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
    this.show();
  }
  open(page, section) { this.model.send({ kind: "open", page, section }); }
  close() { this.model.send({ kind: "close" }); }
  show() {
    const { is_open: isOpen, page, pages, section, blocks, turn } = this.model.get("content") ?? {};
    const was = this.node.hidden;
    this.node.hidden = !isOpen;
    if (!isOpen) {
      // The keyboard goes back to what opened the guide.
      if (this.from?.isConnected && this.node.contains(document.activeElement)) this.from.focus();
      return;
    }
    if (was !== false && !this.node.contains(document.activeElement)) this.from = document.activeElement;
    if (this.pages.options.length !== list(pages).length) {
      this.pages.replaceChildren(...list(pages).map(([name, title]) => new Option(text(title), text(name))));
    }
    this.pages.value = text(page);
    if (this.page !== page) {
      this.page = page;
      this.anchors = new Map();
      this.body.replaceChildren(...list(blocks).map((block) => this.block(block)));
    }
    if (this.turn === turn) return;
    this.turn = turn;
    // An image has no height before it is read, and what is below it would move.
    const images = [...this.body.querySelectorAll("img:not([hidden])")].map((image) => image.decode().catch(() => null));
    Promise.all(images).then(() => {
      if (this.turn !== turn || this.node.hidden) return;
      const at = this.anchors.get(text(section));
      this.body.scrollTop = at ? at.offsetTop - this.body.offsetTop - 8 : 0;
      this.body.focus({ preventScroll: true });
    });
  }
  block({ kind, level, id, runs, items, rows, text: words, src }) {
    if (kind === "h") {
      const node = this.line(make("div", HEADINGS[Math.min(3, level) - 1]), runs);
      node.setAttribute("role", "heading");
      node.setAttribute("aria-level", String(level + 1));
      this.anchors.set(text(id), node);
      return node;
    }
    if (kind === "ul" || kind === "ol") {
      const node = make(kind);
      node.append(...list(items).map((item) => this.line(make("li"), item)));
      return node;
    }
    if (kind === "table") return this.table(list(rows));
    if (kind === "code") {
      const node = make("div", "easel-guide-code", text(words));
      node.tabIndex = 0;
      return node;
    }
    if (kind === "image") {
      const node = make("img");
      node.alt = text(words);
      if (text(src).startsWith("data:image/png;base64,")) node.src = src; else node.hidden = true;
      return node;
    }
    return this.line(make("p"), runs);
  }
  table([head, ...rows]) {
    const frame = make("div", "easel-guide-table"), node = make("table"), top = make("thead"), body = make("tbody");
    const line = (cells, tag) => {
      const row = make("tr");
      row.append(...list(cells).map((cell) => this.line(make(tag), cell)));
      return row;
    };
    top.append(line(head, "th"));
    body.append(...rows.map((row) => line(row, "td")));
    node.append(top, body);
    frame.append(node);
    frame.tabIndex = 0;
    return frame;
  }
  line(node, runs) {
    for (const [look, words, to] of list(runs)) {
      if (look === "a") node.append(this.link(text(words), text(to)));
      else node.append(["b", "i", "code"].includes(look) ? make(look, "", text(words)) : document.createTextNode(text(words)));
    }
    return node;
  }
  link(words, to) {
    const inside = /^([\w-]*)(?:\.md)?(?:#([\w-]+))?$/.exec(to);
    if (/^https:\/\//.test(to)) {
      const node = make("a", "", words);
      node.href = to;
      node.target = "_blank";
      node.rel = "noopener noreferrer";
      return node;
    }
    // Records and decisions are no part of the guide.
    if (!inside || !(inside[1] || inside[2])) return document.createTextNode(words);
    const node = make("button", "easel-guide-link", words);
    node.type = "button";
    node.addEventListener("click", () => this.open(inside[1] || this.page, inside[2] ?? ""));
    return node;
  }
}

function render({ model, el }) {
  const guide = new Guide(model);
  el.append(guide.node);
  const show = () => guide.show();
  model.on("change:content", show);
  return () => model.off("change:content", show);
}

export default { render };
