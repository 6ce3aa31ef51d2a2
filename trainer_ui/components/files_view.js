// The files and commands of a start, read only; lines that another run had instead are marked with a sign and a colour.

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

const text = (value) => (typeof value === "string" ? value : "");
const list = (value) => (Array.isArray(value) ? value : []);
const SAID = { "+": "new: ", "-": "before: " };
const TOLD_MS = 1600;

// On an address without TLS, such as that of a rented machine, pages have no clipboard: the old way works there.
async function copy(content) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(content);
  const field = make("textarea");
  field.value = content;
  field.style.position = "fixed";
  field.style.opacity = "0";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("the browser refused");
}

class Files {
  constructor(model) {
    this.model = model;
    this.chosen = "";
    this.node = make("section", "easel-card easel-paper");
    this.node.setAttribute("aria-label", "Files and command");
    const head = make("div", "easel-paper-head");
    this.sub = make("span", "easel-paper-sub");
    this.against = make("select", "easel-paper-against");
    this.against.setAttribute("aria-label", "Compare with");
    this.against.addEventListener("change", () => this.model.send({ kind: "against", run: this.against.value }));
    head.append(make("h3", "", "Files and command"), this.sub, this.against, this.button("easel-quiet", "Close", () => this.close()));
    this.missing = make("ul", "easel-paper-missing");
    this.saves = make("p", "easel-paper-saves");
    this.sent = make("dl", "easel-paper-sent");
    this.body = make("div", "easel-paper-body");
    this.told = make("span", "easel-paper-told");
    this.told.setAttribute("role", "status");
    this.node.append(head, this.missing, this.saves, this.sent, this.body, this.told);
  }
  button(kind, name, act) {
    const button = make("button", `jupyter-button easel-small ${kind}`, name);
    button.type = "button";
    button.addEventListener("click", act);
    return button;
  }
  copier(name, content) {
    return this.button("easel-quiet", "Copy", async ({ currentTarget }) => {
      let said = `${name} is copied.`;
      try { await copy(content()); } catch { said = "The browser does not allow copying here. Select the text instead."; }
      currentTarget?.focus();
      this.told.textContent = said;
      setTimeout(() => { this.told.textContent = ""; }, TOLD_MS);
    });
  }
  show() {
    const content = this.model.get("content") ?? {};
    const files = list(content.files);
    const commands = list(content.commands);
    const had = this.node.contains(document.activeElement) ? document.activeElement.getAttribute("data-name") : null;
    const trainer = text(content.trainer);
    this.sub.textContent = trainer ? `what is sent to ${trainer}, and what runs there` : files.length ? "what will run, before it runs" : "";
    this.sent.replaceChildren(...list(content.sent).flatMap(([what, said]) => [make("dt", "", text(what)), make("dd", "", text(said))]));
    this.sent.hidden = !this.sent.childNodes.length;
    this.missing.replaceChildren(...list(content.missing).map((one) => make("li", "", text(one))));
    this.missing.hidden = !this.missing.childNodes.length;
    this.saves.textContent = list(content.saves).map(text).join(" ");
    this.saves.hidden = !this.saves.textContent;
    this.showRuns(list(content.runs), text(content.against));
    const scrolled = this.body.querySelector(".easel-paper-tabs")?.scrollLeft ?? 0;
    if (!files.some((file) => text(file.name) === this.chosen)) this.chosen = text(files[0]?.name);
    const left = make("div", "easel-paper-files");
    if (files.length) left.append(this.tabs(files), this.file(files.find((file) => text(file.name) === this.chosen)));
    const right = make("div", "easel-paper-commands");
    for (const command of commands) right.append(...this.command(command, commands.length > 1, trainer));
    if (commands.length) right.append(this.folder(text(content.folder), text(content.elsewhere)));
    this.body.replaceChildren(...(files.length ? [left, right] : []));
    if (files.length) left.firstChild.scrollLeft = scrolled;
    if (this.waits && files.length && this.node.contains(document.activeElement)) return this.open();
    if (had) [...this.node.querySelectorAll("[data-name]")].find((one) => one.getAttribute("data-name") === had)?.focus();
  }
  showRuns(runs, against) {
    this.against.hidden = !runs.length;
    this.against.replaceChildren(new Option("Do not compare", ""), ...runs.map(([id, title]) => new Option(`Compare with ${text(title)}`, text(id))));
    this.against.value = against;
  }
  tabs(files) {
    const tabs = make("div", "easel-paper-tabs");
    tabs.setAttribute("role", "tablist");
    tabs.setAttribute("aria-label", "Files");
    for (const file of files) {
      const name = text(file.name);
      const tab = make("button", "easel-paper-tab", name.split("/").at(-1));
      tab.type = "button";
      tab.title = name;
      tab.dataset.name = name;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-selected", String(name === this.chosen));
      tab.tabIndex = name === this.chosen ? 0 : -1;
      if (file.state) tab.append(make("span", "", ` ${text(file.state)}`));
      tab.addEventListener("click", () => this.choose(name));
      tabs.append(tab);
    }
    tabs.addEventListener("keydown", (event) => {
      const names = files.map((file) => text(file.name));
      const at = names.indexOf(this.chosen);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.choose(names[(to + names.length) % names.length]);
    });
    return tabs;
  }
  choose(name) {
    this.chosen = name;
    this.show();
    this.node.querySelector(".easel-paper-tab[aria-selected=true]")?.focus();
  }
  file(file) {
    const box = make("div", "easel-paper-file");
    box.setAttribute("role", "tabpanel");
    box.setAttribute("aria-label", text(file.name));
    const lines = list(file.lines);
    const code = this.code(text(file.name));
    for (const [sign, line] of lines) {
      const row = make("div", { "+": "easel-paper-new", "-": "easel-paper-old" }[sign] ?? "");
      if (SAID[sign]) row.append(make("span", "easel-paper-said", SAID[sign]));
      if (file.compared) row.append(make("i", "", sign === " " ? " " : text(sign).replace("-", "−")));
      row.append(text(line));
      code.append(row);
    }
    const whole = () => lines.filter(([sign]) => sign !== "-").map(([, line]) => text(line)).join("\n") + "\n";
    const foot = make("div", "easel-paper-foot");
    foot.append(make("span", "", text(file.note) || text(file.name)), this.copier(text(file.name), whole));
    box.append(code, foot);
    return box;
  }
  code(name) {
    const code = make("div", "easel-paper-code");
    code.tabIndex = 0;
    code.setAttribute("role", "group");
    code.setAttribute("aria-label", name);
    code.dataset.name = `code ${name}`;
    return code;
  }
  command(command, several, trainer) {
    const head = make("div", "easel-paper-foot");
    const title = trainer ? `Command on ${trainer}` : "Command";
    head.append(make("b", "", several ? `${title}: ${text(command.name)}` : title), this.copier("The command", () => text(command.text)));
    const code = this.code("Command");
    for (const line of text(command.text).split("\n")) code.append(make("div", "", line));
    const found = [head, code];
    const variables = list(command.environment);
    if (variables.length) {
      const more = make("details", "easel-paper-more");
      more.append(make("summary", "", variables.length === 1 ? "1 environment variable is added" : `${variables.length} environment variables are added`));
      const shown = this.code("Environment variables");
      for (const [name, value] of variables) shown.append(make("div", "", `${text(name)}=${text(value)}`));
      more.append(shown);
      found.push(more);
    }
    return found;
  }
  folder(folder, elsewhere) {
    const box = make("p", "easel-paper-note", elsewhere);
    if (elsewhere) return box;
    box.append("Start writes these files into a new run folder and runs the command there: ", make("code", "", folder));
    box.append(". Its real name begins with the time of the start. Your own environment variables are passed on; tokens are never written.");
    return box;
  }
  opener() { return this.node.closest(".easel")?.querySelector(".easel-opens-files"); }
  open() {
    this.opener()?.setAttribute("aria-expanded", "true");
    const tab = this.node.querySelector(".easel-paper-tab[aria-selected=true]");
    // The files come after the element.
    this.waits = !tab;
    (tab ?? this.node.querySelector(".easel-quiet")).focus({ preventScroll: true });
    // The bar at the top stays in sight and must not cover it.
    this.node.style.scrollMarginTop = "calc(var(--easel-covered, 140px) + 12px)";
    this.node.scrollIntoView({ block: "start" });
  }
  close() {
    const opener = this.opener();
    opener?.setAttribute("aria-expanded", "false");
    opener?.focus();
    this.model.send({ kind: "close" });
  }
}

function render({ model, el }) {
  const files = new Files(model);
  el.append(files.node);
  const show = () => files.show();
  const open = () => { if (model.get("opened")) requestAnimationFrame(() => files.open()); };
  model.on("change:content", show);
  model.on("change:opened", open);
  show();
  open();
  return () => {
    model.off("change:content", show);
    model.off("change:opened", open);
  };
}

export default { render };
