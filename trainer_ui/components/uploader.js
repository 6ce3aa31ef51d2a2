// Files, folders and zips of the user's computer, sent to the kernel in pieces. Names are only ever set as textContent.

const PIECE_BYTES = 1 << 20, FLIGHTS = 3, SILENT_MS = 30000, MOST_FILES = 50000;

class Uploader {
  constructor(model) {
    this.model = model;
    this.node = make("div", "easel-drop");
    this.node.setAttribute("role", "group");
    this.node.setAttribute("aria-label", model.get("title"));
    this.words = make("p", "easel-drop-words");
    this.files = this.input(false);
    this.folder = this.input(true);
    const row = make("div", "easel-drop-buttons");
    this.buttons = [button("Choose files", "easel-small", () => this.files.click()), button("Choose a folder", "easel-small", () => this.folder.click())];
    this.stop = button("Cancel", "easel-small", () => this.cancel());
    this.bar = make("progress");
    this.bar.setAttribute("aria-label", "How much has been sent");
    this.told = make("p", "easel-drop-told");
    this.told.setAttribute("role", "status");
    row.append(...this.buttons, this.stop);
    this.node.append(this.words, row, this.bar, this.told, this.files, this.folder);
    for (const name of ["dragenter", "dragover"]) this.node.addEventListener(name, (event) => this.over(event, true));
    for (const name of ["dragleave", "drop"]) this.node.addEventListener(name, (event) => this.over(event, false));
    this.node.addEventListener("drop", (event) => this.drop(event));
    // The first message of a widget may wait for a cell that is running; those after it do not.
    model.send({ kind: "hello" });
    this.show();
  }
  input(isFolder) {
    const node = make("input");
    node.type = "file";
    node.multiple = true;
    node.hidden = true;
    if (isFolder) node.webkitdirectory = true;
    node.addEventListener("change", () => {
      const found = [...node.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      // The same files can be chosen again.
      node.value = "";
      this.begin(found);
    });
    return node;
  }
  over(event, is) {
    event.preventDefault();
    event.stopPropagation();
    this.node.classList.toggle("easel-drop-over", is && !this.sending);
  }
  async drop(event) {
    if (this.sending) return;
    // Both must be read before the first await: afterwards the browser has emptied them.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    this.say("Reading what was dropped…");
    const found = [];
    for (const entry of entries) await walk(entry, found);
    this.begin(entries.length ? found : plain.map((file) => ({ file, path: file.name })));
  }
  begin(found) {
    // Files of the system and of editors: nobody means them.
    const files = found.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
    if (!files.length) return this.say("There is no file in it.");
    if (files.length > MOST_FILES) return this.say(`${count(files.length)} files are too many for a browser. Choose the folder on the server instead.`);
    this.sending = { number: Date.now(), files, at: 0, offset: 0, sent: 0, got: 0, flights: 0, bytes: files.reduce((sum, { file }) => sum + file.size, 0) };
    this.model.send({ kind: "begin", number: this.sending.number, files: files.map(({ file, path }) => [path, file.size]) });
    this.heard();
    this.show();
  }
  take(message) {
    if (message?.kind === "focus") return this.focus();
    const { sending } = this;
    if (!sending || message?.number !== sending.number) return;
    this.heard();
    if (message.kind === "ready") {
      sending.ids = list(message.ids);
      this.fly();
    } else if (message.kind === "got") {
      sending.got += known(message.bytes) ? message.bytes : 0;
      sending.flights -= 1;
      this.fly();
    } else if (message.kind === "end") {
      this.sending = null;
      this.say(text(message.text));
    }
    this.show();
  }
  // Small files share a message, because each message takes its time.
  async fly() {
    const { sending } = this;
    while (sending === this.sending && sending?.ids && sending.flights < FLIGHTS && !sending.ended) {
      const parts = [], pieces = [];
      let room = PIECE_BYTES;
      while (sending.at < sending.files.length && room > 0) {
        const { file } = sending.files[sending.at], id = sending.ids[sending.at];
        const take = id ? Math.min(room, file.size - sending.offset) : 0;
        if (id) {
          parts.push([id, sending.offset]);
          pieces.push(file.slice(sending.offset, sending.offset + take));
          room -= take;
        }
        sending.offset += take;
        if (!id || sending.offset >= file.size) {
          if (!id) sending.got += file.size;
          sending.at += 1;
          sending.offset = 0;
        }
      }
      if (!parts.length) {
        sending.ended = true;
        break;
      }
      sending.flights += 1;
      try {
        const buffers = await Promise.all(pieces.map((piece) => piece.arrayBuffer()));
        if (sending === this.sending) this.model.send({ kind: "pieces", number: sending.number, parts }, undefined, buffers);
      } catch {
        return this.fail("A file could not be read: it was changed or removed meanwhile.");
      }
    }
    if (sending === this.sending && sending?.ended && !sending.flights && !sending.told) {
      sending.told = true;
      this.model.send({ kind: "finish", number: sending.number });
    }
  }
  heard() {
    clearTimeout(this.timer);
    // At the end the kernel unpacks and compares, which takes its time.
    this.timer = setTimeout(() => { if (this.sending && !this.sending.told) this.fail("The kernel does not answer, so nothing was added. Run the cell again, then send the files again."); }, SILENT_MS);
  }
  fail(words) {
    this.model.send({ kind: "cancel", number: this.sending?.number });
    this.sending = null;
    this.say(words);
    this.show();
  }
  cancel() { this.fail("Canceled. Nothing was added."); }
  // It may still be hidden: what shows it comes with another message.
  focus(tries = 60) {
    if (this.node.checkVisibility()) this.buttons[0].focus();
    else if (tries) requestAnimationFrame(() => this.focus(tries - 1));
  }
  say(words) { put(this.told, words); }
  show() {
    const { sending } = this, isBusy = Boolean(sending) || this.model.get("busy");
    put(this.words, this.model.get("words"));
    for (const one of this.buttons) one.disabled = isBusy;
    this.stop.hidden = !sending || sending.told;
    this.bar.hidden = !sending;
    if (!sending) return;
    this.bar.max = Math.max(1, sending.bytes);
    this.bar.value = sending.got;
    const size = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
    this.say(sending.told ? "Adding them to the dataset…" : `Sending ${count(sending.files.length)} ${sending.files.length === 1 ? "file" : "files"}: ${size(sending.got)} of ${size(sending.bytes)}`);
  }
}

async function walk(entry, found, depth = 0) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({ file, path: entry.fullPath.replace(/^\//, "") });
  } else if (entry.isDirectory && depth < 20) {
    const reader = entry.createReader();
    // A folder is read in parts, until one is empty.
    for (;;) {
      const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
      if (!part.length) break;
      for (const one of part) await walk(one, found, depth + 1);
    }
  }
}

function render({ model, el }) {
  const uploader = new Uploader(model);
  el.append(uploader.node);
  const take = (message) => uploader.take(message);
  const show = () => uploader.show();
  model.on("msg:custom", take);
  model.on("change:busy change:words", show);
  return () => {
    model.off("msg:custom", take);
    model.off("change:busy change:words", show);
  };
}

export default { render };
