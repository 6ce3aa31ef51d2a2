// What holds for every control of an app: JupyterLab takes none of its keys, its help is tied to it, groups say whether they
// are open, and the keyboard keeps its place when the control that has it disappears. places.py puts this before places.js.

const FOCUSABLE = "button, input, select, textarea, summary, a[href], [tabindex]";
let made = 0;

function frame(root) {
  if (root.dataset.easelKeys) return;
  root.dataset.easelKeys = "kept";
  // A click beside the controls gives the keyboard to the app, and not to the cell, whose keys delete it.
  if (!root.hasAttribute("tabindex")) root.tabIndex = -1;
  keepKeys(root);
  keepTyped(root);
  closePanels(root);
  takeEnter(root);
  keepPress(root);
  const check = keepFocus(root);
  const begin = takeKeyboard(root);
  const stay = keepInSight(root);
  const offer = skipTo(root);
  let waits = false;
  const look = () => {
    waits = false;
    tell(root);
    check();
    stick(root);
    begin();
    stay();
    offer();
  };
  const soon = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(look);
  };
  const changes = new MutationObserver(soon);
  changes.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "aria-pressed", "disabled", "hidden"] });
  new ResizeObserver(soon).observe(root);
  look();
}

// On a narrow page only the buttons of the bar stay in sight: the whole bar would cover a third of it.
function stick(root) {
  const whole = root.querySelector(":scope > .easel-top");
  if (!whole) return;
  const actions = [...whole.querySelectorAll(".easel-actions")].find(seen);
  const top = whole.offsetHeight ? whole : barOf(whole) ?? whole;
  const hidden = actions ? actions.getBoundingClientRect().top - top.getBoundingClientRect().top - 8 : top.offsetHeight;
  root.style.setProperty("--easel-stick", `${-Math.max(0, Math.round(hidden))}px`);
  const sticks = parseFloat(getComputedStyle(top).top) || 0;
  root.style.setProperty("--easel-covered", `${Math.round(top.offsetHeight + sticks)}px`);
}

// In a low window the top has no box, and the bar alone stays in sight (1-frame.css).
function barOf(top) {
  return [...top.querySelectorAll(".easel-ready, .easel-run-bar")].find((bar) => seen(bar) && bar.offsetHeight);
}

// A bar that grows, or a list that appears, moves the page: the control that has the keyboard does not leave the sight with it.
function keepInSight(root) {
  let was = null;
  const focused = () => {
    const node = document.activeElement;
    return node !== root && root.contains(node) && !node.closest(".easel-top") ? node : null;
  };
  const inSight = (node) => {
    const box = node.getBoundingClientRect();
    const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return root.contains(hit) && !hit.closest(".easel-top");
  };
  let waits = false;
  let came = false;
  const look = () => {
    const node = focused();
    // The browser scrolls to the caret of a text, and the bar may cover that.
    if (came && node && !inSight(node)) node.scrollIntoView({ block: "nearest" });
    waits = came = false;
    was = node && inSight(node) ? node : null;
  };
  const soon = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(look);
  };
  root.addEventListener("focusin", () => { came = true; soon(); });
  document.addEventListener("scroll", soon, { capture: true, passive: true });
  return () => {
    const node = focused();
    if (node && was === node && !inSight(node)) node.scrollIntoView({ block: "nearest" });
  };
}

// The user ran the cell to see the app, so the app gets the keyboard: JupyterLab leaves it in the new, empty cell below, where
// Tab only indents. Not if the user already writes in another cell, or is elsewhere, such as in a menu.
function takeKeyboard(root) {
  let isDone = false;
  return () => {
    const tab = root.querySelector(".easel-head [role=tab][aria-selected=true]");
    if (isDone || !tab || !root.isConnected || !seen(tab)) return;
    isDone = true;
    const now = document.activeElement;
    const isHere = now?.closest(".jp-Notebook")?.contains(root) && !root.contains(now);
    const writes = now?.closest(".cm-content")?.textContent.trim();
    if (isHere && !writes) tab.focus({ preventScroll: true });
  };
}

// JupyterLab's shortcuts match the focused element itself, so the mark must be on it and not only on the app: in command
// mode "x" on a dropdown would delete the cell. Source: Lumino, packages/commands, targetDistance.
function keepKeys(root) {
  root.addEventListener("focusin", ({ target }) => { target.dataset.lmSuppressShortcuts = "true"; });
  // Except to save the notebook, which the user expects of Ctrl+S everywhere; else the browser would offer to save the page.
  window.addEventListener("keydown", (event) => {
    const saves = event.key.toLowerCase() === "s" && (event.ctrlKey || event.metaKey) && !event.altKey;
    if (!saves || !root.contains(event.target)) return;
    const marked = [];
    for (let node = event.target; node; node = node.parentElement) if (node.dataset.lmSuppressShortcuts) marked.push(node);
    for (const node of marked) delete node.dataset.lmSuppressShortcuts;
    setTimeout(() => { for (const node of marked) node.dataset.lmSuppressShortcuts = "true"; });
  }, true);
}

// ---- what is being typed -----------------------------------------------------------------------------------------

const WORDS_AFTER_MS = 500;
const REST_AFTER_MS = 1500; // A path or a number that is half typed is another one.
// The numbers that the kernel shows as they were typed: any other one would be rewritten under the user's hands.
const KEPT_NUMBER = /^(0|[1-9]\d*|\d+\.\d*[1-9]|[1-9](\.\d*[1-9])?e-\d+)$/;
const NUMBER = /^[\d.,e+-]*$/i;

// What was typed in Prepare, or into the form of a tool, is kept when the user pauses, not only when they leave the field: the tab may be closed before.
function keepTyped(root) {
  let timer = 0;
  const wait = ({ target, isComposing }) => {
    clearTimeout(timer);
    if (isComposing || !target.matches?.(":is(.easel-at-prepare, .easel-tool-form) :is(.widget-text input, textarea)")) return;
    const text = target.value;
    const isNumber = NUMBER.test(text);
    // A space at the end is followed by another word.
    if (text !== text.trim() || (isNumber && text && !KEPT_NUMBER.test(text))) return;
    timer = setTimeout(() => {
      if (document.activeElement === target) target.dispatchEvent(new Event("change", { bubbles: true }));
    }, text && (isNumber || /[/\\:]/.test(text)) ? REST_AFTER_MS : WORDS_AFTER_MS);
  };
  root.addEventListener("input", wait);
  root.addEventListener("compositionend", wait);
}

// Enter in the field of a small form does what its first button does, with what was typed so far.
function takeEnter(root) {
  root.addEventListener("keydown", (event) => {
    const form = event.target.closest(".easel-enters");
    if (event.key !== "Enter" || event.isComposing || !form || !event.target.matches("input")) return;
    event.preventDefault();
    event.target.dispatchEvent(new Event("change", { bubbles: true }));
    [...form.querySelectorAll("button")].find(usable)?.click();
  });
}

const PRESSED = "button, summary, label, input[type=radio], input[type=checkbox], [role=tab], [role=option], [role=radio]";
const STILL_PX = 6;

// A press of the mouse counts although what it began on has moved away below it before the release, or was drawn again: the page may
// have grown above, for example because the field that was left has changed something. The browser then makes no click.
function keepPress(root) {
  let pressed = null, name = "", at = [0, 0];
  root.addEventListener("pointerdown", (event) => {
    pressed = event.button === 0 && event.pointerType === "mouse" ? event.target.closest(PRESSED) : null;
    name = pressed && spoken(pressed);
    at = [event.clientX, event.clientY];
  }, true);
  window.addEventListener("pointerup", (event) => {
    const was = pressed;
    pressed = null;
    if (!was || Math.hypot(event.clientX - at[0], event.clientY - at[1]) >= STILL_PX) return;
    const node = was.isConnected ? was : [...root.querySelectorAll(PRESSED)].find((one) => one.checkVisibility() && spoken(one) === name);
    // The browser clicks what both ends of the press are in, and a label passes a click on to its control.
    const own = node && (node.closest("label") ?? node);
    if (node && !node.disabled && !(node === was && own.contains(event.target))) node.click();
  }, true);
}

const spoken = (node) => [node.localName, node.getAttribute("role"), node.dataset.id, node.value, node.getAttribute("aria-label") ?? node.textContent].join(" ");

// ---- panels of help ----------------------------------------------------------------------------------------------

// At most one is open; Escape and a click elsewhere close it.
function closePanels(root) {
  const close = (but) => {
    for (const one of root.querySelectorAll("details.easel-help[open]")) if (one !== but) one.open = false;
  };
  root.addEventListener("toggle", ({ target }) => { if (target.open) close(target); }, true);
  root.addEventListener("pointerdown", ({ target }) => close(target.closest("details.easel-help")));
  root.addEventListener("keydown", (event) => {
    const open = root.querySelector("details.easel-help[open]");
    if (event.key !== "Escape" || !open) return;
    if (open.contains(document.activeElement)) open.querySelector("summary").focus();
    open.open = false;
    event.preventDefault();
  });
}

// ---- what screen readers hear --------------------------------------------------------------------------------------

function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function named(node) {
  if (!node.id) node.id = `easel-${++made}`;
  return node.id;
}

function tell(root) {
  for (const setting of root.querySelectorAll(".easel-setting")) {
    const field = setting.querySelector(":is(.widget-text, .widget-dropdown, .widget-checkbox, .widget-textarea) :is(input, select, textarea)");
    const label = field?.labels[0]?.innerText.trim();
    const notes = [...setting.querySelectorAll(".easel-line, .easel-epoch-line, .easel-note .easel-text")].filter((note) => note.textContent);
    for (const one of [field, setting.querySelector(".easel-epochs input")]) if (one) set(one, "aria-describedby", notes.map(named).join(" "));
    const help = setting.querySelector("details.easel-help > summary");
    if (help && label) set(help, "aria-label", `Help: ${label}`);
    const source = setting.querySelector(".easel-source");
    if (source && label) {
      set(source, "aria-label", `${source.innerText.trim()}: where ${label} comes from`);
      set(source, "aria-expanded", String(setting.classList.contains("easel-asked")));
    }
  }
  const place = root.querySelector(".easel-tab[aria-selected=true]")?.firstChild.textContent;
  for (const help of root.querySelectorAll(".easel-place-help")) if (place) set(help, "aria-label", `?: the guide about ${place}`);
  // It can be pressed, and then says why nothing starts.
  for (const start of root.querySelectorAll(".easel-start")) set(start, "aria-disabled", String(start.classList.contains("easel-held")));
  for (const button of root.querySelectorAll(".easel-fold, .easel-step-button")) {
    const group = button.closest(".easel-group, .easel-step");
    const inside = group.querySelector(":scope > .easel-step-inside, :scope > .easel-fold + .widget-box");
    if (!inside) continue;
    const folded = (group.matches(".easel-step") ? group : inside).classList.contains("easel-folded");
    set(button, "aria-expanded", String(!folded));
    set(button, "aria-controls", named(inside));
    button.removeAttribute("aria-pressed");
  }
}

// ---- the place of the keyboard -------------------------------------------------------------------------------------

const seen = (node) => node.isConnected && (node.checkVisibility ? node.checkVisibility() : node.offsetParent !== null);
const usable = (node) => seen(node) && !node.disabled && node.tabIndex >= 0;

// Returns a function that gives the keyboard to the nearest control if the one that had it is hidden, removed or disabled.
function keepFocus(root) {
  let last = null;
  let trail = [];
  root.addEventListener("focusin", ({ target }) => {
    last = target;
    trail = [];
    for (let node = target.parentElement; node && node !== root; node = node.parentElement) trail.push(node);
    trail.push(root);
  });
  root.addEventListener("focusout", ({ relatedTarget }) => { if (relatedTarget && last && seen(last)) last = null; });
  document.addEventListener("pointerdown", ({ target }) => { if (!last?.contains(target)) last = null; }, true);

  return () => {
    if (!last || !root.isConnected || !document.hasFocus()) return;
    const now = document.activeElement;
    const lost = !now || now === document.body || now === last || !seen(now) || now.contains(root);
    // A heading that was given the keyboard keeps it, although Tab does not stop there.
    if (!lost || (now === last && seen(last) && !last.disabled) || last === root) return;
    if (usable(last)) return last.focus();
    nearest(last, trail)?.focus();
  };
}

function nearest(last, trail) {
  for (const scope of trail.filter(seen)) {
    const there = [...scope.querySelectorAll(FOCUSABLE)].filter(usable);
    const after = there.find((node) => last.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING);
    // The last control of the top is the theme, which has nothing to do with what was pressed there: what comes next does.
    const found = last.isConnected ? after ?? (scope.matches(".easel-top") ? null : there.at(-1)) : there[0];
    if (found) return found;
  }
  return null;
}
