// A text with a button that copies it. On a page without a secure address the clipboard is reached by a selection.

const SAID_MS = 2000;

async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.select();
    return document.execCommand("copy");
  }
}

function render({ model, el }) {
  const node = document.createElement("div");
  node.className = "easel-copy";
  const label = document.createElement("label");
  const field = document.createElement("input");
  field.readOnly = true;
  field.id = `easel-copy-${Math.random().toString(36).slice(2)}`;
  label.htmlFor = field.id;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button";
  const said = document.createElement("span");
  said.className = "easel-copied";
  said.setAttribute("role", "status");
  const row = document.createElement("div");
  row.append(field, button);
  node.append(label, row, said);
  el.append(node);

  let timer = 0;
  const show = () => {
    label.textContent = model.get("label");
    field.value = model.get("text");
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${model.get("label")}`);
    said.textContent = "";
  };
  button.addEventListener("click", async () => {
    const done = await copy(field);
    button.focus();
    button.textContent = done ? "Copied" : "Copy";
    said.textContent = done ? "Copied" : "The browser does not allow it: select the text and press Ctrl+C.";
    said.classList.toggle("easel-copied-seen", !done);
    clearTimeout(timer);
    timer = setTimeout(show, done ? SAID_MS : 4 * SAID_MS);
  });
  model.on("change:text", show);
  model.on("change:label", show);
  show();
  return () => {
    clearTimeout(timer);
    model.off("change:text", show);
    model.off("change:label", show);
  };
}

export default { render };
