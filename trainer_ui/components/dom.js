// Elements and numbers as text. Text from outside is only ever set as textContent.

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

// Changes a text only if it differs, so that a selection and the reading of a screen reader are not interrupted.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function button(words, className, act) {
  const node = make("button", `jupyter-button ${className}`, words);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

// Two lines: what it is, and what it does.
function twoLines(node, title, brief) {
  if (!node.firstChild) node.append(make("b"), make("small"));
  put(node.firstChild, title);
  put(node.lastChild, brief);
  node.setAttribute("aria-label", `${title}: ${brief}`);
}

const known = (number) => typeof number === "number" && Number.isFinite(number);
const text = (value) => (typeof value === "string" ? value : "");
const list = (value) => (Array.isArray(value) ? value : []);
const count = (number) => number.toLocaleString("en");

function loss(number) {
  return known(number) ? (Math.abs(number) >= 0.001 || number === 0 ? number.toFixed(4) : number.toExponential(2)) : "–";
}

function rate(number) {
  if (number === 0) return "0";
  return known(number) ? number.toExponential(2).replace(/\.?0+e/, "e") : "–";
}

function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// A small curve of a series, as an image without a name: the figure beside it says the same in numbers.
function spark(values, range) {
  const found = values.filter(known);
  if (found.length < 3) return null;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const [low, high] = range ?? [Math.min(...found), Math.max(...found)];
  const air = (high - low) * 0.1 || Math.abs(high) * 0.05 || 1;
  const x = (index) => ((index / (found.length - 1)) * 100).toFixed(2);
  const y = (value) => (23 - ((value - low + air) / (high - low + 2 * air)) * 22).toFixed(2);
  const points = found.map((value, index) => `${x(index)} ${y(value)}`).join(" ");
  svg.setAttribute("class", "easel-spark");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, d] of [["area", `M0 24 L${points} L100 24z`], ["curve", `M${points}`]]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
