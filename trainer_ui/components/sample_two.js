// Two checkpoints of one prompt, one over the other, with a slider between them.

function choice(label, className) {
  const node = make("select", `easel-sg-select ${className}`);
  node.setAttribute("aria-label", label);
  return node;
}

function fill(select, options, value) {
  const same = select.options.length === options.length && options.every(([key, text], at) => select.options[at].value === String(key) && select.options[at].text === text);
  if (!same) select.replaceChildren(...options.map(([key, text]) => new Option(text, String(key))));
  if (options.some(([key]) => String(key) === String(value))) select.value = String(value);
}

class Two {
  constructor(images) {
    this.images = images;
    this.node = make("div", "easel-sg-two");
    this.prompt = choice("Prompt", "easel-sg-wide");
    this.left = choice("Left checkpoint", "");
    this.right = choice("Right checkpoint", "");
    const bar = make("div", "easel-sg-twobar");
    bar.append(this.prompt, this.left, make("span", "easel-sg-versus", "and"), this.right);
    this.stage = make("div", "easel-sg-stage");
    this.under = make("img");
    this.over = make("img", "easel-sg-over");
    this.tags = [make("span", "easel-sg-tag"), make("span", "easel-sg-tag easel-sg-tagright")];
    this.none = make("p", "easel-sg-none");
    this.slider = make("input", "easel-sg-divide");
    this.slider.type = "range";
    this.slider.min = "0";
    this.slider.max = "100";
    this.slider.value = "50";
    this.slider.setAttribute("aria-label", "How much of the left image is shown, in percent");
    this.slider.addEventListener("input", () => this.divide());
    this.stage.append(this.under, this.over, make("i", "easel-sg-edge"), ...this.tags, this.slider);
    this.node.append(bar, this.stage, this.none);
    for (const select of [this.prompt, this.left, this.right]) select.addEventListener("change", () => this.draw());
    this.divide();
  }
  divide() { this.stage.style.setProperty("--sg-divide", `${this.slider.value}%`); }
  show(content, chosen) {
    this.content = content;
    const columns = content.columns.filter((column) => column.images.some((image) => image >= 0));
    const steps = columns.map((column) => [column.key, column.said ?? column.title]);
    const first = this.left.value || steps[0]?.[0];
    const wanted = columns.some((column) => column.key === chosen) && chosen !== Number(first) ? chosen : steps.at(-1)?.[0];
    fill(this.prompt, content.rows.map((row, at) => [at, `${at + 1}: ${row.text || "Prompt"}`]), this.prompt.value || 0);
    fill(this.left, steps, first);
    fill(this.right, steps, this.right.value || wanted);
    this.draw();
  }
  draw() {
    const row = Number(this.prompt.value);
    const found = [this.left, this.right].map((select) => this.content.columns.find((column) => String(column.key) === select.value));
    const absent = found.filter((column) => !column || !(column.images[row] >= 0));
    this.stage.hidden = absent.length > 0;
    this.none.textContent = absent.length ? `No sample of this prompt was made at ${absent.map((column) => column?.said ?? column?.title ?? "this step").join(" and ")}.` : "";
    if (absent.length) return;
    found.forEach((column, at) => {
      const image = at ? this.under : this.over;
      const index = column.images[row];
      this.tags[at].textContent = column.said ?? column.title;
      image.alt = `${this.content.rows[row]?.text ?? ""}, ${column.said ?? column.title}`;
      image.dataset.index = String(index);
      const draft = this.images.known(index, "full") ?? this.images.known(index, "small");
      if (draft) image.src = draft;
      else image.removeAttribute("src");
      this.images.want(index, "full", (url) => { if (url && image.dataset.index === String(index)) image.src = url; });
    });
  }
}
