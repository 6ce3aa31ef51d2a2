// A list of things with buttons. Texts are only ever set as textContent. A button that needs agreement asks in its own row.

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function button(className, words, label, act) {
  const node = make("button", `jupyter-button easel-small ${className}`, words);
  node.type = "button";
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", act);
  return node;
}

class Items {
  constructor(model) {
    this.model = model;
    this.node = make("ul", "easel-acts");
    this.node.setAttribute("aria-label", model.get("title"));
    this.asking = null;
  }
  say(item, act) { this.model.send({ kind: "act", item, act }); }
  show() {
    const had = document.activeElement?.dataset?.easelAct;
    const place = had && this.node.contains(document.activeElement) ? had : null;
    const at = [...this.node.querySelectorAll("[data-easel-act]")].indexOf(document.activeElement);
    const items = this.model.get("items");
    const nodes = [];
    let group = "";
    for (const item of items) {
      if (item.group && item.group !== group) nodes.push(make("li", "easel-acts-group", item.group));
      group = item.group;
      nodes.push(this.row(item));
    }
    this.node.replaceChildren(...nodes);
    this.node.hidden = !nodes.length;
    if (!place) return;
    const all = [...this.node.querySelectorAll("[data-easel-act]")].filter((one) => !one.disabled);
    // The button that was pressed keeps the keyboard, also while it cannot be used: the thing that it belongs to is busy then.
    const pressed = place.replace(/ (sure|keep)$/, "");
    const same = [place, pressed].map((name) => [...this.node.querySelectorAll("[data-easel-act]")].find((one) => one.dataset.easelAct === name)).find(Boolean);
    if (same?.disabled) {
      same.disabled = false;
      same.setAttribute("aria-disabled", "true");
    }
    (same ?? all[Math.min(Math.max(at, 0), all.length - 1)])?.focus();
  }
  row(item) {
    const node = make("li", "easel-acts-item");
    const text = make("div", "easel-acts-text");
    text.append(make("b", "", item.title));
    if (item.text) text.append(make("span", "", item.text));
    node.append(text);
    if (item.aside) node.append(make("span", "easel-acts-aside", item.aside));
    if (typeof item.share === "number") {
      const bar = make("div", "easel-acts-bar"), fill = make("i");
      bar.setAttribute("role", "progressbar");
      bar.setAttribute("aria-label", `Progress of ${item.title}`);
      bar.setAttribute("aria-valuenow", String(Math.round(100 * item.share)));
      fill.style.width = `${Math.min(100, Math.max(0, 100 * item.share))}%`;
      bar.append(fill);
      text.append(bar);
    }
    const asked = item.acts.find((act) => this.asking === `${item.id} ${act.id}`);
    if (asked) node.append(this.question(item, asked));
    else for (const act of item.acts) node.append(this.button(item, act));
    return node;
  }
  button(item, act) {
    const node = button("easel-quiet", act.words, act.label, () => {
      if (!act.usable) return;
      if (!act.question) return this.say(item.id, act.id);
      this.ask(`${item.id} ${act.id}`);
      this.node.querySelector(".easel-acts-question [data-easel-act$=' keep']")?.focus();
    });
    node.dataset.easelAct = `${item.id} ${act.id}`;
    node.disabled = !act.usable;
    return node;
  }
  ask(what) { this.asking = what; this.show(); }
  question(item, act) {
    const node = make("div", "easel-acts-question");
    const text = make("span", "", act.question);
    text.setAttribute("role", "status");
    const sure = button("easel-stop", act.sure, "", () => { this.asking = null; this.say(item.id, act.id); });
    const keep = button("", "Keep it", "", () => {
      this.ask(null);
      [...this.node.querySelectorAll("[data-easel-act]")].find((one) => one.dataset.easelAct === `${item.id} ${act.id}`)?.focus();
    });
    sure.dataset.easelAct = `${item.id} ${act.id} sure`;
    keep.dataset.easelAct = `${item.id} ${act.id} keep`;
    node.append(text, sure, keep);
    return node;
  }
}

function render({ model, el }) {
  const items = new Items(model);
  el.append(items.node);
  const show = () => items.show();
  model.on("change:items", show);
  show();
  return () => model.off("change:items", show);
}

export default { render };
