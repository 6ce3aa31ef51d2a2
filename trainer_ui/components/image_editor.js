// One image, large, with its caption. Everything from outside is only ever set as textContent or as the value of the field.
// Keys in the caption: Ctrl+Enter and Alt+arrow down save and go to the next image, Alt+arrow up to the one before; arrows and
// Enter or Tab take a suggested tag. Escape closes the suggestions, then gives the keyboard back to the list.

const PAUSE_MS = 400, MOST_OFFERED = 7, LATEST_MS = 8000;
const MARKED = { k: "keep", r: "reject" };
const NONE = "easel-image-none";

// To another image: the next one, or the one before.
const isWay = (key, isCommand, isAlt) => (isCommand && key === "Enter") || (isAlt && (key === "ArrowDown" || key === "ArrowUp"));

class Editor {
  constructor(model) {
    this.model = model;
    this.content = {};
    this.isDirty = false;
    this.offered = [];
    this.pressed = []; // Keys that wait for their image.
    this.pick = -1;
    this.name = `easel-image-${++drawn}`;
    this.node = make("section", "easel-image");
    this.node.setAttribute("aria-label", "The image and its caption");
    this.build();
    model.send({ kind: "hello" });
    this.show();
  }
  build() {
    this.stage = make("div", "easel-image-stage");
    this.image = make("img");
    this.crop = make("div", "easel-image-crop");
    this.crop.setAttribute("aria-hidden", "true");
    this.frame = make("div", "easel-image-frame");
    this.frame.append(this.image, this.crop);
    this.stage.append(this.frame);
    this.title = make("p", "easel-image-name");
    this.facts = make("p", "easel-image-facts");
    this.findings = make("ul", "easel-image-findings");
    const moves = make("div", "easel-image-moves");
    this.before = button("‹", "easel-small", () => this.go(-1));
    this.before.setAttribute("aria-label", "The image before");
    this.after = button("›", "easel-small", () => this.go(1));
    this.after.setAttribute("aria-label", "The next image");
    this.place = make("span", "easel-image-place");
    this.keep = button("Keep", "easel-small", () => this.mark("keep"));
    this.reject = button("Reject", "easel-small", () => this.mark("reject"));
    moves.append(this.before, this.place, this.after, this.keep, this.reject);
    this.label = make("label", "", "Caption");
    this.field = make("textarea");
    this.field.id = `${this.name}-caption`;
    this.field.rows = 5;
    this.field.spellcheck = false;
    this.label.htmlFor = this.field.id;
    this.field.setAttribute("aria-autocomplete", "list");
    this.field.setAttribute("aria-controls", `${this.name}-offers`);
    this.field.setAttribute("aria-describedby", `${this.name}-told`);
    this.offers = make("ul", "easel-image-offers");
    this.offers.id = `${this.name}-offers`;
    this.offers.setAttribute("role", "listbox");
    this.offers.setAttribute("aria-label", "Tags of this dataset");
    this.offers.hidden = true;
    this.told = make("p", "easel-image-told");
    this.told.id = `${this.name}-told`;
    this.said = make("p", "easel-image-said");
    this.said.setAttribute("role", "status");
    this.caption = make("div", "easel-image-caption");
    this.caption.append(this.label, this.field, this.offers, this.told);
    this.node.append(this.title, this.stage, moves, this.facts, this.findings, this.caption, this.said);
    this.field.addEventListener("input", () => this.typed());
    this.field.addEventListener("keydown", (event) => this.key(event));
    this.field.addEventListener("blur", () => { this.close(); this.save(); });
    this.node.addEventListener("keydown", (event) => this.shortcut(event));
    this.left = () => this.save();
    window.addEventListener("pagehide", this.left);
    this.other = ({ detail }) => this.expect(detail);
    window.addEventListener("easel-current", this.other);
  }
  // This image was chosen, and its caption may still be on its way. What is shown before it was only passed.
  expect({ root, id }) {
    if (!root?.contains(this.node)) return;
    this.awaited = id;
    if (id === this.content.id) return void this.arrived();
    this.save();
    this.wait();
  }
  wait() {
    clearTimeout(this.late);
    this.isWaiting = true;
    this.field.readOnly = true;
    this.late = setTimeout(() => { this.pressed = []; this.arrived(); }, LATEST_MS);
  }
  // Keys that were pressed meanwhile were meant for the image that arrives now.
  arrived() {
    clearTimeout(this.late);
    this.isWaiting = false;
    this.field.readOnly = Boolean(this.content.locked);
    while (this.pressed.length && !this.isWaiting) this.press(this.pressed.shift());
  }
  press({ key, isCommand, isAlt }) {
    const { field } = this, [start, end] = [field.selectionStart, field.selectionEnd], isEmpty = start === end;
    if (isWay(key, isCommand, isAlt)) return this.go(key === "ArrowUp" ? -1 : 1);
    if (isCommand && key.toLowerCase() === "a") return field.select();
    if (field.readOnly || isCommand || isAlt) return;
    if (key === "Backspace") field.setRangeText("", isEmpty ? Math.max(0, start - 1) : start, end, "end");
    else if (key === "Delete") field.setRangeText("", start, isEmpty ? end + 1 : end, "end");
    else if (key === "Home" || key === "End") return field.setSelectionRange(...(key === "Home" ? [0, 0] : [field.value.length, field.value.length]));
    else if (key === "Enter" || [...key].length === 1) field.setRangeText(key === "Enter" ? "\n" : key, start, end, "end");
    else return;
    this.changed();
  }

  // ---- what the kernel says ----
  show() {
    const now = this.model.get("content"), { content } = this;
    const isOther = now.id !== content.id || now.version !== content.version;
    if (isOther) this.save();
    if (now.version !== content.version) this.awaited = undefined;
    this.content = now;
    this.node.hidden = !(now.id >= 0);
    this.node.dataset.easelShown = String(now.id);
    if (this.node.hidden) return;
    if (isOther || now.stamp !== content.stamp) this.load(isOther);
    put(this.title, now.name);
    put(this.facts, now.facts);
    put(this.place, now.place);
    this.before.disabled = !now.hasBefore;
    this.after.disabled = !now.hasAfter;
    this.findings.replaceChildren(...list(now.findings).map(({ text: words, tone }) => make("li", `easel-${tone}`, words)));
    for (const [node, mark] of [[this.keep, "keep"], [this.reject, "reject"]]) {
      node.setAttribute("aria-pressed", String(now.mark === mark));
      node.classList.toggle("mod-active", now.mark === mark);
    }
    // What is being typed is newer than what the kernel read.
    if (isOther || !this.isDirty) {
      this.isDirty = false;
      this.base = now.base;
      if (this.field.value !== now.caption) this.field.value = now.caption;
    }
    put(this.told, now.told);
    put(this.said, text(now.said));
    if (this.awaited !== undefined && this.awaited !== now.id) { if (isOther) this.wait(); }
    else if (isOther || !this.isWaiting) this.arrived();
  }
  load(isOther) {
    if (isOther) this.image.removeAttribute("src");
    this.stage.classList.remove(NONE);
    this.image.alt = this.content.name;
    this.crop.hidden = true;
    this.model.send({ kind: "image", id: this.content.id, version: this.content.version });
  }
  take({ kind, id, version, type }, buffers) {
    if (kind !== "image" || id !== this.content.id || version !== this.content.version) return;
    this.stage.classList.toggle(NONE, !type);
    if (!type) return;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(new Blob([buffers[0]], { type }));
    this.image.src = this.url;
    this.showCrop();
  }
  // What the training cuts off, as shares of the sides.
  showCrop() {
    const crop = this.content.crop;
    this.crop.hidden = !(Array.isArray(crop) && crop.every(known) && crop.some((share) => share > 0.002));
    if (!this.crop.hidden) this.crop.style.inset = crop.map((share) => `${(100 * share).toFixed(2)}%`).join(" ");
  }

  // ---- what the user does ----
  // The list knows which image follows; without one, the kernel does.
  go(by) {
    this.save();
    const asked = new CustomEvent("easel-go", { detail: { root: this.node.closest(".easel"), by }, cancelable: true });
    if (window.dispatchEvent(asked)) this.model.send({ kind: "go", by });
  }
  // With the keyboard on a button beside the caption, the keys of the list work, too.
  shortcut(event) {
    if (event.target === this.field || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], mark = MARKED[event.key.toLowerCase()];
    if (!by && !mark) return;
    if (mark) this.mark(mark);
    this.go(by ?? 1);
    event.preventDefault();
    event.stopPropagation();
  }
  mark(mark) { this.model.send({ kind: "mark", id: this.awaited ?? this.content.id, version: this.content.version, mark }); }
  typed() {
    this.changed();
    this.offer();
  }
  changed() {
    this.isDirty = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell("draft"), PAUSE_MS);
  }
  // A text belongs to the image at which it was typed, whatever is shown when it arrives, and to what the file had then.
  tell(kind) { this.model.send({ kind, id: this.content.id, version: this.content.version, text: this.field.value, base: this.base }); }
  save() {
    clearTimeout(this.timer);
    if (!this.isDirty || !(this.content.id >= 0)) return;
    this.tell("save");
    this.isDirty = false;
  }
  key(event) {
    if (event.isComposing) return;
    const isOpen = !this.offers.hidden, { key, altKey: isAlt } = event, isCommand = event.ctrlKey || event.metaKey;
    if (this.isWaiting && key !== "Escape" && key !== "Tab") this.pressed.push({ key, isCommand, isAlt });
    else if (isWay(key, isCommand, isAlt)) this.go(key === "ArrowUp" ? -1 : 1);
    else if (isOpen && (event.key === "ArrowDown" || event.key === "ArrowUp")) this.choose(this.pick + (event.key === "ArrowDown" ? 1 : -1));
    else if (isOpen && (event.key === "Enter" || event.key === "Tab") && this.pick >= 0) this.accept(this.offered[this.pick]);
    else if (event.key === "Escape" && isOpen) this.close();
    else if (event.key === "Escape") { this.save(); this.node.closest(".easel")?.querySelector(".easel-list-scroller")?.focus(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // ---- suggestions ----
  piece() {
    const end = this.field.selectionStart, start = Math.max(this.field.value.lastIndexOf(",", end - 1), this.field.value.lastIndexOf("\n", end - 1)) + 1;
    return [start, end, this.field.value.slice(start, end).trimStart()];
  }
  offer() {
    const [, end, written] = this.piece();
    const rest = this.field.value.slice(end);
    const wanted = written.toLowerCase();
    // Only at the end of a tag: in its middle the user mends a word.
    const fits = wanted.length >= 2 && /^\s*(,|\n|$)/.test(rest);
    const words = fits ? list(this.model.get("vocabulary")) : [];
    const starts = words.filter(([tag]) => tag.toLowerCase().startsWith(wanted) && tag.toLowerCase() !== wanted);
    const inside = words.filter(([tag]) => tag.toLowerCase().includes(` ${wanted}`));
    this.offered = [...new Map([...starts, ...inside]).entries()].slice(0, MOST_OFFERED);
    this.offers.replaceChildren(...this.offered.map(([tag, number], at) => {
      const row = make("li", "", tag);
      row.id = `${this.name}-offer-${at}`;
      row.setAttribute("role", "option");
      row.append(make("small", "", count(number)));
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); this.accept(this.offered[at]); });
      return row;
    }));
    this.offers.hidden = !this.offered.length;
    this.choose(-1);
  }
  choose(at) {
    this.pick = this.offered.length ? Math.min(Math.max(at, -1), this.offered.length - 1) : -1;
    [...this.offers.children].forEach((row, place) => row.setAttribute("aria-selected", String(place === this.pick)));
    if (this.pick >= 0) this.field.setAttribute("aria-activedescendant", `${this.name}-offer-${this.pick}`);
    else this.field.removeAttribute("aria-activedescendant");
  }
  accept([tag]) {
    const [start, end] = this.piece();
    const air = start && this.field.value[start - 1] === "," ? " " : "";
    this.field.setRangeText(`${air}${tag}`, start, end, "end");
    this.close();
    this.changed();
  }
  close() {
    this.offers.hidden = true;
    this.offered = [];
    this.choose(-1);
  }
  end() {
    this.save();
    clearTimeout(this.late);
    window.removeEventListener("pagehide", this.left);
    window.removeEventListener("easel-current", this.other);
    if (this.url) URL.revokeObjectURL(this.url);
  }
}

let drawn = 0;

function render({ model, el }) {
  const editor = new Editor(model);
  el.append(editor.node);
  const show = () => editor.show();
  const take = (message, buffers) => editor.take(message ?? {}, buffers);
  model.on("change:content", show);
  model.on("msg:custom", take);
  return () => {
    model.off("change:content", show);
    model.off("msg:custom", take);
    editor.end();
  };
}

export default { render };
