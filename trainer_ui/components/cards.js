// Cards as a radio group: the arrow keys choose the next one. The kernel decides which is chosen.
// Source of keys and roles: WAI-ARIA Authoring Practices, "Radio Group".

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  person: ["M6.800 6.500a3.200 3.200 0 1 0 6.400 0a3.200 3.200 0 1 0-6.400 0", "M3.800 17c.4-3.800 2.800-5.600 6.200-5.600s5.800 1.800 6.200 5.600"],
  brush: ["M16.800 3.200c-3 1.200-6.300 4-8.300 7l1.800 1.600c2.800-2.200 5.500-5.600 6.500-8.600z", "M8.300 10.600c-2-.3-3.200.9-3.400 2.700-.1 1.300-.8 2-1.900 2.300 2.600 1.600 6.600.6 7-2.900"],
  cube: ["m10 2.800 6.500 3.600v7.200L10 17.200l-6.500-3.600V6.400z", "m3.500 6.400 6.500 3.700 6.500-3.700M10 10.100v7.100"],
  camera: ["M2.800 6.200h3.500l1.400-2h4.600l1.400 2h3.500v9.600H2.800z", "M7 10.700a3 3 0 1 0 6 0a3 3 0 1 0-6 0"],
  spark: ["M8.500 3c.5 4.200 1.800 5.600 6 6.200-4.200.6-5.500 2-6 6.200-.5-4.200-1.800-5.600-6-6.200 4.200-.6 5.500-2 6-6.200z", "M15.500 12.500c.2 1.800.8 2.400 2.500 2.600-1.700.2-2.300.8-2.500 2.600-.2-1.800-.8-2.400-2.500-2.600 1.700-.2 2.300-.8 2.500-2.600z"],
  tag: ["M3.200 3.200h6.600l7 7-6.600 6.600-7-7z", "M5.600 6.700a1.100 1.100 0 1 0 2.200 0a1.100 1.100 0 1 0-2.200 0"],
  server: ["M3 3.500h14v5H3z", "M3 11.500h14v5H3z", "M5.800 6h.1M5.800 14h.1M9 6h5M9 14h5"],
  speech: ["M3 3.800h14v9.400H9.500L5.500 17v-3.800H3z", "M6.200 7.200h7.600M6.200 9.900h5"],
  star: ["m10 3 2.100 4.500 4.900.6-3.600 3.400.9 4.900L10 14l-4.300 2.400.9-4.900L3 8.100l4.900-.6z"],
};

function icon(name) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("viewBox", "0 0 20 20");
  drawn.setAttribute("aria-hidden", "true");
  drawn.setAttribute("class", "easel-icon");
  for (const line of ICONS[name] ?? ICONS.star) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    drawn.append(path);
  }
  return drawn;
}

function text(tag, content) {
  const node = document.createElement(tag);
  node.textContent = content;
  return node;
}

class Cards {
  constructor(model, el) {
    this.model = model;
    this.node = document.createElement("div");
    this.node.className = "easel-cards";
    this.node.setAttribute("role", "radiogroup");
    this.node.setAttribute("aria-label", model.get("label"));
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.buttons = [];
    el.classList.add("easel-cards-frame");
    el.append(this.node);
    this.make();
  }
  make() {
    const had = this.buttons.find((one) => one === document.activeElement)?.dataset.id;
    this.buttons = this.model.get("cards").map((card) => this.card(card));
    this.node.replaceChildren(...this.buttons);
    this.show();
    this.buttons.find((one) => one.dataset.id === had)?.focus();
  }
  card({ id, title, what, icon: name, mine }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "easel-card-choice";
    button.classList.toggle("easel-is-mine", Boolean(mine));
    button.dataset.id = id;
    button.setAttribute("role", "radio");
    button.append(...(name ? [icon(name)] : []), text("b", title), text("small", what));
    button.addEventListener("click", () => this.choose(button));
    return button;
  }
  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = this.buttons.indexOf(document.activeElement);
    if (!step || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.buttons.at((at + step) % this.buttons.length);
    next.focus();
    this.choose(next);
  }
  choose(button) {
    this.mark(button.dataset.id);
    this.model.send({ kind: "choose", id: button.dataset.id });
  }
  show() {
    this.mark(this.model.get("chosen"));
  }
  mark(chosen) {
    const is = (one) => one.dataset.id === chosen;
    const reached = this.buttons.find(is) ?? this.buttons[0];
    for (const one of this.buttons) {
      one.setAttribute("aria-checked", String(is(one)));
      one.tabIndex = one === reached ? 0 : -1;
    }
  }
}

function render({ model, el }) {
  const cards = new Cards(model, el);
  const make = () => cards.make(), show = () => cards.show();
  model.on("change:cards", make);
  model.on("change:chosen", show);
  // The kernel may keep what was chosen before: then nothing changes, and the page must not keep its own mark.
  model.on("msg:custom", show);
  return () => {
    model.off("change:cards", make);
    model.off("change:chosen", show);
    model.off("msg:custom", show);
  };
}

export default { render };
