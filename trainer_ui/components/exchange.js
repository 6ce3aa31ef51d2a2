// A button that reads a small text file of the user's computer and sends it to the kernel, and downloads that the kernel starts.

function render({ model, el }) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = model.get("endings");
  input.hidden = true;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "jupyter-button easel-small";
  button.textContent = model.get("label");
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files;
    // The same file can be chosen again.
    input.value = "";
    if (!file) return;
    if (file.size > model.get("largest")) model.send({ kind: "large" });
    else model.send({ kind: "file", name: file.name, text: await file.text() });
  });
  el.append(button, input);
  const save = (message) => {
    if (message?.kind !== "save" || typeof message.text !== "string" || typeof message.name !== "string") return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([message.text], { type: "application/toml" }));
    link.download = message.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  model.on("msg:custom", save);
  return () => model.off("msg:custom", save);
}

export default { render };
