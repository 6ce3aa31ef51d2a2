"""What a person does on the page of the LoRA trainer, with Playwright."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

OPENED_S = 60.0
AGAIN_MS = 10_000


def fill(page: Any, label: str, text: str) -> None:
    """Types into the field with this label, and presses Enter."""
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Enter")


def step(page: Any, name: str) -> Any:
    """The line of a step of Prepare, which is a button."""
    return page.locator(".easel-step-button").filter(has_text=re.compile(f"^{name}"))


def unfold(page: Any, *names: str) -> None:
    """Opens these steps; one that is open stays open."""
    from playwright.sync_api import TimeoutError as NotYet

    for name in names:
        line = step(page, name)
        page.wait_for_function("line => line.ariaExpanded !== null", arg=line.element_handle())
        until = time.monotonic() + OPENED_S
        while line.get_attribute("aria-expanded") != "true":
            # A step that is settled may fold by itself just then: a press that came first has opened and closed it.
            assert time.monotonic() < until, f"{name} does not open"
            # Not a click: what arrives above moves the line, between the press and the release of the mouse, too.
            line.press("Enter")
            with contextlib.suppress(NotYet):
                page.wait_for_function(
                    "line => line.ariaExpanded === 'true'", arg=line.element_handle(), timeout=AGAIN_MS
                )


def go(page: Any, place: str) -> None:
    """Shows a place."""
    page.get_by_role("tab", name=re.compile(f"^{place}")).click()
