// Samples by prompt (rows) and step (columns). The kernel sends a small image when its tile comes into sight.

// So many columns are made in one frame: a long run has hundreds of samples, and the page must stay fluid.
const AT_ONCE = 12;
let grids = 0;

// The columns that are shown if not all of them are: those that the kernel names, and the chosen one.
function some(content, chosen) {
  const kept = new Set(content.some);
  return content.columns.filter(({ key }) => kept.has(key) || key === chosen);
}

function isContent(found) {
  return found && Array.isArray(found.rows) && Array.isArray(found.columns) && Array.isArray(found.some) && found.columns.every((column) => Array.isArray(column.images) && typeof column.key === "number");
}

class Grid {
  constructor(model) {
    this.model = model;
    this.images = new Images(model);
    this.id = `easel-sg-${++grids}`;
    this.node = make("section", "easel-sg");
    this.node.setAttribute("aria-label", "Samples by prompt and step");
    this.top = make("div", "easel-sg-top");
    this.which = choice("Which columns are shown", "");
    this.which.addEventListener("change", () => this.show());
    this.views = make("div", "easel-sg-seg");
    this.views.setAttribute("role", "group");
    this.views.setAttribute("aria-label", "View");
    this.asGrid = press("", "", "Grid", () => this.see("grid"));
    this.asTwo = press("", "", "Two with a slider", () => this.see("two"));
    this.views.append(this.asGrid, this.asTwo);
    this.top.append(this.which, this.views);
    this.prompts = choice("Prompt of the samples", "easel-sg-phone");
    this.prompts.addEventListener("change", () => this.open(Number(this.prompts.value), this.key));
    this.scroll = make("div", "easel-sg-scroll");
    this.grid = make("div", "easel-sg-grid");
    this.scroll.append(this.grid);
    this.strip = make("div", "easel-sg-strip easel-sg-phone");
    this.strip.setAttribute("role", "group");
    this.strip.setAttribute("aria-label", "Steps with samples");
    this.big = new Big(this.images, (row, key) => this.open(row, key), () => this.close(), (key) => this.model.send({ kind: "best", key }));
    this.two = new Two(this.images);
    this.main = make("div", "easel-sg-main");
    this.main.append(this.prompts, this.scroll, this.big.node, this.strip);
    this.node.append(this.top, this.main, this.two.node);
    this.columns = new Map();
    this.view = "grid";
    // What is open: a row and the key of a column. `follows`: the newest, until the user chooses or closes.
    this.row = 0;
    this.key = null;
    this.follows = true;
    this.seen = new IntersectionObserver((entries) => this.sight(entries), { rootMargin: "150px" });
    this.scroll.addEventListener("keydown", (event) => this.keyed(event));
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.big.node.hidden || !this.isWide) return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
    this.sizes = new ResizeObserver(() => this.sized());
    this.sizes.observe(this.node);
  }
  get isWide() { return this.node.clientWidth >= 560; }
  get shown() { return this.model.get("content"); }
  sized() {
    if (this.wide === this.isWide) return;
    this.wide = this.isWide;
    // A narrow page opens a sample by itself; beside the whole grid only what the user opened stays open.
    if (this.wide && this.byItself) this.key = null;
    this.byItself = false;
    if (this.shown) this.show();
  }
  end() {
    cancelAnimationFrame(this.more);
    this.seen.disconnect();
    this.sizes.disconnect();
    this.images.clear(-1);
  }
  see(view) {
    this.view = view;
    this.show();
  }

  // ---- drawing ----
  show() {
    const content = this.shown;
    if (!isContent(content)) return;
    if (content.version !== this.images.version) this.forget(content.version);
    for (const column of content.columns) column.said = /^\d/.test(column.title) ? `Step ${column.title}` : column.title;
    const compares = content.mode === "compare";
    const two = compares && this.view === "two";
    this.node.dataset.mode = content.mode;
    this.node.classList.toggle("easel-sg-bare", !content.rows.length);
    this.top.hidden = !compares;
    this.asGrid.setAttribute("aria-pressed", String(!two));
    this.asTwo.setAttribute("aria-pressed", String(two));
    this.asTwo.disabled = content.columns.filter((column) => column.images.some((image) => image >= 0)).length < 2;
    this.main.hidden = two;
    this.two.node.hidden = !two;
    const chosen = this.model.get("chosen");
    const count = content.columns.length;
    const few = some(content, chosen);
    fill(this.which, [["all", `All ${count} columns`], ...(few.length < count ? [["some", `${few.length} of ${count} columns`]] : [])], this.which.value || (compares && count > 8 ? "some" : "all"));
    if (!this.which.dataset.set && count > 8 && compares) { this.which.value = "some"; this.which.dataset.set = "1"; }
    this.which.hidden = few.length === count || two;
    if (two) return this.two.show(content, chosen);
    this.draw(content, this.which.value === "some" && compares ? few : content.columns, chosen);
    this.phone(content);
    this.opened(content);
  }
  forget(version) {
    this.images.clear(version);
    this.columns.clear();
    this.grid.replaceChildren();
    this.strip.replaceChildren();
    this.key = null;
    this.row = 0;
    this.follows = true;
    this.big.index = null;
    delete this.which.dataset.set;
  }
  draw(content, columns, chosen) {
    this.grid.style.setProperty("--sg-rows", String(content.rows.length));
    this.grid.style.setProperty("--sg-columns", String(columns.length + (content.next ? 1 : 0)));
    const labels = JSON.stringify(content.rows);
    if (labels !== this.labels) {
      this.labels = labels;
      this.names = make("div", "easel-sg-names");
      this.names.append(make("div", "easel-sg-head"), ...content.rows.map((row) => {
        const name = make("div", "easel-sg-name");
        name.append(make("span", "", row.text), make("small", "", row.note));
        return name;
      }));
      this.columns.clear();
    }
    const missing = columns.filter((column) => !this.columns.has(column.key));
    // The newest first: they are what the user sees.
    const later = new Set(missing.slice(0, Math.max(0, missing.length - AT_ONCE)).map((column) => column.key));
    const nodes = columns.filter((column) => !later.has(column.key)).map((column) => this.column(content, column, chosen));
    if (later.size) this.more ??= requestAnimationFrame(() => { this.more = null; this.show(); });
    const next = content.next ? [this.later(content.next)] : [];
    const wanted = [this.names, ...nodes, ...next];
    // Only what has changed is moved, so that the keyboard keeps its place.
    wanted.forEach((node, at) => { if (this.grid.children[at] !== node) this.grid.insertBefore(node, this.grid.children[at] ?? null); });
    while (this.grid.children.length > wanted.length) this.grid.lastChild.remove();
    if (content.mode === "watch" && this.follows) this.scroll.scrollLeft = this.scroll.scrollWidth;
    this.rove();
  }
  column(content, column, chosen) {
    const state = JSON.stringify(column);
    let kept = this.columns.get(column.key);
    if (!kept || kept.state !== state) {
      const node = kept?.node ?? make("div", "easel-sg-column");
      const focused = node.contains(document.activeElement) ? [...node.querySelectorAll("button")].indexOf(document.activeElement) : -1;
      for (const tile of node.querySelectorAll(".easel-sg-tile")) this.seen.unobserve(tile);
      node.replaceChildren(this.head(content, column), ...content.rows.map((row, at) => this.tile(content, column, row, at)));
      if (focused >= 0) node.querySelectorAll("button")[focused]?.focus();
      kept = { node, state };
      this.columns.set(column.key, kept);
    }
    kept.node.classList.toggle("easel-sg-chosen", content.mode === "compare" && column.key === chosen);
    kept.node.querySelector(".easel-sg-title")?.setAttribute?.("aria-pressed", String(column.key === chosen));
    return kept.node;
  }
  head(content, column) {
    const head = make("div", "easel-sg-head");
    if (content.mode !== "compare") {
      head.append(make("b", "", column.title));
      return head;
    }
    const line = make("div", "easel-sg-headline");
    if (column.star === null) line.append(make("b", "", column.title));
    else {
      const title = press("easel-sg-title", `Choose ${column.said}`, column.title, () => this.model.send({ kind: "choose", key: column.key }));
      const best = press("easel-sg-star", column.star ? `${column.said} is your best: take the mark away` : `Mark ${column.said} as your best`, "", () => this.model.send({ kind: "best", key: column.key }));
      best.setAttribute("aria-pressed", String(column.star));
      best.append(star());
      line.append(title, best);
    }
    const more = make("span", `easel-sg-more${column.tone ? ` easel-sg-${column.tone}` : ""}`, column.more);
    head.append(line, more);
    return head;
  }
  tile(content, column, row, at) {
    const index = column.images[at];
    if (!(index >= 0)) return make("div", "easel-sg-absent", column.absent);
    const tile = press("easel-sg-tile", [row.text, column.said].filter(Boolean).join(", "), "", () => {
      if (content.mode === "compare" && column.star !== null) this.model.send({ kind: "choose", key: column.key });
      this.open(at, column.key);
    });
    tile.dataset.index = String(index);
    tile.dataset.row = String(at);
    tile.dataset.key = String(column.key);
    tile.tabIndex = -1;
    tile.setAttribute("aria-pressed", "false");
    const image = make("img");
    image.alt = "";
    image.decoding = "async";
    tile.append(image);
    this.seen.observe(tile);
    return tile;
  }
  later([title, text]) {
    const node = this.next ??= make("div", "easel-sg-column easel-sg-next");
    const told = `${title} ${text}`;
    if (node.dataset.told !== told) {
      node.dataset.told = told;
      const head = make("div", "easel-sg-head");
      head.append(make("b", "", title));
      node.replaceChildren(head, make("div", "easel-sg-frame", text));
    }
    return node;
  }
  sight(entries) {
    for (const { target, isIntersecting } of entries) {
      const index = Number(target.dataset.index);
      if (!isIntersecting) {
        this.images.forget(index);
        continue;
      }
      this.images.want(index, "small", (url) => {
        this.seen.unobserve(target);
        if (url) target.firstChild.src = url;
        target.classList.toggle("easel-sg-unread", !url);
      });
    }
  }

  // ---- a narrow page: one prompt at a time, with a strip of its steps ----
  phone(content) {
    if (this.isWide) return;
    fill(this.prompts, content.rows.map((row, at) => [at, `${at + 1} of ${content.rows.length}: ${row.text || "Prompt"}`]), this.row);
    this.prompts.hidden = content.rows.length < 2;
    const steps = content.columns.filter((column) => column.images[this.row] >= 0);
    const state = JSON.stringify([this.row, steps.map((column) => column.key), content.next, content.version]);
    if (state === this.striped) return;
    this.striped = state;
    for (const tile of this.strip.children) this.seen.unobserve(tile);
    this.strip.replaceChildren(...steps.map((column) => {
      const tile = this.tile(content, column, content.rows[this.row], this.row);
      tile.tabIndex = 0;
      tile.append(make("span", "", column.title));
      return tile;
    }));
    if (content.next) this.strip.append(make("div", "easel-sg-frame", content.next.join(" ")));
    this.strip.scrollLeft = this.strip.scrollWidth;
  }

  // ---- the sample that is open ----
  opened(content) {
    const last = [...content.columns].reverse().find((column) => column.images.some((image) => image >= 0));
    if (this.follows && last && content.mode === "watch") {
      this.key = last.key;
      if (!(last.images[this.row] >= 0)) this.row = last.images.findIndex((image) => image >= 0);
    }
    if (!this.isWide && this.key === null && last) {
      const wanted = content.columns.find((column) => column.key === this.model.get("chosen") && column.images.some((image) => image >= 0)) ?? last;
      this.key = wanted.key;
      this.byItself = true;
      this.row = Math.max(0, wanted.images.findIndex((image) => image >= 0));
    }
    const is = this.key !== null && this.big.show(content, this.row, this.key);
    if (!is) this.big.node.hidden = true;
    this.node.classList.toggle("easel-sg-opened", is);
    for (const tile of this.pressed ?? []) tile.setAttribute("aria-pressed", "false");
    this.pressed = is ? [...this.node.querySelectorAll(`.easel-sg-tile[data-row="${this.row}"][data-key="${this.key}"]`)] : [];
    for (const tile of this.pressed) tile.setAttribute("aria-pressed", "true");
    this.rove();
  }
  open(row, key) {
    this.byItself = false;
    const content = this.shown;
    const last = content.columns.at(-1)?.key;
    this.row = row;
    const has = content.columns.find((column) => column.key === key)?.images[row] >= 0;
    this.key = has ? key : [...content.columns].reverse().find((column) => column.images[row] >= 0)?.key ?? null;
    this.follows = this.key === last && this.follows;
    this.phone(content);
    this.opened(content);
  }
  close() {
    const tile = this.tileAt(this.row, this.key);
    this.key = null;
    this.follows = false;
    this.opened(this.shown);
    tile?.focus();
    this.rove();
  }

  // ---- the keyboard: one tile is in the Tab order, the arrow keys move between them ----
  tileAt(row, key) {
    return this.grid.querySelector(`.easel-sg-tile[data-row="${row}"][data-key="${key}"]`);
  }
  rove() {
    const now = document.activeElement;
    const at = this.grid.contains(now) && now.classList.contains("easel-sg-tile") ? now : this.tileAt(this.row, this.key) ?? this.grid.querySelector(".easel-sg-tile");
    if (this.tabbed && this.tabbed !== at) this.tabbed.tabIndex = -1;
    if (at) at.tabIndex = 0;
    this.tabbed = at;
  }
  keyed(event) {
    const tile = event.target.closest?.(".easel-sg-tile");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = Number(tile.dataset.row);
    const inRow = [...this.grid.querySelectorAll(`.easel-sg-tile[data-row="${row}"]`)];
    const inColumn = [...tile.parentElement.querySelectorAll(".easel-sg-tile")];
    const across = inRow.indexOf(tile);
    const down = inColumn.indexOf(tile);
    const to = {
      ArrowLeft: inRow[across - 1], ArrowRight: inRow[across + 1], ArrowUp: inColumn[down - 1], ArrowDown: inColumn[down + 1],
      Home: inRow[0], End: inRow.at(-1),
    };
    if (!(event.key in to)) return;
    event.preventDefault();
    event.stopPropagation();
    const next = to[event.key];
    if (!next) return;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (!this.big.node.hidden) this.open(Number(next.dataset.row), Number(next.dataset.key));
    else this.rove();
  }
}

function render({ model, el }) {
  const grid = new Grid(model);
  el.append(grid.node);
  const show = () => grid.show();
  const take = (message, buffers) => { if (message?.kind === "images") grid.images.take(message, buffers); };
  model.on("change:content", show);
  model.on("change:chosen", show);
  model.on("msg:custom", take);
  show();
  return () => {
    model.off("change:content", show);
    model.off("change:chosen", show);
    model.off("msg:custom", take);
    grid.end();
  };
}

export default { render };
