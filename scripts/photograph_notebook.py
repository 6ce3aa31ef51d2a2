"""Takes screenshots of the notebooks in JupyterLab, with Chromium: each place in several widths and themes.

Usage: python scripts/photograph_notebook.py FOLDER [--only TEXT]
The training is that of the `rehearsal` engine. It needs what the browser tests need (CONTRIBUTING.md). `--only` takes those
whose name contains the text. Everything (400 screenshots) takes about ten minutes on two cores.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import remote_scenes, tool_scenes
from scripts.photographed_files import THEMES, dataset, files, image_folders, job
from tests.support import browsers, lab, sampled

WIDTHS = {"1600": (1600, 1000), "1280": (1280, 800), "700": (700, 900), "390": (390, 844)}
LOW = {"low": (1280, 600)}
SIZES = WIDTHS | LOW
FILE_BROWSER = ("1600", "1280", "low")
WAIT_MS = 120_000


class Camera:
    """Takes screenshots of one notebook."""

    def __init__(self, server, browser, folder, only):
        self.server, self.folder, self.only, self.number = server, folder, only, 0
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        context.set_default_timeout(WAIT_MS)
        self.page = context.new_page()

    def open(self, home, settings=None, profile="", notebook="LoRA_Trainer"):
        self.number += 1
        # Images are only loaded where they are in sight.
        self.widen()
        name, called = f"{notebook}{self.number}.ipynb", f"    {notebook.lower()}("
        content = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())
        source = "".join(content["cells"][1]["source"])
        if settings is not None:
            source = source.replace(f"{called})", f"{called}{settings!r}, {profile!r})")
        content["cells"][1]["source"] = f"import os; os.environ['EASEL_HOME'] = {str(home)!r}\n{source}"
        (self.server.root / name).write_text(json.dumps(content))
        lab.Notebook(self.page, self.server, name).open().run()
        self.page.wait_for_selector(".easel[data-easel-keys=kept]")
        self.page.get_by_label("Theme", exact=True).wait_for()

    def shoot(self, title, widths=tuple(WIDTHS), themes=THEMES, at=".easel"):
        page = self.page
        for theme in themes:
            page.get_by_label("Theme", exact=True).select_option(theme.capitalize())
            for width in widths:
                name = f"{title}-{width}-{theme}"
                if self.only and self.only not in name:
                    continue
                page.set_viewport_size(dict(zip(("width", "height"), SIZES[width], strict=True)))
                shown = page.evaluate(
                    "() => !document.querySelector('#jp-left-stack')?.classList.contains('lm-mod-hidden')"
                )
                if shown != (width in FILE_BROWSER):
                    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
                page.evaluate(
                    "at => { document.querySelector(at).scrollIntoView(); document.activeElement?.blur() }", at
                )
                page.wait_for_timeout(700)
                page.screenshot(path=self.folder / f"{name}.png")
                print(name, flush=True)

    def wants(self, text):
        return not self.only or self.only.startswith("-") or text in self.only or self.only in text

    def widen(self):
        """The widest page: some buttons are in another place on a narrow one."""
        self.page.set_viewport_size(dict(zip(("width", "height"), WIDTHS["1600"], strict=True)))

    def go(self, place):
        self.page.get_by_role("tab", name=place).click()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--only", default="")
    asked = arguments.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="easel-photographs-"))
    os.environ["EASEL_HOME"] = str(scratch / "first")
    from playwright.sync_api import sync_playwright

    try:
        with lab.serve(scratch / "lab") as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browsers.find(), args=lab.CHROMIUM_ARGUMENTS)
            take(Camera(replace(server, has_file_browser=True), browser, asked.folder, asked.only), scratch)
            browser.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def results(camera, home):
    """Results with several prompts and validation losses, beside ComfyUI."""
    from trainer_core import places
    from trainer_core.training.run import list_runs

    os.environ["EASEL_HOME"] = str(home)
    run = list_runs(places.runs())[0]
    sampled.add_drawn(run, (0, 120, 240, 360, 480, 600), 4)
    sampled.add_validation(run, {120: 0.1157, 240: 0.1009, 360: 0.0983, 480: 0.1009, 600: 0.1076})
    page = camera.page
    camera.widen()
    camera.go("Results")
    page.get_by_role("button", name="Mark Step 360 as your best").click()
    page.wait_for_timeout(2500)
    camera.shoot("6-results")
    page.get_by_role("button", name="Two with a slider").click()
    page.wait_for_timeout(1500)
    camera.shoot("6-results-two", themes=THEMES[:2])
    page.get_by_role("button", name="Grid", exact=True).click()
    camera.widen()
    page.locator('.easel-compare .easel-sg-tile[data-key="360"]').first.click()
    page.get_by_role("button", name="Upload to Hugging Face").click()
    page.get_by_role("button", name="All entries").click()
    page.wait_for_timeout(2500)
    camera.shoot("6-results-upload", at=".easel-publish")


def history(camera, home):
    """The history with three runs: the table, one of them in full, and two of them compared."""
    from trainer_core import places
    from trainer_core.training.run import list_runs

    first = list_runs(places.runs())[0].folder.path
    for number in (1, 2):
        shutil.copytree(first, first.with_name(first.name.replace("elena_v3", f"elena_v{number}")))
    page = camera.page
    camera.go("History")
    page.wait_for_timeout(2500)
    camera.shoot("7-history")
    camera.widen()
    for number in (0, 1):
        page.locator(".easel-runs-row input[type=checkbox]").nth(number).click()
    page.locator(".easel-runs-row .easel-runs-name").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".easel-compare-table").wait_for()
    page.wait_for_timeout(2000)
    camera.shoot("7-history-compared")


def guide(camera):
    """The guide beside the page."""
    camera.widen()
    camera.page.locator(".easel-place-help").click()
    camera.page.locator(".easel-guide-body").wait_for()
    camera.shoot("2-guide", themes=THEMES[:4])
    camera.widen()
    camera.page.locator(".easel-guide").get_by_role("button", name="Close").click()


def finetuning(camera, first, home):
    """The finetuning trainer before anything was answered, and with a model; the file picker."""
    page = camera.page
    camera.open(first, notebook="Finetuning_Trainer")
    # Not a click with the mouse: the bar, which stays in sight, may cover the first row of a narrow page.
    page.get_by_role("radio").nth(0).press("Space")
    camera.shoot("9-finetuning-first")
    page.get_by_role("button", name="Choose a file or folder").click()
    page.locator(".easel-picker-path").get_by_text("/").wait_for()
    camera.shoot("9-finetuning-picker")
    settings = {**job(home), "schedule.steps": 2000, "output.save_every_steps": 500}
    camera.open(home, settings, "sd15-finetune", notebook="Finetuning_Trainer")
    camera.widen()
    page.locator(".easel-method").nth(1).click()
    page.locator(".easel-method.mod-active").filter(has_text="DreamBooth").wait_for()
    page.wait_for_timeout(1500)
    camera.shoot("9-finetuning-ready")


def take(camera, scratch):
    """All screenshots, in the order of a first training."""
    page = camera.page
    if camera.wants("folders"):
        image_folders(camera, scratch)
    if camera.only.startswith("9-tools"):
        tool_scenes.take(camera, scratch)
    if camera.wants("9-remote"):
        remote_scenes.take(camera, scratch)
    if camera.only.startswith(("9-folders", "9-tools", "9-remote")):
        return
    first, home = scratch / "first", scratch / "home"
    camera.open(first)
    camera.shoot("1-first")
    camera.open(home, job(home, steps_per_second=10), "sd15-character")
    page.wait_for_function("() => [...document.querySelectorAll('.easel-gallery-tile img')].every(image => image.src)")
    camera.shoot("2-ready")
    guide(camera)
    for name, button in (("2-settings", "settings"), ("2-files", "files")):
        camera.widen()
        page.locator(f".easel-opens-{button}").click()
        page.wait_for_timeout(1500)
        camera.shoot(name, at=".easel-drawer:not(.easel-away)")
        page.locator(f".easel-opens-{button}").click()
    page.get_by_label("Rank", exact=True).locator("visible=true").fill("5000")
    page.get_by_label("Rank", exact=True).locator("visible=true").press("Enter")
    page.wait_for_timeout(1000)
    camera.shoot("3-problem")
    camera.shoot("3-problem", LOW, THEMES[:1])
    page.get_by_label("Rank", exact=True).locator("visible=true").fill("32")
    page.get_by_label("Rank", exact=True).locator("visible=true").press("Enter")
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_function("() => document.querySelector('.easel-chart')?.easelSeries.steps.length > 130")
    camera.shoot("4-watch")
    camera.shoot("4-watch", LOW, THEMES[:1])
    camera.go("Prepare")
    camera.shoot("2-queue", themes=THEMES[:2])
    camera.go("Watch")
    page.wait_for_function("() => document.querySelector('.easel-monitor')?.dataset.state === 'COMPLETED'")
    camera.shoot("5-finished")
    results(camera, home)
    history(camera, home)
    # A home of its own: the notebook before is still open, and would follow the same run.
    photograph_failure(camera, scratch / "failing")
    if camera.wants("finetuning"):
        finetuning(camera, first, home)
    if camera.wants("dataset"):
        dataset(camera, scratch)
    if camera.wants("files"):
        files(camera, scratch)
    if not camera.only:
        tool_scenes.take(camera, scratch)


def photograph_failure(camera, home):
    """A run that ran out of memory, with the changes that may help."""
    failing = job(home, steps_per_second=60, ending="oom") | {"schedule.steps": 300, "output.save_every_steps": 60}
    camera.open(home, failing, "sd15-character")
    camera.page.get_by_role("button", name="Start training").click()
    camera.page.wait_for_selector(".easel-option")
    camera.shoot("8-failure")


if __name__ == "__main__":
    main()
