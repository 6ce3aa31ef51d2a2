// Shows a banner when the kernel is silent: its feed thread sends a beat every two seconds, also while a cell runs.
const SILENT_AFTER_MS = 8000;

function render({ model, el }) {
  const banner = document.createElement("div");
  banner.className = "easel-pulse";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  el.append(banner);

  let heard = Date.now();
  const show = () => {
    // Looked up here because the element is not in the page yet while it is rendered. JupyterLab marks the widgets of a
    // kernel that was restarted; on other hosts only the silence shows it.
    const root = el.closest(".easel");
    const lost = root?.classList.contains("jupyter-widgets-disconnected") || Date.now() - heard > SILENT_AFTER_MS;
    if (banner.hidden !== lost) return;
    banner.hidden = !lost;
    banner.textContent = lost ? "Disconnected from the kernel: run the cell again. Running jobs continue." : "";
    root?.classList.toggle("easel-lost", lost);
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
