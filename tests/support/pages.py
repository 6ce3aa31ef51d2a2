"""What a person does on the page of the LoRA trainer, with Playwright."""

from __future__ import annotations

import re
import time
from typing import Any

OPENED_S = 60.0


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
    for name in names:
        line = step(page, name)
        page.wait_for_function("line => line.ariaExpanded !== null", arg=line.element_handle())
        until = time.monotonic() + OPENED_S
        while line.get_attribute("aria-expanded") != "true":
            # A step that is settled may fold by itself just then: a click that came first has opened and closed it.
            assert time.monotonic() < until, f"{name} does not open"
            line.click()
            page.wait_for_timeout(1000)


def go(page: Any, place: str) -> None:
    """Shows a place."""
    page.get_by_role("tab", name=re.compile(f"^{place}")).click()
