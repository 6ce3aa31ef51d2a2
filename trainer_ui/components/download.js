// A button that downloads a file: from the Jupyter server by a link, or from the kernel in pieces that become one file.

const TOGETHER = 3;
const SILENT_MS = 30000;

function server() {
  const config = document.getElementById("jupyter-config-data");
  try {
    return config ? JSON.parse(config.textContent).baseUrl ?? "" : "";
  } catch {
    return "";
  }
}

function save(href, name) {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

const megabytes = (bytes) => bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;

class Download {
  constructor(model, el) {
    this.model = model;
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "jupyter-button easel-deliver easel-deliver-download";
    this.title = document.createElement("b");
    this.more = document.createElement("small");
    this.button.append(this.title, this.more);
    this.says = document.createElement("span");
    this.says.className = "easel-deliver-says";
    this.says.setAttribute("role", "status");
    this.button.addEventListener("click", () => this.begin());
    el.append(this.button, this.says);
    this.shown();
  }
  shown() {
    this.title.textContent = this.model.get("title");
    this.more.textContent = this.model.get("more");
    this.button.disabled = this.model.get("disabled") || Boolean(this.file);
    this.button.classList.toggle("easel-busy", Boolean(this.file));
  }
  say(text, failed = false) {
    this.says.textContent = text;
    this.says.classList.toggle("easel-deliver-failed", failed);
  }
  begin() {
    if (this.file) return;
    this.file = { number: -1 };
    this.say("Preparing the file…");
    this.shown();
    this.wait();
    this.model.send({ kind: "begin" });
  }
  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say("The kernel does not answer: a cell may be running. The download continues after it.", true), SILENT_MS);
  }
  async offered() {
    const { number, name, size, link } = this.model.get("offer");
    if (!Number.isInteger(number) || !(size >= 0)) return;
    this.file ??= { number };
    clearTimeout(this.timer);
    const base = link ? server() : "";
    if (base) {
      const address = `${base.replace(/\/$/, "")}/files/${link.split("/").map(encodeURIComponent).join("/")}?download=1`;
      const answer = await fetch(address, { method: "HEAD", credentials: "same-origin" }).catch(() => null);
      if (answer?.ok) {
        save(address, name);
        return this.done(`Your browser downloads ${name}, ${megabytes(size)}.`);
      }
    }
    this.file = { number, name, size, pieces: [], next: 0, have: 0 };
    this.shown();
    if (!size) return this.finish();
    for (let at = 0; at < TOGETHER; at++) this.ask();
  }
  ask() {
    const file = this.file;
    if (file.next >= file.size) return;
    this.model.send({ kind: "piece", number: file.number, from: file.next });
    file.next += 4 * 1024 * 1024;
    this.wait();
  }
  take(message, buffers) {
    if (message?.kind === "failed") {
      clearTimeout(this.timer);
      this.file = null;
      this.shown();
      return this.say(String(message.text), true);
    }
    const file = this.file;
    if (message?.kind !== "piece" || message.number !== file?.number) return;
    if (!buffers?.[0]?.byteLength) {
      this.file = null;
      this.shown();
      return this.say("The file became shorter while it was sent. Try again.", true);
    }
    const piece = buffers[0];
    file.pieces[message.from / (4 * 1024 * 1024)] = new Blob([piece]);
    file.have += piece.byteLength;
    this.say(`${megabytes(file.have)} of ${megabytes(file.size)}`);
    if (file.have >= file.size) this.finish();
    else this.ask();
  }
  finish() {
    const { pieces, name, size } = this.file;
    const url = URL.createObjectURL(new Blob(pieces, { type: "application/octet-stream" }));
    save(url, name);
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    this.done(`Downloaded ${name}, ${megabytes(size)}. Your browser asks, or has put it into its folder for downloads.`);
  }
  done(text) {
    clearTimeout(this.timer);
    this.file = null;
    this.shown();
    this.say(text);
  }
}

function render({ model, el }) {
  el.classList.add("easel-deliver-box");
  const download = new Download(model, el);
  const shown = () => download.shown();
  const offered = () => download.offered();
  const take = (message, buffers) => download.take(message, buffers);
  for (const name of ["title", "more", "disabled"]) model.on(`change:${name}`, shown);
  model.on("change:offer", offered);
  model.on("msg:custom", take);
  return () => {
    clearTimeout(download.timer);
    for (const name of ["title", "more", "disabled"]) model.off(`change:${name}`, shown);
    model.off("change:offer", offered);
    model.off("msg:custom", take);
  };
}

export default { render };
