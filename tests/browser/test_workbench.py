"""The frame of the LoRA trainer in JupyterLab: places, bar, help, keyboard, themes and widths."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.looks import CELLS, IN_APP, OVERFLOW, WEAK
from tests.support.page import prepare
from tests.support.pages import fill, go, step, unfold
from tests.support.played import until

READY = ".easel[data-easel-keys=kept]"
WIDTHS = {"1600": (1600, 1000), "1280": (1280, 800), "700": (700, 900), "390": (390, 844)}
BAR_WIDTHS = (1600, 1280, 1100, 920, 700, 390)
SHOW_QUEUE_IT = """() => { const button = document.querySelector('.easel-queue-it');
  button.classList.remove('easel-away');
  // A long value is the hardest case.
  document.querySelector('.easel-figures i').textContent = '13.9 GB with all checkpoints' }"""
"""The button is only shown while something trains."""
COVERED = """() => { const boxes = [...document.querySelectorAll(
    '.easel-ready .easel-headline [role=status] > *, .easel-ready .easel-figures :is(small, b, .easel-meter), .easel-ready button')]
    .filter(one => one.checkVisibility()).map(one => [one.innerText, one.getBoundingClientRect()]);
  const bar = document.querySelector('.easel-ready').getBoundingClientRect();
  const found = boxes.filter(([, a]) => a.right > bar.right + 1 || a.left < bar.left - 1 || a.bottom > bar.bottom + 1).map(([text]) => [text, 'outside']);
  boxes.forEach(([text, a], at) => boxes.slice(at + 1).forEach(([other, b]) => {
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1) found.push([text, other]) }));
  return boxes.length > 8 ? found : boxes.map(([text]) => text) }"""
"""The pairs of texts and buttons of the bar that overlap."""
THEMES = ("Light", "Dark", "Minimal", "Cyberpunk")


def size(page, width):
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))


def is_in_sight(page, locator):
    box, (width, height) = locator.bounding_box(), (page.viewport_size["width"], page.viewport_size["height"])
    return box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height


def test_the_four_places_are_reached_by_keyboard_and_keep_their_state(notebook, page, home):
    notebook(prepare(home)).run()
    page.wait_for_selector(READY)
    fill(page, "Steps", "123")
    page.get_by_role("tab", name="Prepare").focus()
    names = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "End", "Home", "ArrowLeft", "Home"):
        page.keyboard.press(key)
        focused = page.locator(":focus")
        expect(focused).to_have_attribute("aria-selected", "true")
        names.append(re.match(r"\w+?(?=\d|$)", focused.inner_text())[0])
        panels = page.locator(".easel [role=tabpanel]:visible")
        expect(panels).to_have_count(1)
        assert panels.get_attribute("aria-labelledby") == focused.get_attribute("id")
    assert names == ["Watch", "Results", "History", "Prepare", "History", "Prepare", "History", "Prepare"]
    expect(page.get_by_label("Steps", exact=True)).to_have_value("123")
    expect(page.locator(".easel").get_by_role("tab")).to_have_count(4)
    assert page.evaluate("() => document.querySelectorAll('.easel [role=tab][tabindex=\"0\"]').length") == 1


@pytest.mark.parametrize("settled", [False, True])
def test_start_is_in_sight_also_when_the_page_is_scrolled(notebook, page, home, settled):
    notebook(prepare(home) if settled else {}, beside_files=True).run()
    page.wait_for_selector(READY)
    start = page.get_by_role("button", name="Start training")
    for width in WIDTHS:
        size(page, width)
        if width == "700":
            page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.evaluate("() => document.querySelector('.easel').scrollIntoView()")
        page.wait_for_timeout(400)
        assert is_in_sight(page, start), width
        page.evaluate("() => document.querySelector('.easel .easel-step:last-child').scrollIntoView({block: 'end'})")
        page.wait_for_timeout(400)
        assert is_in_sight(page, start), f"{width}, scrolled to the end"
    if settled:
        page.evaluate(SHOW_QUEUE_IT)
        for width in BAR_WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(200)
            assert page.evaluate(COVERED) == [], width


def test_at_first_open_four_questions_are_asked_and_nothing_is_red(notebook, page):
    notebook().run()
    page.wait_for_selector(READY)
    expect(page.get_by_text("Four questions, then you can train")).to_be_visible()
    for question in ("build on?", "learn from?", "should it learn?", "is it called?"):
        expect(page.locator(".easel-step-text b").filter(has_text=question)).to_be_visible()
    assert page.locator(".easel-problem:visible").count() == 0
    coloured = """() => { const root = document.querySelector('.easel'), probe = document.createElement('i');
      root.append(probe);
      const alarming = ['danger', 'warn'].map(name => { probe.style.color = `var(--easel-${name})`; return getComputedStyle(probe).color });
      probe.remove();
      return [...root.querySelectorAll('*')].filter(node => node.checkVisibility() && alarming.includes(getComputedStyle(node).color))
        .map(node => node.innerText) }"""
    assert page.evaluate(coloured) == []
    assert page.locator(".easel [title=null]").count() == 0
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_text("Not started.", exact=False)).to_be_visible()
    expect(page.locator(".easel-problem:visible").first).to_be_visible()


def test_the_help_of_every_setting_is_reached_by_keyboard_and_by_screen_readers(notebook, page, home):
    notebook(prepare(home), "sd15-character").run()
    unfold(page, "Model", "Output", "Samples", "Memory")
    for group in page.locator(".easel-fold:visible").all():
        group.click()
    page.wait_for_function("() => document.querySelectorAll('.easel-setting').length > 45")
    page.wait_for_timeout(500)
    told = page.evaluate(
        """() => [...document.querySelectorAll('.easel-setting')].filter(one => one.checkVisibility()).map(one => {
        const field = one.querySelector('input, select, textarea'), help = one.querySelector('.easel-help > summary');
        const about = (field.getAttribute('aria-describedby') ?? '').split(' ').map(id => document.getElementById(id)?.textContent ?? '');
        return [field.labels[0]?.innerText.trim(), about.join(' ').trim().length, help?.getAttribute('aria-label'), help?.tabIndex] })"""
    )
    assert len(told) > 45
    for title, described, named, order in told:
        assert described > 10, title
        assert named == f"Help: {title}"
        assert order == 0
    help_ = page.locator(".easel-help > summary[aria-label='Help: Rank']")
    help_.focus()
    page.keyboard.press("Enter")
    panel = page.locator(".easel-help[open] .easel-pop")
    expect(panel).to_contain_text("a higher rank can learn more detail")
    expect(panel).to_contain_text("From 1 to 1,024.")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(help_).to_be_focused()
    page.keyboard.press("Tab")
    source = page.locator(":focus")
    expect(source).to_have_attribute("aria-label", "profile: where Rank comes from")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This value comes from the profile Character", exact=False)).to_be_visible()
    expect(source).to_have_attribute("aria-expanded", "true")
    expect(source).to_be_focused()


def test_no_key_on_any_control_reaches_the_notebook(notebook, page, home):
    """In JupyterLab's command mode "d d" deletes the cell, "b" adds one, and the arrow keys leave it."""
    notebook(prepare(home), "sd15-character").run()
    page.wait_for_selector(READY)
    page.wait_for_selector(".easel-gallery-tile")
    unfold(page, "Model", "Memory")
    kinds = {
        "text": page.get_by_label("Path or link", exact=True),
        "number": page.get_by_label("Rank", exact=True),
        "choice": page.get_by_label("Profile", exact=True),
        "checkbox": page.get_by_label("Gradient checkpointing", exact=True),
        "button": page.get_by_role("button", name="Search again"),
        "group": page.get_by_role("button", name="Schedule:"),
        "step": step(page, "Dataset"),
        "tab": page.get_by_role("tab", name="Prepare"),
        "help": page.locator(".easel-help > summary[aria-label='Help: Rank']"),
        "source": page.locator(".easel-source[aria-label$='where Rank comes from']"),
        "use": page.get_by_role("radio", name="Concept"),
        "image": page.locator(".easel-gallery-tile").first,
        "theme": page.get_by_label("Theme", exact=True),
        "app": page.locator(".easel"),
    }
    page.get_by_role("button", name="Memory: ").click()
    for kind, control in kinds.items():
        control.focus()
        for key in ("d", "d", "b", "a", "x", "ArrowDown", "ArrowUp", "Escape"):
            page.keyboard.press(key)
        assert page.evaluate(CELLS) == 2, kind
        assert page.evaluate(IN_APP), kind
        expect(page.locator(".easel")).to_be_visible()


def test_the_keyboard_keeps_its_place_after_a_fix_a_fold_and_a_start(notebook, page, home):
    notebook(prepare(home, steps=20_000, steps_per_second=20) | {"network.rank": 5000}).run()
    page.wait_for_selector(READY)
    page.get_by_role("button", name=re.compile("^Use ")).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Ready to train")).to_be_visible()
    page.wait_for_function(IN_APP)
    line = step(page, "Dataset")
    line.focus()
    page.keyboard.press("Enter")
    expect(line).to_have_attribute("aria-expanded", "false")
    expect(line).to_be_focused()
    start = page.get_by_role("button", name="Start training")
    start.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Watch")).to_be_focused()
    expect(page.get_by_role("img", name="in progress")).to_be_visible()
    expect(page.get_by_role("region", name="Run", exact=True)).to_contain_text("so far")


def test_every_theme_is_readable_and_no_width_overflows(notebook, page, home):
    notebook(prepare(home) | {"network.rank": 5000}, "sd15-character").run()
    page.wait_for_selector(READY)
    unfold(page, "Output", "Samples")
    for theme in THEMES:
        page.get_by_label("Theme", exact=True).select_option(theme)
        for width in WIDTHS:
            size(page, width)
            for place in ("Prepare", "Watch", "Results", "History"):
                go(page, place)
                page.wait_for_timeout(150)
                assert page.evaluate(OVERFLOW) == [], (theme, width, place)
            go(page, "Prepare")
        assert page.evaluate(WEAK) == [], theme


def test_the_theme_and_what_was_set_are_there_again(notebook, page, home, new_page):
    notebook(prepare(home)).run()
    page.get_by_label("Theme", exact=True).select_option("Cyberpunk")
    page.wait_for_selector(".easel-theme-cyberpunk")
    fill(page, "Steps", "123")
    until((home / "forms" / "lora_trainer.json").is_file)
    other = new_page()
    notebook(prepare(home), to=other).run()
    expect(other.get_by_label("Theme", exact=True)).to_have_value("Cyberpunk")
    other.wait_for_selector(".easel-theme-cyberpunk")
    expect(other.get_by_label("Steps", exact=True)).to_have_value("123")
    expect(other.get_by_text("are here again.")).to_be_visible()
    other.get_by_role("button", name="Start afresh").press("Enter")
    expect(other.get_by_role("button", name="Bring them back")).to_be_focused()
    expect(other.get_by_label("Steps", exact=True)).not_to_have_value("123")
    other.keyboard.press("Enter")
    expect(other.get_by_label("Steps", exact=True)).to_have_value("123")
