"""The place History in JupyterLab: the table by keyboard, the card of a run, the comparison, and the trash."""

import pytest
from playwright.sync_api import expect

from tests.support.looks import CELLS, IN_APP, OVERFLOW, WEAK
from tests.support.pages import go
from tests.support.written_runs import write_events, write_run
from trainer_core import events, places
from trainer_core.jobs.queueing import requests
from trainer_core.training import labels
from trainer_core.training.folder import RunFolder

READY = ".easel[data-easel-keys=kept]"
ROW = ".easel-runs-row"
HERE = "() => document.activeElement?.closest('.easel-runs-row')?.querySelector('.easel-runs-name')?.textContent ?? ''"


def write(number, state="COMPLETED", **settings):
    path = write_run(f"202601{number % 28 + 1:02}-{number // 28:02}0000-run{number:02}", state=state, **settings)
    write_events(path, *(events.Step(step, 0.2 / number - step / 10_000, 1e-4) for step in range(1, 101)))
    return path


@pytest.fixture
def runs(home):
    """Thirty runs, of which two wait in a paused queue."""
    paths = [write(number, network__rank=number) for number in range(1, 29)]
    waiting = [write(number, state="") for number in (29, 30)]
    requests.pause()
    requests.add(waiting)
    labels.write(RunFolder(paths[-1]), labels.Labels("<b>newest</b>", "a note", ("good",)))
    return paths


def the_table(page, rows):
    expect(page.locator(ROW)).to_have_count(25)
    expect(page.locator(".easel-runs-foot")).to_contain_text("1 to 25 of 30 runs")
    rows.first.focus()
    for key in ("d", "d", "b", "a", "x", "Escape"):
        page.keyboard.press(key)
    assert page.evaluate(CELLS) == 2
    first = page.evaluate(HERE)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(HERE) != first
    page.keyboard.press("Space")
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.get_by_text("2 chosen")).to_be_visible()
    page.keyboard.press("F2")
    page.keyboard.type("the sharp one")
    page.keyboard.press("Enter")
    expect(rows.nth(2).locator(".easel-runs-name")).to_have_text("the sharp one")
    expect(rows.nth(2)).to_be_focused()
    page.keyboard.press("PageDown")
    expect(page.locator(".easel-runs-foot")).to_contain_text("26 to 30 of 30 runs")
    page.wait_for_function(IN_APP)
    page.keyboard.press("PageUp")
    expect(page.locator(ROW)).to_have_count(25)
    page.get_by_role("button", name="Sort by Run").click()
    expect(page.locator("th.easel-runs-title")).to_have_attribute("aria-sort", "ascending")
    expect(rows.first).to_contain_text("<b>newest</b>")


def the_card(page, rows, runs):
    rows.first.focus()
    page.keyboard.press("Enter")
    card = page.locator(".easel-past-run")
    expect(card).to_contain_text("<b>newest</b>")
    page.get_by_label("Note", exact=True).fill("written in the page")
    page.get_by_label("Note", exact=True).blur()
    expect(rows.first).to_contain_text("written in the page")
    assert labels.read(RunFolder(runs[-1])).note == "written in the page"


def the_comparison(page):
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator(".easel-curves-line")).to_have_count(2)
    dashes = page.evaluate(
        "() => [...document.querySelectorAll('.easel-curves-line')].map(one => one.style.strokeDasharray)"
    )
    assert len(set(dashes)) == 2, "told apart without colour"
    table = page.locator(".easel-compare-table")
    expect(table).to_have_count(1)
    expect(table.locator("thead th")).to_have_count(2)
    expect(table).to_contain_text("Rank")
    expect(page.locator(".easel-compare-name")).to_be_in_viewport()
    page.locator(".easel-curves svg").hover()
    expect(page.locator(".easel-curves-said")).to_contain_text("Step ")
    expect(page.locator(".easel-compare")).to_contain_text("averages of about the last tenth of the steps")


def the_queue(page):
    up = page.get_by_role("button", name="Move run30 up")
    up.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".easel-queue .easel-acts-item").first).to_contain_text("run30")
    assert page.evaluate(IN_APP)
    page.get_by_role("button", name="Cancel run29").click()
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator(".easel-queue .easel-acts-item")).to_have_count(1)


def the_trash(page, runs):
    page.locator(".easel-past-run").get_by_role("button", name="Delete… to the trash").click()
    expect(page.get_by_role("button", name="Keep", exact=True)).to_be_focused()
    page.get_by_role("button", name="Move to the trash").click()
    expect(page.locator(".easel-asks")).to_contain_text("is in the trash")
    expect(page.get_by_role("button", name="Put back")).to_be_focused()
    assert not runs[-1].exists()
    page.get_by_role("button", name="Open the trash").click()
    expect(page.locator(".easel-trash .easel-acts-item")).to_have_count(1)
    page.keyboard.press("Escape")
    page.locator(".easel-asks").get_by_role("button", name="Put back").click()
    expect(page.locator(".easel-runs-foot")).to_contain_text("of 30 runs")
    assert runs[-1].exists()
    assert (places.trash().exists() and list(places.trash().iterdir())) in ([], False)


def the_look(page):
    for theme in ("Dark", "Light", "Cyberpunk", "Minimal"):
        page.get_by_label("Theme", exact=True).select_option(theme)
        page.wait_for_selector(f".easel-theme-{theme.lower()}")
        page.wait_for_timeout(400)  # colours change in steps
        assert page.evaluate(WEAK) == [], theme
    for width in (1600, 1280, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(250)
        assert page.evaluate(OVERFLOW) == [], width


def test_the_history_is_used_by_keyboard_and_in_every_theme_and_width(notebook, page, runs):
    notebook({}).run()
    page.wait_for_selector(READY)
    go(page, "History")
    rows = page.locator(ROW)
    the_table(page, rows)
    the_card(page, rows, runs)
    the_comparison(page)
    the_queue(page)
    the_trash(page, runs)
    the_look(page)
