"""The LoRA trainer in JupyterLab and a browser, with an engine that replays a recorded training."""

import itertools
import json
import re

from playwright.sync_api import expect

from tests.support import recorded_headers
from tests.support.page import prepare
from tests.support.pages import fill, go, unfold
from trainer_core import catalog, events, places
from trainer_core.engines import registry
from trainer_core.jobs.state import JobState
from trainer_core.prepare.workbench import Workbench
from trainer_core.training.run import Run, list_runs

STEPS = "() => document.querySelector('.easel-at-watch .easel-chart')?.easelSeries.steps ?? []"
STATE = "state => document.querySelector('.easel-at-watch .easel-monitor')?.dataset.state === state"
LOG_AT_ITS_END = """() => { const log = document.querySelector('.easel-at-watch .easel-log');
  return log.scrollHeight > log.clientHeight && log.scrollTop + log.clientHeight > log.scrollHeight - 2 }"""
FOCUSED = "() => document.activeElement.labels?.[0]?.innerText || document.activeElement.innerText || ''"
EVIL = "<img src=x onerror=\"window.__pwned='page'\">"
FORMULA = r"$\href{javascript:window.__pwned='formula'}{x}$"


def steps(page):
    return page.evaluate(STEPS)


def wait_for_steps(page, number):
    page.wait_for_function(f"number => ({STEPS})().length >= number", arg=number)


def test_the_shipped_notebook_shows_the_app_and_start_is_reached_by_keyboard(notebook, page):
    notebook().run()
    expect(page.get_by_text("Four questions, then you can train", exact=True)).to_be_visible()
    expect(page.locator(".jp-CodeCell .jp-Cell-inputWrapper")).to_be_hidden()
    page.get_by_label("Theme", exact=True).focus()
    met = []
    for _ in range(120):
        page.keyboard.press("Tab")
        met.append(page.evaluate(FOCUSED).strip().split("\n")[0])
        if met[-1] == "Name":
            break
    assert met[0] == "Start training", "it is the first thing after the head"
    # No model is on this machine, so there is no list of them.
    order = ["Path or link", "Trigger word", "Character", "Name"]
    assert [text for text in met if text in order] == order, "in reading order"
    page.get_by_role("button", name="Start training").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Not started.")).to_be_visible()


def test_every_field_has_a_name_and_no_label_is_cut_off_with_ten_thousand_steps(notebook, page, home):
    told = [events.Progress(0, 10_000), *(events.Step(step, 1 / step, 1e-4) for step in range(1, 10_001))]
    _ended_run(prepare(home, 10_000), told, {"state": "COMPLETED", "outputs": [], "seconds": 1.0})
    notebook(prepare(home), "sd15-character").run()
    unfold(page, "Model", "Output", "Samples", "Memory")
    for group in page.locator(".easel-fold:visible").all():
        group.click()
    page.wait_for_function("() => document.querySelectorAll('.easel-setting').length > 45")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('.easel :is(input, select, textarea, button)')]
        .filter(node => node.offsetParent && !node.closest('.easel-help') && !(node.labels?.[0]?.innerText || node.innerText || node.ariaLabel || node.title).trim())
        .map(node => node.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    go(page, "History")
    page.locator(".easel-runs-row").click()
    page.get_by_role("button", name="Watch chart").click()
    page.wait_for_function(f"() => ({STEPS})().length === 10000")
    for width, place in itertools.product((1360, 700, 480), ("Prepare", "Watch", "Results", "History")):
        go(page, place)
        page.set_viewport_size({"width": width, "height": 900})
        cut = page.evaluate(
            """() => [...document.querySelectorAll('.easel :is(label, .widget-label, button, .easel-cell-value)')]
            .filter(node => node.offsetParent && !node.closest('.easel-theme-choice') && node.scrollWidth > node.clientWidth + 1)
            .map(node => `${node.innerText} ${node.scrollWidth} > ${node.clientWidth}`)"""
        )
        assert cut == [], (width, place)
        assert page.evaluate(
            "() => document.querySelector('.easel').scrollWidth <= document.querySelector('.easel').clientWidth"
        ), (width, place)


def test_settings_follow_the_optimizer_and_can_be_left_to_it(notebook, page, home):
    notebook(prepare(home)).run()
    page.get_by_role("button", name="Optimizer:").click()
    beta, factor = (page.get_by_label(label, exact=True) for label in ("Beta 1", "Prodigy factor"))
    expect(beta).to_have_attribute("placeholder", "0.9")
    expect(factor).to_be_hidden()
    page.get_by_label("Optimizer", exact=True).select_option(label="Prodigy")
    expect(factor).to_be_visible()
    expect(page.get_by_text(catalog.optimizers()["Prodigy"].doc, exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Optimizer: 10 more")).to_be_visible()
    fill(page, "Beta 1", "0.8")
    expect(page.get_by_role("button", name="Optimizer: 10 more, 1 yours")).to_be_visible()
    fill(page, "Beta 1", "")
    expect(beta).to_have_value("")
    fill(page, "Prodigy factor", "2")
    page.get_by_label("Optimizer", exact=True).select_option(label="AdamW")
    expect(factor).to_be_visible()
    expect(page.get_by_text("Prodigy factor has no effect with AdamW.", exact=True)).to_be_visible()
    unfold(page, "Memory")
    page.get_by_label("Memory preset", exact=True).select_option(label="Standard memory, 2 x 8 images per step")
    expect(page.get_by_label("Gradient accumulation", exact=True)).to_have_value("8")


def test_from_images_to_a_finished_run(notebook, page, home):
    job = prepare(home)
    notebook().run()
    page.get_by_label("Models on this machine", exact=True).select_option(label="sd15: Stable Diffusion 1.5, 2.13 GB")
    expect(page.get_by_text("is a checkpoint: Stable Diffusion 1.5")).to_be_visible()
    fill(page, "Folder with images and captions", job["dataset.path"])
    expect(page.get_by_text("6 of 6 images have a caption")).to_be_visible()
    fill(page, "Trigger word", "ohwx")
    page.get_by_label("Profile", exact=True).select_option(label="Character")
    expect(page.get_by_label("Batch size", exact=True)).to_have_value("2")
    fill(page, "Name", "from_the_page")
    fill(page, "Steps", "60")
    unfold(page, "Samples")
    fill(page, "Sample every (steps)", "20")
    # The profile warms up for longer than these few steps: a problem says so, and a click fixes it.
    page.get_by_role("button", name="Warm up over 10 % of the steps").click()
    expect(page.locator(".easel-headline").get_by_text("from_the_page on Stable Diffusion 1.5")).to_be_visible()
    expect(page.locator(".easel-figures").get_by_text("60 steps")).to_be_visible()
    page.get_by_role("button", name="Start training").click()
    wait_for_steps(page, 5)
    page.wait_for_function(STATE, arg="COMPLETED")
    assert steps(page) == list(range(1, 61))
    expect(page.locator(".easel-end")).to_contain_text("from_the_page.safetensors")
    painted = page.evaluate(
        """() => { const canvas = document.querySelector('.easel-chart canvas');
        return new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size }"""
    )
    assert painted > 20
    expect(page.locator(".easel-run-pill")).to_have_text("Finished")
    page.get_by_role("button", name="See the result").click()
    expect(page.locator(".easel-results")).to_contain_text("from_the_page.safetensors")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.easel-results .easel-sg-tile img')].some(one => one.naturalWidth)"
    )
    go(page, "History")
    expect(page.locator(".easel-runs-row")).to_contain_text("from_the_page")
    expect(page.locator(".easel-runs-row")).to_contain_text("Finished")
    go(page, "Watch")
    page.set_viewport_size({"width": 480, "height": 900})
    page.wait_for_function(LOG_AT_ITS_END)
    page.get_by_role("button", name="Close: it stays").click()
    expect(page.locator(".easel-watch").get_by_text("Nothing is training")).to_be_visible()
    page.get_by_role("button", name="Go to Prepare").click()
    expect(page.get_by_role("tab", name="Prepare")).to_have_attribute("aria-selected", "true")
    unfold(page, "Output")
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("from_the_page")


def test_a_run_outlives_page_and_kernel_and_is_shown_again(notebook, page, home, new_page):
    book = notebook(prepare(home, steps=20_000, steps_per_second=20)).run()
    page.get_by_role("button", name="Start training").click()
    wait_for_steps(page, 5)
    book.save()
    page.close()

    page = book.page = new_page()
    book.reopen()
    wait_for_steps(page, 20)
    seen = steps(page)
    assert seen == list(range(1, len(seen) + 1))

    book.restart_kernel()
    expect(page.get_by_role("alert").filter(has_text="run the cell again")).to_be_visible()
    (run,) = list_runs(places.runs())
    assert run.state is JobState.RUNNING
    book.run()
    page.wait_for_function(STATE, arg="RUNNING")
    expect(page.locator(".easel-cells")).to_contain_text("Memory")
    wait_for_steps(page, len(seen) + 20)
    expect(page.get_by_role("tab", name="Watch")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("alert")).to_be_hidden()
    now = steps(page)
    assert now == list(range(1, len(now) + 1))

    page.get_by_role("button", name="Stop:").click()
    page.get_by_role("button", name="Stop it now").click()
    page.wait_for_function(STATE, arg="CANCELLED")
    expect(page.locator(".easel-run-pill")).to_have_text("Stopped")
    assert run.state is JobState.CANCELLED


def test_auto_follows_jupyterlab(notebook, page):
    book = notebook().run()
    for lab_theme, dark in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
        book.set_theme(lab_theme)
        ground = page.evaluate("() => getComputedStyle(document.querySelector('.easel')).backgroundColor")
        assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) is dark


def test_text_from_outside_is_shown_as_text(notebook, page, home, tmp_path):
    recorded = recorded_headers.load("sd15")
    (home / "models").mkdir(parents=True)
    model = home / "models" / f"{EVIL.replace('/', '')}.safetensors"
    keys = ("modelspec.title", "modelspec.architecture", "modelspec.prediction_type", "ss_base_model_version", EVIL)
    recorded_headers.write_file(model, recorded["tensors"], dict.fromkeys(keys, EVIL))
    job = prepare(home) | {"model.path": str(model)}
    folder = home / "images"
    (folder / "image0.txt").write_text(f"{EVIL} {FORMULA}")
    (folder / "image1.png").rename(folder / f"{EVIL}.png")
    (folder / "image2.png").rename(folder / f"{FORMULA.replace('/', '')}.png")
    profile = tmp_path / "evil.toml"
    text = json.dumps(EVIL + FORMULA)
    profile.write_text(
        f'id="evil"\ntitle={text}\nfamily="sd15"\nmethod="lora"\nuse="style"\nexplanation={text}\nsources=[{text}]\n'
    )
    _evil_run(job)
    job |= {"output.name": EVIL, "dataset.trigger": EVIL, "sampling.prompt": EVIL, "output.copy_to": f"/{EVIL}"}

    notebook(job, str(profile)).run()
    unfold(page, "Model", "Output", "Samples", "Memory")
    for group in page.locator(".easel-fold:visible").all():
        group.click()
    # A name and a folder like these stop the start, and the sentences that say so quote them.
    expect(page.get_by_role("button", name="Start training")).to_contain_text("2 things stop it")
    shown = page.locator(".easel").inner_text()
    for place in ("Results", "History"):
        go(page, place)
        page.wait_for_timeout(500)
        shown += page.locator(".easel").inner_text()
    page.locator(".easel-runs-row").filter(has_text="<img").first.focus()
    page.keyboard.press("Enter")
    card = page.locator(".easel-past-run")
    expect(card).to_contain_text("<img")
    shown += card.inner_text()
    card.get_by_role("button", name=re.compile("^Watch")).click()
    page.wait_for_function(STATE, arg="FAILED")
    # Lines are made for what is in sight.
    page.locator(".easel-at-watch .easel-log").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.easel-at-watch .easel-log').innerText.includes('<img')")
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.__pwned") is None
    # The one link is Easel's own: to the licence of a starter model.
    made = ".easel img[src=x], .easel a:not(.easel-starter-licence), .easel script, .easel mjx-container"
    assert page.locator(made).count() == 0
    shown += page.locator(".easel").inner_text()
    assert shown.count("<img src=x") >= 8
    for place in (
        ".easel-at-watch .easel-log",
        ".easel-at-watch .easel-end",
        ".easel-at-watch .easel-run",
        ".easel-runs-row",
    ):
        assert "<img" in (page.locator(place).first.text_content() or ""), place


def _evil_run(job):
    """An ended run in which every text is markup that would run a script."""
    told = [
        events.Phase(EVIL, EVIL),
        events.Step(1, 0.5, 1e-4),
        events.Sample("output/a.png", 1),
        events.Notice("error", EVIL + FORMULA),
    ]
    verdict = {"id": "x", "cause": EVIL, "line": EVIL, "advice": EVIL}
    result = {"state": "FAILED", "outputs": [EVIL], "seconds": 1.0, "diagnosis": verdict}
    run = _ended_run(job | {"sampling.prompt": EVIL, "dataset.trigger": EVIL}, told, result)
    run.folder.log.write_text(f"{EVIL}\n{FORMULA}\n{EVIL}")
    image = next(run.folder.dataset.rglob("*.png"))
    (run.folder.output / "a.png").write_bytes(image.read_bytes())
    return Run.attach(run.folder.path.rename(run.folder.path.with_name(f"20200101-000000-{EVIL}")))


def _ended_run(job, told, result):
    """An ended run with a real folder and events written by this test."""
    bench = Workbench(engine="rehearsal")
    bench.set(job)
    engine = registry.get("rehearsal")
    run = Run.prepare(bench.state.draft.plan(engine), engine, bench.state.facts.dataset)
    run.folder.events.write_text("".join(json.dumps(events.to_dict(event)) + "\n" for event in told))
    run.folder.write("result.json", result)
    return run


def test_keys_on_a_dropdown_reach_the_dropdown_and_not_jupyterlab(notebook, page, home):
    """In JupyterLab's command mode "x" cuts the cell and the arrow keys leave it."""
    notebook(prepare(home)).run()
    page.wait_for_selector(".easel[data-easel-keys=kept]")
    profile = page.get_by_label("Profile", exact=True)
    profile.focus()
    before = profile.input_value()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("before => document.activeElement.value !== before", arg=before)
    for key in ("x", "a", "d", "d"):
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="Start training")).to_be_visible()
    assert page.evaluate("() => document.querySelectorAll('.jp-Notebook .jp-Cell').length") == 2


def test_the_question_about_stopping_has_the_keyboard(notebook, page, home):
    notebook(prepare(home, steps=20_000, steps_per_second=20)).run()
    page.get_by_role("button", name="Start training").click()
    wait_for_steps(page, 3)
    page.get_by_role("button", name="Stop:").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Let it run")).to_be_focused()
    expect(page.get_by_text("Nothing was saved yet, so its result is lost.", exact=False)).to_be_visible()
    page.keyboard.press("Enter")
    stop = page.get_by_role("button", name="Stop:")
    expect(stop).to_be_focused()
    stop.click()
    expect(page.get_by_role("button", name="Let it run")).to_be_focused()
    stop.click()
    expect(page.get_by_role("button", name="Stop it now")).to_be_focused()
