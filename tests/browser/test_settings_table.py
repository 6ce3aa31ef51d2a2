"""All settings, and files and command, in JupyterLab: searching, editing and leaving by keyboard; what is in the page."""

import re

from playwright.sync_api import expect

from tests.support.page import prepare

READY = ".easel[data-easel-keys=kept]"
CELLS = "() => document.querySelectorAll('.jp-Notebook .jp-Cell').length"
FOCUS = "() => document.activeElement.closest('.easel-all-row')?.querySelector('b')?.textContent ?? document.activeElement.className"
OVERFLOW = """() => [...document.querySelectorAll('.easel-all, .easel-all *, .easel-paper, .easel-paper *')].filter(node => {
  if (!node.checkVisibility() || node.closest('.easel-all-filters, .easel-paper-tabs, .easel-paper-said, .easel-paper-told')) return false;
  const own = node.getBoundingClientRect(), app = document.querySelector('.easel').getBoundingClientRect();
  return own.width && (own.right > app.right + 1 || own.left < app.left - 1);
}).map(node => `${node.className}: ${node.innerText?.slice(0, 60)}`)"""


def row(page, title):
    exact = page.locator(".easel-all-name b").get_by_text(title, exact=True)
    return page.locator(".easel-all-body .easel-all-row").filter(has=exact)


def enter_values(page):
    """Goes into a value and leaves it unchanged; enters one that is refused, and then a good one."""
    field = page.get_by_label("ip_noise_gamma", exact=True)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    page.keyboard.type("5")
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    assert page.evaluate(FOCUS) == "ip_noise_gamma"
    # A value that is refused stays, with the reason at its row.
    page.keyboard.press("Enter")
    page.keyboard.type("much")
    page.keyboard.press("Enter")
    expect(row(page, "ip_noise_gamma").locator(".easel-all-error")).to_contain_text("must be a number")
    expect(field).to_have_value("much")
    assert page.evaluate(FOCUS) == "ip_noise_gamma"
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.1")
    page.keyboard.press("Enter")
    source = row(page, "ip_noise_gamma").locator(".easel-all-source")
    expect(source).to_have_text("yours")
    expect(row(page, "ip_noise_gamma").locator(".easel-all-error")).to_have_count(0)


def go_back(page):
    """Opens the reason of the value and removes it; then presses keys that mean something to JupyterLab."""
    source = row(page, "ip_noise_gamma").locator(".easel-all-source")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(source).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".easel-all-details")).to_contain_text("You set it.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(source).to_have_text("engine")
    assert page.evaluate(FOCUS) == "ip_noise_gamma"
    for key in ("d", "d", "b", "x", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)


def filter_rows(page, search, count):
    """Shows only the user's own settings, then all, down to the last one."""
    search.fill("")
    page.locator(".easel-all-chip").nth(1).click()
    expect(row(page, "Base model")).to_be_visible()
    expect(row(page, "Rank")).to_have_count(0)
    page.locator(".easel-all-chip").first.click()
    search.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+End")
    assert page.locator(".easel-all-body .easel-all-row").count() == count
    assert page.evaluate(FOCUS) == page.locator(".easel-all-body .easel-all-row b").last.inner_text()


def test_settings_are_found_changed_and_left_by_keyboard(notebook, page, home):
    values = prepare(home) | {"native": {"kohya": {}}}
    notebook(values, EASEL_ENGINE="kohya").run()
    page.wait_for_selector(READY)
    opener = page.locator(".easel-opens-settings")
    expect(opener).to_have_text(re.compile(r"All \d+ settings"))
    count = int(opener.inner_text().split()[1])
    assert count > 300
    assert page.locator(".easel-all").count() == 0
    opener.focus()
    page.keyboard.press("Enter")
    search = page.get_by_label("Find a setting")
    expect(search).to_be_focused()
    expect(page.locator(".easel-all-status")).to_have_text(f"{count}, every one that there is")
    page.keyboard.type("ip_noise")
    expect(page.locator(".easel-all-body .easel-all-row")).to_have_count(2)
    expect(page.locator(".easel-all mark").first).to_have_text("ip_noise")
    grid = page.get_by_role("grid", name="All settings")
    expect(grid).to_have_attribute("aria-rowcount", "3")
    enter_values(page)
    go_back(page)
    assert page.evaluate(CELLS) == 2
    for _ in range(2):
        page.keyboard.press("Escape")
    expect(search).to_be_focused()
    assert page.locator(".easel-all [role=gridcell][tabindex='0']").count() == 1
    filter_rows(page, search, count)
    for width in (1600, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate(OVERFLOW) == []
    page.locator(".easel-all-close").click()
    expect(opener).to_be_focused()
    expect(page.locator(".easel-all")).not_to_be_visible()


def test_files_and_command_are_read_compared_and_copied(notebook, page, home):
    notebook(prepare(home)).run()
    page.wait_for_selector(READY)
    opener = page.locator(".easel-opens-files")
    opener.focus()
    page.keyboard.press("Enter")
    tab = page.get_by_role("tab", name="score.json")
    expect(tab).to_be_focused()
    code = page.locator(".easel-paper-file .easel-paper-code")
    expect(code).to_contain_text('"steps": 40')
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="requests.json")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator(".easel-paper-commands")).to_contain_text("play.py")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".easel-paper-file").get_by_role("button", name="Copy").click()
    expect(page.get_by_text("engine/score.json is copied.")).to_be_visible()
    assert '"steps": 40' in page.evaluate("() => navigator.clipboard.readText()")
    for width in (1600, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate(OVERFLOW) == []
    page.get_by_role("button", name="Close").click()
    expect(opener).to_be_focused()
