// Large files of the user's computer, sent to the kernel in pieces with their SHA-256. Names are only ever set as textContent.
// After a lost connection the page asks again what has arrived, and goes on from there.

const PIECE_BYTES = 4 << 20, FLIGHTS = 4, SILENT_MS = 8000, CHECK_MS = 120000, RETRY_MS = 3000, MOST_FILES = 50000, MOST_ROWS = 60;
// What an item's row of answers says, in this order.
const ROW = ["id", "have", "isTaken", "reason", "place", "other", "otherHave"];
const WORDS = { waiting: "Waits", checking: "Checking what is here already", sending: "", finishing: "Checking the whole file", arrived: "", refused: "", failed: "", stopped: "Stopped", left: "Left out" };
const OPEN = new Set(["announced", "waiting", "checking", "sending", "finishing", "asks", "asks-where"]);

const bytes = (count) => count >= 1e9 ? `${(count / 1e9).toFixed(2)} GB` : count >= 1e6 ? `${(count / 1e6).toFixed(1)} MB` : `${Math.max(count ? 1 : 0, Math.round(count / 1e3))} kB`;

class Arrivals {
  constructor(model) {
    this.model = model;
    this.items = [];
    this.number = this.announced = 0;
    this.awaits = "";
    this.forget();
    this.node = make("div", "easel-arrive");
    this.drop = make("div", "easel-arrive-drop");
    this.drop.setAttribute("role", "group");
    this.drop.setAttribute("aria-label", model.get("title"));
    this.title = make("b", "", "Drop files or folders here");
    this.where = make("p", "easel-arrive-where");
    this.files = this.input(false);
    this.folder = this.input(true);
    const row = make("div", "easel-arrive-buttons");
    this.buttons = [button("Choose files", "mod-primary easel-big", () => this.files.click()), button("Choose a folder", "easel-big", () => this.folder.click())];
    row.append(...this.buttons);
    const label = make("label", "easel-arrive-unpack");
    this.unpack = make("input");
    this.unpack.type = "checkbox";
    label.append(this.unpack, make("span", "", "Unpack zips when they are here (the zip itself is then removed)"));
    this.drop.append(this.title, this.where, row, label, this.files, this.folder);
    this.whole = make("div", "easel-arrive-whole");
    this.told = make("p", "easel-arrive-told");
    this.told.setAttribute("role", "status");
    this.bar = make("progress");
    this.bar.setAttribute("aria-label", "How much of all files is here");
    this.pauser = button("Pause", "easel-small", () => this.pause());
    this.stopper = button("Stop", "easel-small easel-stop", () => this.stop());
    this.clearer = button("Clear the list", "easel-small easel-quiet", () => this.clear());
    const acts = make("div", "easel-arrive-acts");
    acts.append(this.pauser, this.stopper, this.clearer);
    this.whole.append(this.told, this.bar, acts);
    this.question = this.ask();
    this.elsewhere = this.askWhere();
    this.list = make("ul", "easel-arrive-list");
    this.list.setAttribute("aria-label", "Files that arrive");
    this.more = make("p", "easel-arrive-more");
    this.node.append(this.drop, this.whole, this.elsewhere, this.question, this.list, this.more);
    for (const name of ["dragenter", "dragover"]) this.drop.addEventListener(name, (event) => this.over(event, true));
    for (const name of ["dragleave", "drop"]) this.drop.addEventListener(name, (event) => this.over(event, false));
    this.drop.addEventListener("drop", (event) => this.dropped(event));
    // The first message of a widget may wait for a cell that is running; those after it do not.
    model.send({ kind: "hello" });
    this.draw();
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
  ask() {
    const node = make("div", "easel-arrive-question");
    node.setAttribute("role", "group");
    this.asked = make("p", "easel-arrive-asked");
    this.asked.setAttribute("role", "status");
    const choose = (choice) => () => this.choose(choice);
    this.both = button("", "easel-two", choose("both"));
    this.replace = button("", "easel-two", choose("replace"));
    this.leave = button("", "easel-two", choose(""));
    const row = make("div", "easel-arrive-buttons");
    row.append(this.both, this.replace, this.leave);
    node.append(this.asked, row);
    node.hidden = true;
    return node;
  }
  // A part of the same file waits in another folder: to go on there, or to begin again here.
  askWhere() {
    const node = make("div", "easel-arrive-question");
    node.setAttribute("role", "group");
    node.setAttribute("aria-label", "An incomplete file of this name is in another folder");
    this.askedWhere = make("p", "easel-arrive-asked");
    this.askedWhere.setAttribute("role", "status");
    const row = make("div", "easel-arrive-buttons");
    this.there = button("", "easel-two", () => this.chooseWhere(true));
    this.here = button("", "easel-two", () => this.chooseWhere(false));
    row.append(this.there, this.here);
    node.append(this.askedWhere, row);
    node.hidden = true;
    return node;
  }
  over(event, is) {
    event.preventDefault();
    event.stopPropagation();
    this.drop.classList.toggle("easel-drop-over", is);
  }
  async dropped(event) {
    // Both must be read before the first await: afterwards the browser has emptied them.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    const found = [];
    for (const entry of entries) await walk(entry, found);
    this.begin(entries.length ? found : plain.map((file) => ({ file, path: file.name })));
  }
  // ---- the files ----
  forget() {
    this.flights = [];
    this.awaited = new Map();
    this.pumping = this.paused = this.lost = false;
    this.note = "";
    this.speed = [];
    clearTimeout(this.timer);
    clearInterval(this.retry);
  }
  get open() { return this.items.filter(({ state }) => OPEN.has(state)); }
  begin(found) {
    const files = shortened(found);
    if (!files.length) return this.say("There is no file in it.");
    if (files.length > MOST_FILES) return this.say(`${count(files.length)} files are too many at once. Put them into a zip, and let Easel unpack it.`);
    if (this.model.get("busy")) return this.say("Wait until the other work is done.");
    if (!this.open.length) {
      this.items = [];
      this.forget();
      this.number = Date.now();
      this.goesTo = this.model.get("target");
    }
    if (this.goesTo !== this.model.get("target")) return this.say(`Wait until the files for ${this.goesTo} are here, or stop them. Then choose these again.`);
    this.say("");
    const items = files.map(({ file, path }) => ({ file, path, size: file.size, state: "announced", id: "", have: 0, at: 0, hash: new Sha256(), marks: new Map(), choice: "both", unpack: this.unpack.checked, told: "", sha256: "", belongs: "", place: "" }));
    this.items.push(...items);
    this.announce(items);
    this.draw();
  }
  announce(items) {
    const at = ++this.announced;
    this.awaited.set(at, items);
    this.send("announce", { at, files: items.map(({ path, size }) => [path, size]) });
  }
  send(kind, more = {}, buffers = []) {
    if (this.tell({ kind, number: this.number, ...more }, buffers)) this.watch();
  }
  tell(message, buffers = []) {
    try {
      this.model.send(message, undefined, buffers);
      return true;
    } catch {
      // JupyterLab refuses what would go to a kernel that was restarted: it does not know this widget any more.
      clearInterval(this.retry);
      clearTimeout(this.timer);
      this.lost = true;
      this.flights = [];
      this.say("The kernel was restarted. Run the cell again and choose the same files: they go on where they stopped.");
      return false;
    }
  }
  take(message) {
    if (message?.kind === "focus") return this.focus();
    if (message?.kind === "continue") return this.continue(text(message.name), text(message.text));
    if (message?.number !== this.number) return;
    this.heard();
    const item = this.items.find(({ id }) => id && id === message.id);
    const act = {
      answers: () => this.answers(message.at, list(message.rows)), refused: () => this.refused(message.at, text(message.text)), lost: () => this.taken(),
      adopted: () => this.adopted(list(message.row)), checked: () => item && this.checked(item, message), got: () => this.got(list(message.parts)), arrived: () => item && this.arrived(item, message),
      failed: () => this.failed(item, text(message.text)), moved: () => { if (item) { item.belongs = ""; item.told = text(message.text); } },
    }[message.kind];
    act?.();
    this.watch();
    this.draw();
    this.pump();
  }
  answers(request, rows) {
    const items = this.awaited.get(request);
    this.awaited.delete(request);
    if (!items) return;
    rows.forEach((row, at) => {
      const item = items[at];
      if (!item || !["announced", "waiting", "checking", "sending"].includes(item.state)) return;
      const said = Object.fromEntries(ROW.map((name, at) => [name, list(row)[at]]));
      if (said.reason) return Object.assign(item, { state: "refused", told: text(said.reason) });
      const wasAnswered = Boolean(item.id);
      Object.assign(item, { id: text(said.id), place: text(said.place), other: text(said.other), otherHave: known(said.otherHave) ? said.otherHave : 0 });
      this.start(item, known(said.have) ? said.have : 0);
      if (said.isTaken && !wasAnswered) item.state = "asks";
      item.isTaken = said.isTaken === true;
      // A kernel that was restarted has forgotten the answer.
      if (item.other && item.isThere) this.adopt(item);
      else if (item.other && !wasAnswered) item.state = "asks-where";
    });
    if (!this.open.length) this.send("end");
    if (this.asking("asks-where").length) return this.elsewhere.hidden && this.reach(this.there);
    const asks = this.items.filter(({ state }) => state === "asks");
    if (asks.length && this.question.hidden) this.reach(this.both);
  }
  // An item that goes on at a place: with the hash of what is before it, if that is still known.
  start(item, have) {
    const mark = item.marks.get(have);
    item.state = "waiting";
    item.have = have;
    item.epoch = (item.epoch ?? 0) + 1;
    if (have === 0) Object.assign(item, { at: 0, hash: new Sha256(), isChecked: true });
    else if (mark) Object.assign(item, { at: have, hash: new Sha256(mark), isChecked: true });
    else item.isChecked = false;
    item.marks.clear();
  }
  asking(state) { return this.items.filter((item) => item.state === state); }
  adopt(item) {
    Object.assign(item, { isThere: true, state: "checking" });
    this.send("adopt", { id: item.id });
  }
  adopted([id, have, isTaken, , place]) {
    const item = this.items.find((one) => one.id === id && one.state === "checking");
    if (!item) return;
    Object.assign(item, { place: text(place), other: "" });
    this.start(item, known(have) ? have : 0);
    if (isTaken) item.state = "asks";
  }
  chooseWhere(isThere) {
    for (const item of this.asking("asks-where")) {
      if (isThere) this.adopt(item);
      else Object.assign(item, { other: "", state: item.isTaken ? "asks" : "waiting" });
    }
    this.draw();
    this.pump();
    this.buttons[0].focus();
  }
  refused(request, words) {
    const items = this.awaited.get(request) ?? [];
    this.awaited.delete(request);
    for (const item of items) if (item.state === "announced") Object.assign(item, { state: "failed", told: words });
    this.say(words);
  }
  taken() {
    this.flights = [];
    this.paused = true;
    this.say("Another tab or cell receives files now, so these wait. Go on to send them from here.");
  }
  choose(choice) {
    for (const item of this.asking("asks")) {
      Object.assign(item, choice ? { choice, state: "waiting" } : { state: "left" });
      if (!choice) this.send("leave", { id: item.id });
    }
    if (!this.open.length) this.send("end");
    this.draw();
    this.pump();
    this.buttons[0].focus();
  }
  async checked(item, { have, sha256 }) {
    if (item.state !== "checking") return;
    if (!have) {
      this.start(item, 0);
      return;
    }
    const hash = new Sha256();
    try {
      for (let at = 0; at < have; at += PIECE_BYTES) {
        hash.add(new Uint8Array(await item.file.slice(at, Math.min(at + PIECE_BYTES, have)).arrayBuffer()));
        item.told = `Comparing it with the ${bytes(have)} that are here: ${Math.round((100 * at) / have)} %`;
        this.draw();
        if (item.state !== "checking") return;
      }
    } catch { return this.unreadable(item); }
    item.told = "";
    // The file has changed, or is another one of the same name and size.
    if (hash.hex() !== sha256) return this.send("restart", { id: item.id });
    Object.assign(item, { at: have, have, hash, state: "waiting", isChecked: true });
    this.draw();
    this.pump();
  }
  got(parts) {
    const flight = this.flights.shift() ?? [];
    for (const [id, have] of parts) {
      const item = this.items.find((one) => one.id === id), end = flight.find((part) => part.id === id)?.end;
      if (!item || item.state !== "sending" || !known(have)) continue;
      this.speed.push([performance.now(), Math.max(0, have - item.have)]);
      item.have = have;
      for (const offset of item.marks.keys()) if (offset < have) item.marks.delete(offset);
      // The kernel has less than was sent: it goes on from there.
      if (end !== undefined && have < end) this.start(item, have);
      else if (have >= item.size) this.finish(item);
    }
  }
  finish(item) {
    item.state = "finishing";
    item.sha256 ||= item.hash.hex();
    this.send("finish", { id: item.id, sha256: item.sha256, choice: item.choice, unpack: item.unpack });
  }
  arrived(item, message) {
    Object.assign(item, { state: "arrived", told: text(message.text), place: text(message.name), isSame: item.sha256 === message.sha256, belongs: text(message.belongs), notes: list(message.notes).map(text), isDoubtful: message.doubtful === true, have: item.size, marks: new Map(), hash: null });
    if (!this.open.length) this.send("end");
  }
  failed(item, words) {
    if (!item) return this.say(words);
    Object.assign(item, { state: "failed", told: words });
  }
  unreadable(item) {
    this.send("discard", { id: item.id });
    this.failed(item, "It could not be read any more: it was changed, moved or removed on your computer.");
    this.draw();
    this.pump();
  }
  // ---- sending ----
  next() {
    return this.items.find(({ state, at, size }) => state === "sending" && at < size) ?? this.items.find(({ state }) => state === "waiting");
  }
  async pump() {
    if (this.pumping) return;
    this.pumping = true;
    const { number } = this;
    while (number === this.number && !this.paused && !this.lost && this.flights.length < FLIGHTS) {
      const parts = [];
      for (let room = PIECE_BYTES; room > 0;) {
        const item = this.next();
        if (!item) break;
        if (!item.isChecked) {
          item.state = "checking";
          this.send("check", { id: item.id });
          continue;
        }
        item.state = "sending";
        if (item.at >= item.size) { this.finish(item); continue; }
        const end = Math.min(item.at + room, item.size);
        parts.push({ item, id: item.id, at: item.at, end, epoch: item.epoch });
        room -= end - item.at;
        item.at = end;
      }
      if (!parts.length) break;
      const buffers = [], sent = [];
      for (const part of parts) {
        const { item, at, end } = part;
        try {
          const buffer = await item.file.slice(at, end).arrayBuffer();
          // Meanwhile the item may have begun again at another place.
          if (item.state !== "sending" || item.epoch !== part.epoch) continue;
          item.hash.add(new Uint8Array(buffer));
          if (end < item.size) item.marks.set(end, new Sha256(item.hash));
          buffers.push(buffer);
          sent.push(part);
        } catch { this.unreadable(item); }
      }
      if (number !== this.number || !sent.length) continue;
      this.flights.push(sent);
      this.send("pieces", { parts: sent.map(({ id, at }) => [id, at]) }, buffers);
    }
    this.pumping = false;
    this.draw();
  }
  // ---- a kernel that does not answer ----
  watch() {
    clearTimeout(this.timer);
    if (!this.open.length) return this.awaited.clear();
    const isSlow = this.items.some(({ state }) => state === "checking" || state === "finishing");
    if (!this.flights.length && !this.awaited.size && !isSlow) return;
    this.timer = setTimeout(() => this.silent(), this.flights.length || this.awaited.size ? SILENT_MS : CHECK_MS);
  }
  heard() {
    if (!this.lost) return;
    this.lost = false;
    clearInterval(this.retry);
    this.say("");
  }
  silent() {
    this.lost = true;
    this.flights = [];
    this.say("The connection is lost. Easel tries again every few seconds and goes on where it stopped; keep this page open.");
    clearInterval(this.retry);
    this.retry = setInterval(() => this.again(), RETRY_MS);
    this.again();
    this.draw();
  }
  again() {
    const items = this.items.filter(({ state }) => ["announced", "waiting", "checking", "sending"].includes(state));
    this.awaited.clear();
    if (items.length) {
      const at = ++this.announced;
      this.awaited.set(at, items);
      this.tell({ kind: "announce", number: this.number, at, files: items.map(({ path, size }) => [path, size]) });
    }
    for (const item of this.items) if (item.state === "finishing") this.tell({ kind: "finish", number: this.number, id: item.id, sha256: item.sha256, choice: item.choice, unpack: item.unpack });
  }
  // ---- what the user does ----
  pause() {
    this.paused = !this.paused;
    this.say("");
    if (!this.paused) {
      // Another tab may have received files meanwhile.
      const items = this.items.filter(({ state }) => ["waiting", "sending"].includes(state));
      this.flights = [];
      if (items.length) this.announce(items);
    }
    this.draw();
  }
  stop() {
    for (const item of this.open) item.state = "stopped";
    this.forget();
    this.send("end");
    this.say("Stopped. What has arrived of a large file is kept: choose it again, and it goes on.");
    this.draw();
    this.buttons[0].focus();
  }
  clear() {
    this.items = this.open;
    this.draw();
    this.buttons[0].focus();
  }
  // The user wants to go on with a file of which a part is here. A browser opens its list of files only soon after a click.
  continue(name, here) {
    this.say(`Choose ${name} on your computer again: ${here} are here, and it goes on from there.`);
    this.focus();
    if (navigator.userActivation?.isActive) this.files.click();
  }
  accept(item) { this.send("accept", { id: item.id }); }
  decline(item) { item.belongs = ""; this.draw(); }
  // It may still be hidden: what shows it comes with another message.
  focus() { this.reach(this.buttons[0]); }
  reach(button, tries = 60) {
    if (button.checkVisibility()) button.focus();
    else if (tries) requestAnimationFrame(() => this.reach(button, tries - 1));
  }
  say(words) { this.note = words; this.draw(); }
  // ---- what is shown ----
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => { this.drawing = false; this.show(); });
  }
  show() {
    put(this.where, `They go into ${this.model.get("target")}. Nothing on your computer changes.`);
    for (const one of this.buttons) one.disabled = this.model.get("busy");
    const open = this.open, counted = this.items.filter(({ state }) => !["refused", "left"].includes(state));
    const total = counted.reduce((sum, { size }) => sum + size, 0), have = counted.reduce((sum, { have: here }) => sum + here, 0);
    this.whole.hidden = !this.items.length && !this.note;
    this.bar.hidden = !open.length;
    this.bar.max = Math.max(1, total);
    this.bar.value = have;
    this.whole.classList.toggle("easel-arrive-lost", this.lost);
    put(this.told, this.note || this.summary(open, counted, have, total));
    this.tellBar(open);
    this.pauser.hidden = this.stopper.hidden = !open.length;
    put(this.pauser, this.paused ? "Go on" : "Pause");
    this.clearer.hidden = open.length === this.items.length;
    this.showWhere();
    const asks = this.asking("asks");
    this.question.hidden = !asks.length;
    const one = asks.length === 1;
    twoLines(this.both, "Keep both", one ? "the new one gets a number" : "the new ones get a number");
    twoLines(this.replace, "Replace", one ? "the old one goes to the trash" : "the old ones go to the trash");
    twoLines(this.leave, one ? "Leave it out" : "Leave them out", one ? "the old one stays as it is" : "the old ones stay as they are");
    put(this.asked, one ? `There is a file called ${asks[0].place} already.` : `${count(asks.length)} files have names that are taken already, such as ${asks[0]?.place}.`);
    this.rows();
  }
  // The bar of the app says what the sending waits for.
  tellBar(open) {
    const now = !open.length ? "" : open.some(({ state }) => state.startsWith("asks")) ? "asks" : this.paused ? "paused" : "";
    if (now === this.awaits) return;
    this.awaits = now;
    this.send("waits", { for: now });
  }
  showWhere() {
    const asks = this.asking("asks-where");
    this.elsewhere.hidden = !asks.length;
    if (!asks.length) return;
    const [{ path, size, other, otherHave, place }] = asks, one = asks.length === 1;
    const folder = (spot) => spot.slice(0, spot.lastIndexOf("/"));
    put(this.askedWhere, one
      ? `${bytes(otherHave)} of ${path} (${bytes(size)}) are here already, but in ${folder(other)}. You chose ${folder(place)}.`
      : `Parts of ${count(asks.length)} of these files are here already, in other folders, such as ${other}.`);
    twoLines(this.there, one ? `Continue in ${folder(other)}` : "Continue there", one ? `sends the ${bytes(size - otherHave)} that are missing` : "sends what is missing");
    twoLines(this.here, one ? `Send it to ${folder(place)}` : "Send them to the chosen folder", "all of it, from the start; the part stays");
  }
  summary(open, counted, have, total) {
    const arrived = counted.filter(({ state }) => state === "arrived").length;
    if (!counted.length) return this.doubts().trim();
    if (!open.length) return `${count(arrived)} of ${count(counted.length)} ${counted.length === 1 ? "file is" : "files are"} here, ${bytes(have)}.${this.doubts()}`;
    const now = performance.now();
    this.speed = this.speed.filter(([at]) => now - at < 6000);
    const sent = this.speed.reduce((sum, [, size]) => sum + size, 0), per = this.speed.length > 1 ? (1000 * sent) / Math.max(500, now - this.speed[0][0]) : 0;
    const left = per > 0 && !this.paused ? `, ${bytes(per)} a second, ${span((total - have) / per)} left` : "";
    return `${count(arrived)} of ${count(counted.length)} ${counted.length === 1 ? "file is" : "files are"} here: ${bytes(have)} of ${bytes(total)}${this.paused ? ". Paused." : left}`;
  }
  // What did not come, or is not what its name says, in a sentence; the list says why.
  doubts() {
    const left = this.items.filter(({ state }) => state === "refused").length, doubtful = this.items.filter((one) => one.isDoubtful).length;
    const found = [left ? `${count(left)} ${left === 1 ? "was" : "were"} left out` : "", doubtful ? `${count(doubtful)} cannot be used` : ""].filter(Boolean);
    return found.length ? ` ${found.join(", and ")}: the list says why.` : "";
  }
  rows() {
    const busy = this.items.filter((one) => !["waiting", "announced", "arrived", "refused"].includes(one.state) || one.isDoubtful);
    busy.push(...this.items.filter(({ state }) => state === "refused"));
    const chosen = new Set(this.items.length <= MOST_ROWS ? this.items : [...busy.slice(0, MOST_ROWS / 2), ...this.items.filter(({ state }) => state === "arrived").slice(-MOST_ROWS / 4), ...this.items.filter(({ state }) => state === "waiting").slice(0, MOST_ROWS / 4)]);
    const nodes = this.items.filter((item) => chosen.has(item)).map((item) => this.row(item));
    const now = [...this.list.children];
    if (now.length !== nodes.length || now.some((node, at) => node !== nodes[at])) this.list.replaceChildren(...nodes);
    this.list.hidden = !nodes.length;
    put(this.more, this.items.length > nodes.length ? `${count(this.items.length - nodes.length)} more are not listed here.` : "");
  }
  row(item) {
    if (!item.node) {
      item.node = make("li", "easel-arrive-row");
      item.sign = make("span", "easel-arrive-sign");
      item.sign.setAttribute("aria-hidden", "true");
      item.name = make("b", "", item.path);
      item.size_ = make("span", "easel-arrive-size");
      item.words = make("span", "easel-arrive-words");
      item.bar = make("progress");
      item.bar.setAttribute("aria-label", `How much of ${item.path} is here`);
      item.code = make("code", "easel-arrive-hash");
      item.points = make("ul", "easel-arrive-notes");
      item.acts = make("div", "easel-arrive-acts");
      item.move = button("", "easel-small", () => this.accept(item));
      item.stay = button("Leave it here", "easel-small easel-quiet", () => this.decline(item));
      item.acts.append(item.move, item.stay);
      item.node.append(item.sign, item.name, item.size_, item.bar, item.words, item.points, item.code, item.acts);
    }
    const { state } = item;
    const tone = item.isDoubtful ? "danger" : { arrived: "ok", failed: "danger", refused: "warn", stopped: "warn", asks: "warn", "asks-where": "warn" }[state] ?? "";
    item.node.className = `easel-arrive-row easel-arrive-is-${tone || "going"}`;
    put(item.sign, { ok: "✓", danger: "!", warn: "–" }[tone] ?? "↑");
    put(item.size_, state === "refused" ? "" : state === "sending" ? `${bytes(item.have)} of ${bytes(item.size)}` : bytes(item.size));
    item.bar.hidden = state !== "sending";
    item.bar.max = Math.max(1, item.size);
    item.bar.value = item.have;
    put(item.words, [{ arrived: `It is in ${item.place}.`, refused: "Left out:" }[state] ?? "", item.told || WORDS[state] || ""].filter(Boolean).join(" "));
    const notes = item.notes ?? [];
    item.points.hidden = !notes.length;
    if (item.points.childElementCount !== notes.length) item.points.replaceChildren(...notes.map((note) => make("li", "", note)));
    put(item.code, state === "arrived" && this.items.length <= 20 ? `SHA-256 ${item.sha256}${item.isSame ? ", the same here and on your computer" : ""}` : "");
    item.acts.hidden = !item.belongs;
    put(item.move, `Move it to ${item.belongs}`);
    return item.node;
  }
}

// A hidden folder, such as that of git, is told with one line instead of one for each of its files.
function shortened(found) {
  const kept = new Map();
  for (const { file, path } of found) {
    const parts = path.split("/"), at = parts.findIndex((part) => part.startsWith(".") && ![".", ".."].includes(part));
    const short = at < 0 ? path : parts.slice(0, at + 1).join("/");
    if (at < 0 || !kept.has(short)) kept.set(at < 0 ? file : short, { file, path: short });
  }
  return [...kept.values()];
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
  const arrivals = new Arrivals(model);
  el.append(arrivals.node);
  const take = (message) => arrivals.take(message);
  const show = () => arrivals.draw();
  model.on("msg:custom", take);
  model.on("change:busy change:target", show);
  return () => {
    arrivals.forget();
    model.off("msg:custom", take);
    model.off("change:busy change:target", show);
  };
}

export default { render };
