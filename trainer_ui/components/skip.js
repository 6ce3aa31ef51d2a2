// "Go to…": a menu of the parts of the place that is shown, the first stop of Tab after the tabs. It is seen while it has the keyboard.
// Source of keys and roles: WAI-ARIA Authoring Practices, "Menu Button" with a roving tabindex; its own pages have such a menu of
// headings ("Skip to").

const PARTS = ":is(.easel-step-button, .easel-heading, h2, h3)";

function partsOf(root) {
  const found = [...root.querySelectorAll(`:scope > .easel-place:not(.easel-elsewhere) ${PARTS}`)];
  // A part of a step is found in its step.
  return found.filter((node) => seen(node) && titleOf(node) && !node.closest(".easel-step-inside"));
}

function titleOf(part) {
  const named = part.matches(".easel-step-button") ? part.closest(".easel-step-line").querySelector(".easel-step-text > b") : part;
  return named?.textContent.trim() ?? "";
}

function goTo(part) {
  if (!part.matches("button")) part.tabIndex = -1;
  part.focus();
  part.scrollIntoView({ block: "nearest" });
}

// Returns a function that leaves the button out of a place with fewer than two parts.
function skipTo(root) {
  const tabs = root.querySelector(":scope > .easel-top .easel-tabs");
  if (!tabs) return () => {};
  const node = document.createElement("div"), open = document.createElement("button"), menu = document.createElement("div");
  node.className = "easel-skip";
  open.className = "jupyter-button easel-skip-open";
  open.type = "button";
  open.textContent = "Go to…";
  set(open, "aria-haspopup", "menu");
  set(open, "aria-expanded", "false");
  menu.className = "easel-skip-menu";
  menu.hidden = true;
  set(menu, "role", "menu");
  set(menu, "aria-labelledby", named(open));
  set(open, "aria-controls", named(menu));
  node.append(open, menu);
  tabs.after(node);

  const close = () => {
    menu.hidden = true;
    set(open, "aria-expanded", "false");
  };
  const item = (part) => {
    const one = document.createElement("div");
    one.className = "easel-skip-part";
    one.tabIndex = -1;
    one.textContent = titleOf(part);
    set(one, "role", "menuitem");
    one.addEventListener("click", () => { goTo(part); close(); });
    return one;
  };
  const show = (last = false) => {
    menu.replaceChildren(...partsOf(root).map(item));
    menu.hidden = false;
    set(open, "aria-expanded", "true");
    (last ? menu.lastElementChild : menu.firstElementChild)?.focus();
  };
  open.addEventListener("click", () => { if (menu.hidden) show(); else close(); });
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const items = [...menu.children], at = items.indexOf(document.activeElement);
    if (event.key === "Tab" || (event.key === "Escape" && !menu.hidden)) {
      // Tab goes on from the button.
      open.focus();
      close();
      if (event.key === "Tab") return;
    } else if (at < 0) {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      show(event.key === "ArrowUp");
    } else if (event.key === "Enter" || event.key === " ") {
      items[at].click();
    } else {
      const to = nextItem(items, at, event.key);
      if (!to) return;
      to.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  });
  node.addEventListener("focusout", ({ relatedTarget }) => { if (!node.contains(relatedTarget)) close(); });
  return () => {
    const isAway = partsOf(root).length < 2;
    if (node.hidden !== isAway && !node.contains(document.activeElement)) node.hidden = isAway;
  };
}

// Where a key leads in a menu: to the item before or after, to an end, or to the next one that begins with the letter.
function nextItem(items, at, key) {
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[key];
  if (to !== undefined) return items[(to + items.length) % items.length];
  if (key.length !== 1) return null;
  return [...items.slice(at + 1), ...items.slice(0, at + 1)].find((item) => item.textContent.toLowerCase().startsWith(key.toLowerCase()));
}
