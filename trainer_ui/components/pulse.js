// Shows a banner when the kernel is silent: its feed thread sends a beat every two seconds, also while a cell runs.
const SILENT_AFTER_MS = 8000;

// JupyterLab marks each widget of a kernel that is gone with a broken link, in the place of its own arrow or icon. The sentence
// at the top says it once, so the marks go; that of the app stays, because it says that the kernel is gone.
function plain(root) {
  for (const one of root?.querySelectorAll(".jupyter-widgets-disconnected") ?? []) one.classList.remove("jupyter-widgets-disconnected");
}

function render({ model, el }) {
  const banner = document.createElement("div");
  banner.className = "easel-pulse";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  el.append(banner);

  let heard = Date.now();
  let said = false; // Whether the sentence of an app that was replaced is in sight.
  const show = () => {
    // Looked up here because the element is not in the page yet while it is rendered. JupyterLab marks the widgets of a
    // kernel that was restarted; on other hosts only the silence shows it.
    const root = el.closest(".easel");
    const lost = root?.classList.contains("jupyter-widgets-disconnected") || Date.now() - heard > SILENT_AFTER_MS;
    if (root?.classList.contains("easel-replaced")) {
      banner.hidden = true;
      if (!said) root.scrollIntoView({ block: "center" });
      said = true;
      return;
    }
    if (lost) plain(root);
    if (banner.hidden !== lost) return;
    banner.hidden = !lost;
    banner.textContent = lost ? "Disconnected from the kernel: run the cell again. Running jobs continue." : "";
    root?.classList.toggle("easel-lost", lost);
    // Nothing would answer these buttons.
    for (const bar of root?.querySelectorAll(".easel-bars") ?? []) bar.inert = lost;
  };
  const beat = () => {
    heard = Date.now();
    show();
  };
  const timer = setInterval(show, 1000);
  requestAnimationFrame(show);
  model.on("msg:custom", beat);
  model.send({ kind: "hello" });
  return () => {
    clearInterval(timer);
    model.off("msg:custom", beat);
  };
}

export default { render };
