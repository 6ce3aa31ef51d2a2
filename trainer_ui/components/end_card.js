// How a run stands when it does not train: what happened, the line that shows it, what to do, and what is left of it.

const SIGNS = { danger: "!", warn: "■", ok: "✓", muted: "·" };

class EndCard {
  constructor(model) {
    this.model = model;
    this.node = make("section", "easel-end");
    this.chosen = null;
    this.told = "";
    this.show();
  }
  act(id, more = {}) { this.model.send({ kind: "act", id, ...more }); }
  show() {
    const content = this.model.get("content") ?? {};
    const key = JSON.stringify(content);
    if (key === this.told) return;
    const had = this.node.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    if (content.run !== this.run) { this.run = content.run; this.chosen = null; }
    this.told = key;
    this.node.hidden = !content.title;
    this.node.className = `easel-end easel-tone-${text(content.tone)}`;
    this.node.setAttribute("aria-label", "How the run stands");
    this.node.replaceChildren(...(content.title ? this.parts(content) : []));
    if (had !== null) (this.node.querySelector(`[data-id="${had}"]`) ?? this.node.querySelector("button"))?.focus();
  }
  parts(content) {
    const head = make("div", "easel-end-head");
    const sign = make("span", "easel-end-sign", SIGNS[content.tone] ?? "·");
    sign.setAttribute("aria-hidden", "true");
    const said = make("div");
    const title = make("h3", "", content.title);
    // On the part around the heading: a heading with another role would be no heading any more.
    said.setAttribute("role", content.tone === "danger" ? "alert" : "status");
    said.append(title);
    if (content.text) said.append(make("p", "", content.text));
    head.append(sign, said);
    const parts = [head];
    if (content.line) {
      const box = make("div", "easel-end-line");
      box.append(make("h4", "", "The line that says so"), make("code", "", content.line));
      parts.push(box);
    }
    if (list(content.rows).length) {
      const table = make("div", "easel-pairs-grid");
      for (const [label, value] of content.rows) table.append(make("span", "", label), make("span", "", value));
      parts.push(table);
    }
    if (content.advice || list(content.fixes).length || content.looking) parts.push(this.whatToDo(content));
    if (content.kept?.text) parts.push(this.kept(content.kept));
    if (list(content.actions).length) parts.push(this.buttons(content));
    return parts;
  }
  whatToDo({ advice, fixes, looking }) {
    const box = make("div", "easel-end-do");
    box.append(make("h4", "", "What to do"));
    if (advice) box.append(make("p", "", advice));
    if (looking) box.append(make("p", "easel-muted", looking));
    const rows = list(fixes);
    if (!rows.length) return box;
    this.chosen = rows.some(({ number }) => number === this.chosen) ? this.chosen : rows[0].number;
    const group = make("div", "easel-choice");
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", "Changes that may help");
    for (const { number, title, changes, note } of rows) {
      const row = make("label", "easel-option");
      const dot = make("input");
      dot.type = "radio";
      dot.name = "easel-fix";
      dot.value = String(number);
      dot.checked = number === this.chosen;
      dot.dataset.id = `fix${number}`;
      dot.addEventListener("change", () => { this.chosen = number; });
      const words = make("span");
      words.append(make("b", "", title), make("small", "", list(changes).join(", ")));
      row.append(dot, words);
      if (note) row.append(make("em", "", note));
      group.append(row);
    }
    box.append(group);
    return box;
  }
  kept({ text: said, button: words }) {
    const row = make("div", "easel-end-kept");
    row.append(make("p", "", said));
    if (words) row.append(this.button({ id: "results", title: words }, "easel-small"));
    return row;
  }
  buttons({ actions, busy }) {
    const row = make("div", "easel-end-actions");
    for (const action of actions) {
      const look = action.look === "primary" ? "mod-primary" : action.look === "quiet" ? "easel-quiet" : "";
      const found = this.button(action, `${action.brief ? "easel-two" : ""} ${look}`);
      found.disabled = Boolean(busy);
      row.append(found);
    }
    return row;
  }
  button({ id, title, brief }, look) {
    const found = button(brief ? "" : title, look, () => this.act(id, id === "mend" ? { number: this.chosen } : {}));
    if (brief) twoLines(found, title, brief);
    found.dataset.id = id;
    return found;
  }
}

function render({ model, el }) {
  const card = new EndCard(model);
  el.append(card.node);
  const show = () => card.show();
  model.on("change:content", show);
  return () => model.off("change:content", show);
}

export default { render };
