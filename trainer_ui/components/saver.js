// A button that downloads a file or a zip. The kernel sends pieces in order; where the browser can, they are written as they come.

const TOGETHER = 3, SILENT_MS = 30000, LARGE_BYTES = 200e6;
const bytes = (number) => number >= 1e9 ? `${(number / 1e9).toFixed(2)} GB` : number >= 1e6 ? `${Math.round(number / 1e6)} MB` : `${Math.max(1, Math.round(number / 1e3))} kB`;

function server() {
  const config = document.getElementById("jupyter-config-data");
  try {
    return config ? JSON.parse(config.textContent).baseUrl ?? "" : "";
  } catch {
    return "";
  }
}

class Saver {
  constructor(model, el) {
    this.model = model;
    this.button = button("", "easel-two", () => (this.file ? this.cancel() : this.begin()));
    this.says = make("p", "easel-saver-says");
    this.says.setAttribute("role", "status");
    el.append(this.button, this.says);
    this.show();
  }
  show() {
    twoLines(this.button, this.file ? "Stop the download" : this.model.get("words"), this.file ? "nothing is kept" : this.model.get("more"));
    this.button.disabled = this.model.get("disabled") && !this.file;
  }
  say(words) { put(this.says, words); }
  async begin() {
    this.file = { number: -1, parts: [], have: 0, asked: 0 };
    this.say("Preparing the download…");
    const large = this.model.get("size") > LARGE_BYTES && typeof window.showSaveFilePicker === "function";
    if (large) {
      try {
        this.file.handle = await window.showSaveFilePicker({ suggestedName: this.model.get("suggested") || "download.zip" });
        this.file.writer = await this.file.handle.createWritable();
      } catch (error) {
        // The user has closed the dialog; where it is not allowed, the browser keeps the pieces.
        if (error?.name === "AbortError") return this.done("");
      }
    }
    this.show();
    this.wait();
    this.model.send({ kind: "begin", streams: Boolean(this.file.writer) });
  }
  wait() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.say("The kernel does not answer: a cell may be running. The download continues after it."), SILENT_MS);
  }
  async take(message, buffers) {
    const { file } = this;
    if (!file) return;
    if (message?.kind === "failed") return this.done(text(message.text));
    if (message?.kind === "offer") return this.offered(message);
    if (message?.kind !== "piece" || message.number !== file.number) return;
    this.wait();
    if (message.end) return this.finish();
    const view = buffers?.[0];
    if (!view) return;
    const piece = new Uint8Array(view.buffer ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : view);
    file.have += piece.byteLength;
    if (file.writer) file.writing = (file.writing ?? Promise.resolve()).then(() => file.writer.write(piece));
    else file.parts.push(new Blob([piece]));
    this.say(`${bytes(file.have)} of ${bytes(file.size)}`);
    this.next();
  }
  async offered({ number, name, size, link }) {
    Object.assign(this.file, { number, name: text(name), size: known(size) ? size : 0 });
    const base = link && !this.file.writer ? server() : "";
    if (base) {
      const address = `${base.replace(/\/$/, "")}/files/${link.split("/").map(encodeURIComponent).join("/")}?download=1`;
      const answer = await fetch(address, { method: "HEAD", credentials: "same-origin" }).catch(() => null);
      if (answer?.ok) {
        save(address, this.file.name);
        return this.done(`Your browser downloads ${this.file.name}, ${bytes(size)}.`);
      }
    }
    for (let at = 0; at < TOGETHER; at++) this.next();
  }
  next() { this.model.send({ kind: "next", number: this.file.number }); }
  async finish() {
    const { file } = this;
    if (file.ended) return;
    file.ended = true;
    if (file.writer) {
      await file.writing;
      await file.writer.close();
    } else {
      const url = URL.createObjectURL(new Blob(file.parts, { type: "application/octet-stream" }));
      save(url, file.name);
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    }
    this.done(`Downloaded ${file.name}, ${bytes(file.have)}.`);
  }
  cancel() {
    this.model.send({ kind: "stop" });
    this.file?.writer?.abort().catch(() => {});
    this.done("The download was stopped.");
  }
  done(words) {
    clearTimeout(this.timer);
    this.file = null;
    this.say(words);
    this.show();
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

function render({ model, el }) {
  el.classList.add("easel-saver");
  const saver = new Saver(model, el);
  const show = () => saver.show(), take = (message, buffers) => saver.take(message, buffers);
  model.on("change:words change:more change:disabled", show);
  model.on("msg:custom", take);
  return () => {
    clearTimeout(saver.timer);
    model.off("change:words change:more change:disabled", show);
    model.off("msg:custom", take);
  };
}

export default { render };
