// One sample in full size, with a slider through its steps. Texts are only ever set as textContent.

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

const STAR = "M10 2.6l2.3 4.7 5.1.7-3.7 3.6.9 5.1-4.6-2.4-4.6 2.4.9-5.1L2.600 8l5.100-.7z";

function star() {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 20 20");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", STAR);
  icon.append(path);
  return icon;
}

function press(className, label, text, act) {
  const button = make("button", className, text);
  button.type = "button";
  if (label) button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  return button;
}

const FULL_AFTER_MS = 120;

class Big {
  // `images` gives addresses of images, `chosen(row, column)` is called when the user moves, `close` when they close it.
  constructor(images, chosen, close, prefer) {
    this.images = images;
    this.best = press("easel-sg-star", "", "", () => prefer(this.steps[this.at].key));
    this.best.append(star());
    this.chosen = chosen;
    this.node = make("figure", "easel-sg-big");
    this.image = make("img");
    this.step = make("div", "easel-sg-step");
    this.prompt = make("div", "easel-sg-prompt");
    this.back = press("easel-sg-move", "Previous step", "‹", () => this.move(-1));
    this.on = press("easel-sg-move", "Next step", "›", () => this.move(1));
    this.shut = press("easel-sg-move easel-sg-close", "Close the large image", "×", close);
    const says = make("div", "easel-sg-says");
    says.append(this.step, this.prompt);
    const line = make("figcaption", "easel-sg-line");
    line.append(says, this.best, this.back, this.on, this.shut);
    this.slider = make("input", "easel-sg-slider");
    this.slider.type = "range";
    this.slider.min = "0";
    this.slider.step = "1";
    this.slider.setAttribute("aria-label", "Step of the sample");
    this.slider.addEventListener("input", () => this.to(Number(this.slider.value)));
    this.node.append(this.image, line, this.slider);
    this.node.hidden = true;
  }
  show(content, row, key) {
    this.row = row;
    this.steps = content.columns.filter((column) => column.images[row] >= 0);
    const at = this.steps.findIndex((column) => column.key === key);
    this.node.hidden = at < 0;
    if (at < 0) return false;
    const column = this.steps[at];
    const text = content.rows[row]?.text ?? "";
    this.at = at;
    this.step.replaceChildren(make("b", "", column.said ?? column.title));
    // Not "of", alone: beside a step it would read as the length of the run.
    if (content.mode === "watch" && this.steps.length > 1) this.step.append(`, sample ${at + 1} of ${this.steps.length}`);
    this.prompt.textContent = text;
    this.best.hidden = content.mode !== "compare" || column.star === null;
    this.best.setAttribute("aria-pressed", String(column.star === true));
    this.best.setAttribute("aria-label", column.star ? `${column.said} is the best: take the mark away` : `Mark ${column.said} as the best`);
    this.image.alt = [text, column.said ?? column.title].filter(Boolean).join(", ");
    this.slider.max = String(this.steps.length - 1);
    this.slider.value = String(at);
    this.slider.disabled = this.steps.length < 2;
    this.slider.setAttribute("aria-valuetext", column.said ?? column.title);
    this.slider.style.setProperty("--sg-at", this.steps.length > 1 ? at / (this.steps.length - 1) : 0);
    this.back.disabled = at === 0;
    this.on.disabled = at === this.steps.length - 1;
    this.fetch(column.images[row]);
    return true;
  }
  fetch(index) {
    if (this.index === index && this.image.src) return;
    this.index = index;
    clearTimeout(this.timer);
    const small = this.images.known(index, "small");
    const full = this.images.known(index, "full");
    if (full ?? small) this.image.src = full ?? small;
    else this.image.removeAttribute("src");
    if (full) return;
    // While the slider is moved only small images are shown.
    this.timer = setTimeout(() => this.images.want(index, "full", (url) => {
      if (this.index === index && url) this.image.src = url;
    }), FULL_AFTER_MS);
  }
  move(by) { this.to(this.at + by); }
  to(at) {
    const column = this.steps[Math.max(0, Math.min(this.steps.length - 1, at))];
    if (column) this.chosen(this.row, column.key);
  }
}

// Asks the kernel for images, a few at a time, and keeps their addresses.
class Images {
  constructor(model) {
    this.model = model;
    this.clear(0);
  }
  clear(version) {
    for (const url of this.urls?.values() ?? []) if (url) URL.revokeObjectURL(url);
    this.urls = new Map();
    this.waiting = new Map();
    this.queue = [];
    this.asked = 0;
    this.version = version;
  }
  known(index, size) { return this.urls.get(`${size} ${index}`); }
  want(index, size, then) {
    const key = `${size} ${index}`;
    if (this.urls.has(key)) return then(this.urls.get(key));
    if (this.waiting.has(key)) return this.waiting.get(key).push(then);
    this.waiting.set(key, [then]);
    if (size === "full") this.model.send({ kind: "images", version: this.version, size, wanted: [index] });
    else {
      this.queue.push(index);
      this.soon ??= requestAnimationFrame(() => { this.soon = null; this.ask(); });
    }
  }
  // A tile that was scrolled away before it was asked for is not needed.
  forget(index) {
    const at = this.queue.indexOf(index);
    if (at < 0) return;
    this.queue.splice(at, 1);
    this.waiting.delete(`small ${index}`);
  }
  ask() {
    while (this.queue.length && this.asked < 2) {
      this.asked += 1;
      this.model.send({ kind: "images", version: this.version, size: "small", wanted: this.queue.splice(0, 8) });
    }
  }
  take(message, buffers) {
    const { version, size, items } = message;
    if (version !== this.version || !Array.isArray(items)) return;
    items.forEach(({ index, type }, at) => {
      const key = `${size} ${index}`;
      const url = type === "image/jpeg" ? URL.createObjectURL(new Blob([buffers[at]], { type })) : "";
      this.urls.set(key, url);
      for (const then of this.waiting.get(key) ?? []) then(url);
      this.waiting.delete(key);
    });
    if (size !== "small") return;
    this.asked = Math.max(0, this.asked - 1);
    this.ask();
  }
}
