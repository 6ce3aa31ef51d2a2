"""What the tests of the look and of the keyboard ask a page: JavaScript that returns what is wrong, or where the keyboard is."""

CELLS = "() => document.querySelectorAll('.jp-Notebook .jp-Cell').length"
IN_APP = "() => document.activeElement !== document.body && Boolean(document.activeElement.closest('.easel'))"
OVERFLOW = """() => [...document.querySelectorAll('.easel, .easel *')].filter(node => {
  if (!node.checkVisibility() || node.closest('.easel-log, .easel-sg-scroll, .easel-sg-strip, .easel-strip, .easel-pop, svg')) return false;
  const own = node.getBoundingClientRect(), app = document.querySelector('.easel').getBoundingClientRect();
  return own.width && (own.right > app.right + 1 || own.left < app.left - 1);
}).map(node => `${node.className}: ${node.innerText?.slice(0, 60)}`)"""
WEAK = """() => {
  const parse = (text) => {
    const parts = text.match(/[\\d.]+(e-?\\d+)?/g).map(Number);
    const whole = text.startsWith('color(');
    const [r, g, b, a = 1] = parts;
    return whole ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (c) => { const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const found = [];
  const texts = document.createTreeWalker(document.querySelector('.easel'), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
    if (!text || !node.checkVisibility() || node.closest('style, option, .easel-step-button')) continue;
    const below = ground(node), colour = over(parse(getComputedStyle(node).color), below);
    const [dark, bright] = [light(below), light(colour)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    if (ratio < 4.5) found.push(`${text.slice(0, 40)} (${node.className}): ${ratio.toFixed(2)}`);
  }
  return found;
}"""
