// All images of a dataset in a list that makes only the tiles in sight. Names are only ever set as textContent.
// Keys: arrows, Home, End, Page Up and Down move; Space chooses, with Shift up to here; Enter opens; K keeps, R rejects.

const GAP = 10, LABEL = 24, LEAST = 132, AHEAD = 1;
const MOST_KEPT = 1500; // Thumbnails in memory; about 6 kB each.
const AT_ONCE = 60, ASK_AFTER_MS = 30, AGAIN_AFTER_MS = 5000;
const CAPTIONED = 1, WARNING = 2, STOPS = 4, KEEP = 8, REJECT = 16, UNSEEN = 32;
const [ID, NAME, FLAGS, NOTE, STAMP] = [0, 1, 2, 3, 4];
const LACKS = "Cannot be shown";
const ASKS = { k: "keep", r: "reject" };

class Tile {
  constructor(list) {
    this.list = list;
    this.node = make("div", "easel-tile");
    this.node.setAttribute("role", "option");
    this.image = make("img");
    this.image.alt = "";
    this.image.draggable = false;
    this.label = make("span");
    this.lack = make("small", "easel-tile-lack", LACKS);
    this.node.append(this.image, this.lack, this.label);
    this.node.addEventListener("click", (event) => this.list.clicked(this.place, event));
    this.node.addEventListener("dblclick", () => this.list.open());
  }
  show(place, item) {
    this.place = place;
    const { list } = this, [x, y] = list.position(place);
    this.node.style.transform = `translate(${x}px, ${y}px)`;
    this.node.style.width = `${list.side}px`;
    this.image.style.height = `${list.side}px`;
    const flags = item[FLAGS], isChosen = list.chosen.has(item[ID]);
    put(this.label, item[NAME]);
    this.node.id = `${list.name}-${place}`;
    this.node.className = "easel-tile";
    for (const [name, is] of Object.entries({ chosen: isChosen, current: item[ID] === list.current, rejected: flags & REJECT, kept: flags & KEEP, warns: flags & WARNING, stops: flags & STOPS, bare: !(flags & CAPTIONED), unseen: flags & UNSEEN })) {
      this.node.classList.toggle(`easel-tile-${name}`, Boolean(is));
    }
    this.node.setAttribute("aria-selected", String(isChosen));
    this.node.setAttribute("aria-posinset", String(place + 1));
    this.node.setAttribute("aria-setsize", String(list.order.length));
    this.node.setAttribute("aria-label", list.said(item));
    const key = `${item[ID]} ${item[STAMP]}`;
    this.node.classList.toggle("easel-tile-none", list.none.has(key));
    this.node.title = list.said(item);
    if (this.key === key && (this.image.src || list.none.has(key))) return;
    this.key = key;
    const url = list.urls.get(key);
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
  }
}

class ImageList {
  constructor(model) {
    this.model = model;
    this.name = `easel-list-${++made}`;
    this.items = new Map();
    this.order = [];
    this.chosen = new Set();
    this.current = -1;
    this.anchor = 0;
    this.version = -1;
    this.number = 0; // Of what the user did; what the kernel says without having heard of it is old.
    this.urls = new Map();
    this.none = new Set();
    this.pool = [];
    this.columns = 1;
    this.side = LEAST;
    this.node = make("div", "easel-list");
    this.empty = make("p", "easel-list-empty");
    this.scroller = make("div", "easel-list-scroller");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "listbox");
    this.scroller.setAttribute("aria-multiselectable", "true");
    this.scroller.setAttribute("aria-label", model.get("title"));
    this.space = make("div", "easel-list-space");
    this.scroller.append(this.space);
    this.node.append(this.empty, this.scroller);
    this.scroller.addEventListener("scroll", () => this.soon(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.asked = new Map();
    this.moved = (event) => {
      if (!event.detail.root?.contains(this.node)) return;
      event.preventDefault();
      this.move(Math.max(0, this.order.indexOf(this.current)), event.detail.by, false);
      this.soon();
    };
    window.addEventListener("easel-go", this.moved);
    this.seen = new ResizeObserver(() => this.measure());
    this.seen.observe(this.scroller);
    // The first message of a widget may wait for a cell that is running; those after it do not.
    model.send({ kind: "hello" });
  }
  close() {
    window.removeEventListener("easel-go", this.moved);
    this.seen.disconnect();
    clearTimeout(this.timer);
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
  }

  // ---- what the kernel says ----
  take(message, buffers) {
    if (message?.kind === "items") this.takeItems(message);
    else if (message?.kind === "order") this.takeOrder(message, buffers);
    else if (message?.kind === "thumbs") this.takeThumbs(message, buffers);
    else if (message?.kind === "chosen") this.takeChosen(message);
    else if (message?.kind === "current") this.takeCurrent(message);
  }
  tell(message) {
    this.number += 1;
    this.model.send({ ...message, version: this.version, number: this.number });
  }
  takeItems({ version, whole, items }) {
    if (version !== this.version) this.forget(version);
    if (whole) this.items.clear();
    for (const item of list(items)) this.items.set(item[ID], item);
    this.soon();
  }
  takeOrder({ version }, [buffer]) {
    if (version !== this.version || !buffer) return;
    this.order = [...new Uint32Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength))].filter((id) => this.items.has(id));
    put(this.empty, this.model.get("empty"));
    this.empty.hidden = this.order.length > 0;
    this.scroller.hidden = !this.order.length;
    this.measure();
  }
  takeThumbs({ version, items }, buffers) {
    if (version !== this.version) return;
    list(items).forEach(({ id, stamp, type }, index) => {
      const key = `${id} ${stamp}`;
      this.asked.delete(key);
      if (type !== "image/jpeg") this.none.add(key);
      else if (!this.urls.has(key)) this.urls.set(key, URL.createObjectURL(new Blob([buffers[index]], { type })));
    });
    while (this.urls.size > MOST_KEPT) {
      const [key, url] = this.urls.entries().next().value;
      URL.revokeObjectURL(url);
      this.urls.delete(key);
    }
    this.soon();
  }
  takeChosen({ version, ids, number }) {
    if (version !== this.version || number < this.number) return;
    this.chosen = new Set(list(ids));
    this.soon();
  }
  takeCurrent({ version, id, number }) {
    if (version !== this.version || number < this.number || id === this.current) return;
    this.current = id;
    this.announce();
    this.reveal(this.order.indexOf(id));
    this.soon();
  }
  announce() { window.dispatchEvent(new CustomEvent("easel-current", { detail: { root: this.node.closest(".easel"), id: this.current } })); }
  forget(version) {
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
    this.none.clear();
    this.asked.clear();
    this.chosen.clear();
    this.order = [];
    this.version = version;
    this.current = -1;
    this.number = 0;
    this.scroller.scrollTop = 0;
  }

  // ---- tiles ----
  measure() {
    const width = this.scroller.clientWidth - 2 * GAP;
    if (width <= 0) return;
    this.columns = Math.max(1, Math.floor((width + GAP) / (LEAST + GAP)));
    this.side = Math.floor((width + GAP) / this.columns) - GAP;
    this.row = this.side + LABEL + GAP;
    this.space.style.height = `${Math.ceil(this.order.length / this.columns) * this.row + GAP}px`;
    this.paint();
  }
  position(place) { return [GAP + (place % this.columns) * (this.side + GAP), GAP + Math.floor(place / this.columns) * this.row]; }
  soon() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => { this.waits = false; this.paint(); });
  }
  paint() {
    if (!this.row || !this.scroller.clientHeight) return;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.row) - AHEAD) * this.columns;
    const rows = Math.ceil(this.scroller.clientHeight / this.row) + 2 * AHEAD + 1;
    const last = Math.min(this.order.length, first + rows * this.columns);
    const places = [...Array(Math.max(0, last - first)).keys()].map((at) => first + at);
    // A tile that shows a place goes on showing it, so that an image does not flicker.
    const free = this.pool.filter((tile) => !(tile.place >= first && tile.place < last));
    const used = new Map(this.pool.filter((tile) => !free.includes(tile)).map((tile) => [tile.place, tile]));
    for (const place of places) {
      let tile = used.get(place) ?? free.pop();
      if (!tile) {
        tile = new Tile(this);
        this.pool.push(tile);
        this.space.append(tile.node);
      }
      tile.show(place, this.items.get(this.order[place]));
    }
    for (const tile of free) tile.node.remove();
    if (free.length) this.pool = this.pool.filter((tile) => !free.includes(tile));
    const at = this.order.indexOf(this.current);
    if (at >= first && at < last) this.scroller.setAttribute("aria-activedescendant", `${this.name}-${at}`);
    else this.scroller.removeAttribute("aria-activedescendant");
    this.askFor(places);
  }
  askFor(places) {
    clearTimeout(this.timer);
    const now = performance.now();
    const missing = places.map((place) => this.items.get(this.order[place])).filter((item) => {
      const key = `${item[ID]} ${item[STAMP]}`;
      return !this.urls.has(key) && !this.none.has(key) && !(now - this.asked.get(key) < AGAIN_AFTER_MS);
    }).slice(0, AT_ONCE);
    // What was asked for and has not come is asked for again: a question is lost if the kernel was restarted, for example.
    const waits = [...this.asked.values()].length > 0;
    if (!missing.length && !waits) return;
    this.timer = setTimeout(() => {
      for (const item of missing) this.asked.set(`${item[ID]} ${item[STAMP]}`, performance.now());
      if (missing.length) this.model.send({ kind: "thumbs", version: this.version, ids: missing.map((item) => item[ID]) });
      if (!missing.length) this.paint();
      else this.timer = setTimeout(() => this.paint(), AGAIN_AFTER_MS + 100);
    }, missing.length ? ASK_AFTER_MS : AGAIN_AFTER_MS);
  }
  said(item) {
    const flags = item[FLAGS];
    const words = [item[NAME], flags & KEEP && "kept", flags & REJECT && "rejected", !(flags & CAPTIONED) && "no caption", this.none.has(`${item[ID]} ${item[STAMP]}`) && LACKS.toLowerCase(), flags & UNSEEN && "not trained", item[NOTE]];
    return words.filter(Boolean).join(", ");
  }

  // ---- what the user does ----
  setCurrent(id) {
    if (id === this.current) return;
    this.current = id;
    this.tell({ kind: "go", id });
    this.announce();
  }
  clicked(place, event) {
    const id = this.order[place];
    if (event.shiftKey) this.chooseTo(place);
    else if (event.ctrlKey || event.metaKey || this.onCheck(event)) {
      this.turn(id);
      this.anchor = place;
    } else this.anchor = place;
    this.setCurrent(id);
    this.soon();
  }
  // The mark at the corner of a tile, which is drawn by the style sheet.
  onCheck(event) {
    const box = event.currentTarget.getBoundingClientRect();
    return event.detail > 0 && event.clientX - box.left < 32 && event.clientY - box.top < 32;
  }
  // The caption of this image gets the keyboard, once it is the one that is shown.
  open(tries = 100) {
    const editor = this.node.closest(".easel")?.querySelector(".easel-image");
    if (editor?.dataset.easelShown === String(this.current)) editor.querySelector("textarea").focus();
    else if (tries) requestAnimationFrame(() => { if (this.scroller.contains(document.activeElement)) this.open(tries - 1); });
  }
  turn(id) {
    if (!this.chosen.delete(id)) this.chosen.add(id);
    this.tellChosen();
  }
  chooseTo(place) {
    const [from, to] = [Math.min(this.anchor, place), Math.max(this.anchor, place)];
    for (let at = from; at <= to; at++) this.chosen.add(this.order[at]);
    this.tellChosen();
  }
  tellChosen() { this.tell({ kind: "choose", ids: [...this.chosen] }); }
  reveal(place) {
    if (place < 0 || !this.row) return;
    const [, y] = this.position(place), { scrollTop, clientHeight } = this.scroller;
    if (y - GAP < scrollTop) this.scroller.scrollTop = y - GAP;
    else if (y + this.row > scrollTop + clientHeight) this.scroller.scrollTop = y + this.row - clientHeight;
  }
  key(event) {
    const at = Math.max(0, this.order.indexOf(this.current));
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.row)) * this.columns;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page, Home: -at, End: this.order.length };
    const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key in moves && isPlain) this.move(at, moves[event.key], event.shiftKey);
    else if (event.key === " ") {
      if (event.shiftKey) this.chooseTo(at);
      else this.turn(this.order[at]);
      this.anchor = event.shiftKey ? this.anchor : at;
    } else if (event.key === "Enter") this.open();
    else if (event.key === "Escape" && this.chosen.size) {
      this.chosen.clear();
      this.tellChosen();
    } else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
      this.chosen = new Set(this.order);
      this.tellChosen();
    } else if (isPlain && ASKS[event.key.toLowerCase()]) {
      this.mark(this.order[at], ASKS[event.key.toLowerCase()]);
      this.move(at, 1, false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.soon();
  }
  // It is seen at once; the kernel writes it, and says how it is then.
  mark(id, mark) {
    const item = this.items.get(id);
    if (!item) return;
    const bit = mark === "keep" ? KEEP : REJECT, had = item[FLAGS] & bit;
    item[FLAGS] = (item[FLAGS] & ~(KEEP | REJECT)) | (had ? 0 : bit);
    this.tell({ kind: "mark", id, mark });
  }
  move(at, by, chooses) {
    const to = Math.min(Math.max(at + by, 0), this.order.length - 1);
    if (chooses) this.chooseTo(to);
    else this.anchor = to;
    this.setCurrent(this.order[to] ?? -1);
    this.reveal(to);
  }
}

let made = 0;

function render({ model, el }) {
  const images = new ImageList(model);
  el.append(images.node);
  const take = (message, buffers) => images.take(message, buffers);
  model.on("msg:custom", take);
  return () => {
    model.off("msg:custom", take);
    images.close();
  };
}

export default { render };
