// Images in rows. Captions are only ever set as textContent; the kernel sends an image when it is asked for.

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

class Gallery {
  constructor(model) {
    this.model = model;
    this.node = make("section", "easel-gallery");
    this.node.setAttribute("aria-label", model.get("title"));
    this.rows = make("div", "easel-gallery-rows");
    this.big = make("figure", "easel-gallery-big");
    this.image = make("img");
    this.caption = make("figcaption");
    this.big.append(this.image, this.caption);
    this.big.hidden = true;
    this.node.append(this.rows, this.big);
    this.urls = [];
    this.show();
  }
  clear() {
    clearTimeout(this.timer);
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.urls = [];
    this.buttons = [];
    this.chosen = null;
    this.rows.replaceChildren();
    this.big.hidden = true;
    this.image.removeAttribute("src");
  }
  show() {
    this.clear();
    const { version, items, more } = this.model.get("content");
    this.version = version;
    this.node.hidden = !items.length;
    const rows = new Map();
    items.forEach((item, index) => {
      if (!rows.has(item.row)) rows.set(item.row, this.row(item.row));
      rows.get(item.row).append(this.tile(item, index));
    });
    if (more) [...rows.values()].at(-1)?.append(make("div", "easel-gallery-more", `+${more.toLocaleString("en")}`));
    this.askAgain(3);
  }
  // A question is lost if the kernel was busy with too many: an image that has not come is asked for again, a few times.
  askAgain(times) {
    this.timer = setTimeout(() => {
      const missing = this.buttons.map((button, index) => [button, index]).filter(([button]) => !button.querySelector("img").src && !button.classList.contains("easel-gallery-none"));
      if (!missing.length || !times) return;
      for (const [, index] of missing) this.ask(index, "small");
      this.askAgain(times - 1);
    }, 4000);
  }
  row(title) {
    const row = make("div", "easel-gallery-row");
    if (title) row.append(make("div", "easel-gallery-title", title));
    const tiles = make("div", "easel-gallery-tiles");
    row.append(tiles);
    this.rows.append(row);
    return tiles;
  }
  tile(item, index) {
    const button = make("button", "easel-gallery-tile");
    button.type = "button";
    button.title = item.caption;
    const image = make("img");
    image.alt = item.caption;
    button.append(image);
    if (item.row) button.append(make("span", "", item.caption));
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => this.choose(index, item));
    this.buttons[index] = button;
    this.ask(index, "small");
    return button;
  }
  choose(index, item) {
    const same = this.chosen === index;
    this.chosen = same ? null : index;
    this.buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === this.chosen)));
    this.big.hidden = same;
    if (same) return;
    this.image.removeAttribute("src");
    this.image.alt = item.caption;
    this.caption.textContent = [item.row, item.caption].filter(Boolean).join(", ");
    this.ask(index, "full");
  }
  ask(index, size) { this.model.send({ kind: "image", index, size, version: this.version }); }
  take({ kind, version, index, size, type }, buffers) {
    if (kind !== "image" || version !== this.version) return;
    if (!type) return this.buttons[index]?.classList.add("easel-gallery-none");
    const url = URL.createObjectURL(new Blob([buffers[0]], { type }));
    this.urls.push(url);
    if (size === "small") this.buttons[index].firstChild.src = url;
    else if (index === this.chosen) this.image.src = url;
  }
}

function render({ model, el }) {
  const gallery = new Gallery(model);
  el.append(gallery.node);
  const show = () => gallery.show();
  const take = (message, buffers) => gallery.take(message, buffers);
  model.on("change:content", show);
  model.on("msg:custom", take);
  return () => {
    model.off("change:content", show);
    model.off("msg:custom", take);
    gallery.clear();
  };
}

export default { render };
