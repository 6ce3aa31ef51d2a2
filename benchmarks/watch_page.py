"""Measures Watch's page with a long run in Chromium: 10,000 steps at once, then more at 4 Hz with a moving pointer, and a long log.

Usage: python benchmarks/watch_page.py [STEPS]. It needs what the browser tests need (CONTRIBUTING.md), and no JupyterLab.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import browsers, lab

ROOT = Path(__file__).resolve().parents[1]
COMPONENTS = ROOT / "trainer_ui" / "components"
LIMIT_MS, REPEATS = 100, 3
PAGE = """
const steps = %d;
const longest = { before: 0, at_once: 0, growing: 0 };
let part = "before";
new PerformanceObserver((seen) => {
  for (const task of seen.getEntries()) longest[part] = Math.max(longest[part], task.duration);
}).observe({ entryTypes: ["longtask"] });
const heard = {};
const model = { on: (name, call) => { heard[name] = call; }, off: () => {}, send: () => {}, get: () => ({}) };
const points = (from, number) => new DataView(Float32Array.from({ length: 3 * number }, (_, i) => {
  const step = from + 1 + Math.floor(i / 3);
  return [step, 0.1 + 0.1 * Math.exp(-step / 2000) + 0.05 * Math.random(), 1e-4][i %% 3];
}).buffer);
const status = { state: "RUNNING", total: 2 * steps, failed_at: 0, old: "" };
const say = (from, number, full, bytes = points(from, number)) => {
  const began = performance.now();
  heard["msg:custom"]({ kind: "run", run: "r", full, from, status, story: [], cells: [], saves: [500, 1000], validations: [],
    log: { lines: Array.from({ length: Math.min(300, number) }, (_, i) => `line ${from + i} of the engine`), open: "bar" } }, [bytes]);
  return performance.now() - began;
};
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
async function measure(module) {
  const place = document.getElementById("place");
  module.render({ model, el: place });
  await wait(100);
  document.querySelectorAll(".easel-chip")[1]?.click();
  // Making up the steps is no work of the page.
  const bytes = points(0, steps);
  await wait(300);
  part = "at_once";
  const first = say(0, steps, true, bytes);
  await wait(600);
  part = "growing";
  const took = [];
  const canvas = document.querySelector("canvas");
  for (let i = 0; i < 40; i++) {
    took.push(say(steps + 5 * i, 5, false));
    canvas?.dispatchEvent(new PointerEvent("pointermove", { clientX: 100 + 10 * i, clientY: 100 }));
    await wait(100);
  }
  delete longest.before;
  return { first_ms: first, update_ms: Math.max(...took), longest_task_ms: longest };
}
"""


def module(*names: str) -> str:
    return "".join((COMPONENTS / name).read_text() for name in names)


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    from playwright.sync_api import sync_playwright

    style = "".join(
        path.read_text() for path in (ROOT / "themes/light.css", *sorted((ROOT / "themes/parts").glob("*.css")))
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browsers.find(), args=lab.CHROMIUM_ARGUMENTS)
        found: dict[str, list[dict[str, Any]]] = {"chart": [], "log": []}
        for _ in range(REPEATS):
            found["chart"].append(measured(browser, style, steps, ("dom.js", "chart.js", "monitor.js")))
            found["log"].append(measured(browser, style, steps, ("dom.js", "log.js")))
        browser.close()
    worst = []
    for name, figures in found.items():
        longest = [max(each["longest_task_ms"].values()) for each in figures]
        worst.append(min(longest))
        update = min(each["update_ms"] for each in figures)
        print(
            f"{name}: longest task {min(longest):.0f} ms (all: {longest}), a message {update:.1f} ms, {steps:,} steps"
        )
    # Other programs only add to the time of a task, so the least of the repeats counts.
    sys.exit(max(worst) > LIMIT_MS)


def measured(browser: Any, style: str, steps: int, files: tuple[str, ...]) -> dict[str, Any]:
    """The figures of one page with these components."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_content(f"<style>{style}</style><div class='easel easel-theme-light'><div id=place></div></div>")
    code = json.dumps(PAGE % steps)
    page.evaluate(
        f"() => {{ const code = document.createElement('script'); code.textContent = {code}; document.head.append(code) }}"
    )
    source = json.dumps(module(*files))
    address = f"URL.createObjectURL(new Blob([{source}], {{ type: 'text/javascript' }}))"
    figures = page.evaluate(f"async () => measure((await import({address})).default)")
    page.close()
    return figures


if __name__ == "__main__":
    main()
