"""Watch in JupyterLab and a browser: keyboard, chart, log, the card of a failed run, and what reload and restart bring back."""

from playwright.sync_api import expect

from tests.support.page import prepare

STEPS = "() => document.querySelector('.easel-chart')?.easelSeries.steps.length ?? 0"
LABEL = "() => document.querySelector('.easel-plot > canvas').getAttribute('aria-label')"


def test_a_run_is_watched_zoomed_and_searched_with_mouse_and_keyboard(notebook, page, home):
    settings = prepare(home, steps=20_000, steps_per_second=60) | {"output.save_every_steps": 40}
    book = notebook(settings).run()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_function(f"() => ({STEPS})() > 60")
    bar, chart = page.get_by_role("region", name="Run", exact=True), page.locator(".easel-plot > canvas")
    expect(bar.locator(".easel-run-headline")).to_contain_text(" left")
    expect(bar.locator(".easel-run-end")).to_contain_text("ends about")
    assert "of 20,000 steps" in bar.get_by_role("progressbar").get_attribute("aria-valuetext")

    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".easel-tip")).to_be_visible()
    expect(page.locator(".easel-chart > .easel-sr")).to_contain_text("smoothed")
    for key in ("b", "d", "d"):
        page.keyboard.press(key)
    assert page.evaluate("() => document.querySelectorAll('.jp-Notebook .jp-Cell').length") == 2, (
        "JupyterLab took a key"
    )
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 60, steps=3)
    page.mouse.up()
    page.wait_for_function(f"() => ({LABEL})().includes('Zoomed to steps')")
    page.mouse.dblclick(box["x"] + 200, box["y"] + 60)
    page.wait_for_function(f"() => !({LABEL})().includes('Zoomed')")
    page.get_by_role("button", name="Learning rate").click()
    page.wait_for_function(f"() => ({LABEL})().startsWith('Learning rate')")

    page.get_by_role("button", name="Save now").click()
    expect(page.get_by_text("saves a checkpoint after the current step").first).to_be_visible()
    log = page.get_by_role("region", name="Log")
    log.get_by_role("button", name="All lines").click()
    expect(log.locator(".easel-log")).to_contain_text("steps:")
    log.get_by_label("Find in the log").fill("loading model")
    log.get_by_role("button", name="Search the whole log").click()
    expect(log.locator(".easel-log-foot")).to_contain_text("of the whole log contain")
    assert log.locator("mark").count() >= 1

    book.restart_kernel()
    expect(page.get_by_role("alert").filter(has_text="run the cell again")).to_be_visible()
    book.run()
    page.wait_for_function(f"() => ({STEPS})() > 60")
    expect(bar.locator(".easel-stages")).to_contain_text("Training")
    bar.get_by_role("button", name="Stop: keeps").press("Enter")
    expect(page.get_by_role("button", name="Let it run")).to_be_focused()
    page.get_by_role("button", name="Stop it now").click()
    expect(bar.locator(".easel-run-pill")).to_have_text("Stopped")
    expect(page.locator(".easel-end")).to_contain_text("This run was stopped at step")


def test_a_failed_run_shows_cause_line_and_a_fix_that_starts_it_again(notebook, page, home):
    settings = prepare(home, steps=30, steps_per_second=100, ending="oom") | {"schedule.batch_size": 4}
    notebook(settings).run()
    page.get_by_role("button", name="Start training").click()
    card = page.get_by_role("region", name="How the run stands")
    expect(card.get_by_role("radio").first).to_be_visible()
    expect(card.locator("code")).to_contain_text("out of memory")
    assert "failed at" not in page.locator(".easel-log").inner_text()
    assert page.locator(".easel").inner_text().count("The GPU ran out of memory.") <= 2, "once, and once in the log"
    card.get_by_role("radio").last.check()
    card.get_by_role("button", name="Start again with this change").click()
    expect(page.get_by_role("tab", name="History")).to_contain_text("2")
