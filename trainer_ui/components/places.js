// The places of an app as tabs. A choice shows its place at once; the kernel is told, and can choose a place itself.
// Source of keys and roles: WAI-ARIA Authoring Practices, "Tabs" with automatic activation.

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function scroller(node) {
  for (let at = node.parentElement; at; at = at.parentElement) {
    if (at.scrollHeight > at.clientHeight && /auto|scroll/.test(getComputedStyle(at).overflowY)) return at;
  }
  return document.scrollingElement;
}

class Tabs {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.node = element("div", "easel-tabs");
    this.node.setAttribute("role", "tablist");
    this.node.setAttribute("aria-label", "Places");
    this.tabs = new Map();
    this.places = new Map();
    for (const [id, title] of model.get("titles")) this.tabs.set(id, this.tab(id, title));
    this.node.append(...[...this.tabs.values()].map(({ button }) => button));
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.node.addEventListener("scroll", () => this.fade());
    // The row of tabs scrolls on a narrow page.
    this.wide = new ResizeObserver(() => this.reach());
    this.wide.observe(this.node);
  }
  // Brings the chosen tab into sight, without moving the page.
  reach() {
    const chosen = this.tabs.get(this.model.get("chosen"))?.button, row = this.node;
    if (chosen && row.scrollWidth > row.clientWidth) {
      const left = chosen.offsetLeft - row.offsetLeft, air = 48;
      if (left < row.scrollLeft + air) row.scrollLeft = left - air;
      else if (left + chosen.offsetWidth > row.scrollLeft + row.clientWidth - air) row.scrollLeft = left + chosen.offsetWidth + air - row.clientWidth;
    }
    this.fade();
  }
  fade() {
    const row = this.node, left = row.scrollWidth - row.clientWidth - row.scrollLeft;
    row.classList.toggle("easel-more-before", row.scrollLeft > 1);
    row.classList.toggle("easel-more-after", left > 1);
  }
  tab(id, title) {
    const button = element("button", "easel-tab", title);
    button.type = "button";
    button.setAttribute("role", "tab");
    button.addEventListener("click", () => this.choose(id));
    const live = element("span", "easel-live-dot");
    live.setAttribute("role", "img");
    live.setAttribute("aria-label", "in progress");
    const count = element("span", "easel-count");
    button.append(live, count);
    return { button, live, count };
  }
  key(event) {
    const ids = [...this.tabs.keys()];
    const at = ids.indexOf(this.model.get("chosen"));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: ids.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const id = ids[(to + ids.length) % ids.length];
    this.choose(id);
    this.tabs.get(id).button.focus();
  }
  choose(id) {
    if (this.model.get("chosen") === id) return;
    this.model.set("chosen", id);
    this.model.save_changes();
  }
  // Each place keeps how far it is scrolled, and a new one begins at its start, below the bar that stays in sight.
  scroll(root, chosen) {
    const top = root.querySelector(":scope > .easel-top");
    if (!top || this.at === chosen) return;
    // In a low window the top has no box (1-frame.css): then what counts is how much of the app is above the scrolled part.
    const begin = () => (scroller(root) === document.scrollingElement ? 0 : scroller(root).getBoundingClientRect().top);
    const below = () => Math.max(0, (top.offsetHeight ? top.getBoundingClientRect().top : begin()) - root.getBoundingClientRect().top);
    const far = below();
    if (this.at) this.places.set(this.at, far);
    this.at = chosen;
    if (far <= 0) return;
    requestAnimationFrame(() => { scroller(root).scrollTop += (this.places.get(chosen) ?? 0) - below(); });
  }
  show() {
    const root = this.el.closest(".easel");
    const chosen = this.model.get("chosen");
    if (root?.isConnected) this.scroll(root, chosen);
    const counts = this.model.get("counts");
    for (const [id, { button, live, count }] of this.tabs) {
      button.setAttribute("aria-selected", String(id === chosen));
      button.tabIndex = id === chosen ? 0 : -1;
      live.hidden = this.model.get("live") !== id;
      count.textContent = counts[id] ? counts[id].toLocaleString("en") : "";
      count.hidden = !counts[id];
      if (!root) continue;
      named(button);
      const panels = [...root.querySelectorAll(`:scope > .easel-at-${id}`)];
      set(button, "aria-controls", panels.map(named).join(" "));
      for (const panel of panels) {
        panel.setAttribute("role", "tabpanel");
        panel.setAttribute("aria-labelledby", button.id);
      }
      for (const part of root.querySelectorAll(`.easel-at-${id}`)) part.classList.toggle("easel-elsewhere", id !== chosen);
    }
    if (this.reached !== chosen) requestAnimationFrame(() => this.reach());
    this.reached = chosen;
    if (!root) return;
    frame(root);
    // The control that had the keyboard may be in the place that was left.
    const now = document.activeElement;
    if (root.contains(now) && now !== root && !seen(now)) this.tabs.get(chosen)?.button.focus();
  }
}

function render({ model, el }) {
  const tabs = new Tabs(model, el);
  el.append(tabs.node);
  const show = () => tabs.show();
  for (const name of ["chosen", "live", "counts"]) model.on(`change:${name}`, show);
  show();
  // The element is not in the page yet while it is rendered, and the places are rendered after it.
  let frames = 0;
  let waiting = requestAnimationFrame(function again() {
    show();
    const root = el.closest(".easel");
    const ready = root && [...tabs.tabs.keys()].every((id) => root.querySelector(`:scope > .easel-at-${id}`));
    if (!ready && frames++ < 600) waiting = requestAnimationFrame(again);
  });
  return () => {
    cancelAnimationFrame(waiting);
    tabs.wide.disconnect();
    for (const name of ["chosen", "live", "counts"]) model.off(`change:${name}`, show);
  };
}

export default { render };
