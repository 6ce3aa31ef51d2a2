// Says when the kernel has gone silent: its feed thread sends a beat every two seconds, whatever the cells do.
const SILENT_AFTER_MS = 8000;

function render({ model, el }) {
  const banner = document.createElement("div");
  banner.className = "easel-pulse";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  el.append(banner);

  let heard = Date.now();
  const show = () => {
    // Looked up late: the element is not in the page yet while it is rendered. JupyterLab marks the widgets of a kernel
    // that was restarted; other hosts do not, and silence tells.
    const root = el.closest(".easel");
    const lost = root?.classList.contains("jupyter-widgets-disconnected") || Date.now() - heard > SILENT_AFTER_MS;
    if (banner.hidden !== lost) return;
    banner.hidden = !lost;
    banner.textContent = lost ? "Disconnected from the kernel: run the cell again. A training run goes on without it." : "";
    root?.classList.toggle("easel-lost", lost);
  };
  const beat = () => {
    heard = Date.now();
    show();
  };
  const timer = setInterval(show, 1000);
  model.on("msg:custom", beat);
  model.send({ kind: "hello" });
  return () => {
    clearInterval(timer);
    model.off("msg:custom", beat);
  };
}

export default { render };
