"""What a person with a keyboard does in the notebooks for model files, in JupyterLab."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.keyboard import Keyboard

KEPT = ".easel[data-easel-keys=kept]"
FITS = "() => { const one = document.querySelector('.easel'); return one.scrollWidth <= one.clientWidth; }"
AT_JOB = """() => { const now = document.activeElement;
  return now.matches('.easel-tab[aria-selected=true]') ? now.innerText.startsWith('Job') : now.closest('.easel-at-watch') !== null; }"""
"""The keyboard is at the tab of the job or below it, and not at the theme, which is the last control above it."""
WIDTHS = (390, 700, 1280)


def opened(notebook: Callable[..., Any], page: Any, name: str) -> Keyboard:
    """A notebook whose cell has run, with the keyboard at its first tab."""
    notebook(shipped=name).run()
    page.wait_for_selector(KEPT)
    page.locator(".easel-tab").first.focus()
    return Keyboard(page)


def type_into(keyboard: Keyboard, field: str, text: object) -> None:
    """Goes to a field by Tab and types."""
    keyboard.tab_to(f"{field}$", "text")
    keyboard.page.keyboard.type(str(text))
    keyboard.press("Enter")


def start(keyboard: Keyboard, words: str) -> None:
    """Starts the tool of the place by its button, and waits for what it has made."""
    from playwright.sync_api import expect

    page = keyboard.page
    expect(page.get_by_role("button", name=words, exact=True).locator("visible=true")).to_be_enabled()
    keyboard.tab_to(f"{words}$", "submit", back=True).press("Enter")
    expect(page.locator(".easel-tool-made")).to_be_visible()
    page.wait_for_function(AT_JOB)


def fits(page: Any) -> None:
    """Asserts that the app is not wider than its page."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(FITS), width


def enter(page: Any, label: str, text: object) -> None:
    """Types into the field with this label, of the place that is shown."""
    field = page.get_by_label(label, exact=True).locator("visible=true").first
    field.fill(str(text))
    field.press("Enter")
