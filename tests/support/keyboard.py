"""A person who has only a keyboard: Tab, arrows, Enter, Space and typing; nothing is clicked and no focus is set from outside."""

from __future__ import annotations

import re
import time
from typing import Any

FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  if (!node || node === document.body) return { name: '', role: 'body', app: false, seen: true };
  const by = (node.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id)?.innerText ?? '').join(' ').trim();
  const said = node.getAttribute('aria-label') || by || node.labels?.[0]?.innerText || node.innerText || node.title || '';
  const box = node.getBoundingClientRect();
  const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
  const covered = top && !node.closest('.easel-top') && top.closest('.easel-top');
  return {
    name: said.trim().replace(/\\s*\\n\\s*/g, '\\n').slice(0, 300),
    role: node.getAttribute('role') || node.type || node.localName,
    app: Boolean(node.closest('.easel')),
    disabled: node.disabled === true || node.getAttribute('aria-disabled') === 'true',
    seen: node.checkVisibility() && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth && !covered,
  };
}"""
OPENED = """() => {
  const node = document.activeElement, inside = document.getElementById(node.getAttribute('aria-controls'));
  return node.ariaExpanded === 'true' && inside?.querySelector('input, select, textarea, button, .widget-html');
}"""
MOST_KEYS = 160
SCROLLS_S = 3.0


class Keyboard:
    """Drives a page by keys alone. `trail` are the controls that the last `tab_to` met."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.trail: list[str] = []

    def press(self, *keys: str) -> Keyboard:
        """Presses keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def focused(self) -> dict[str, Any]:
        """What has the keyboard: its name as a screen reader says it, role, and whether it is in the app and in sight."""
        return self.page.evaluate(FOCUSED)

    def tab_to(self, name: str, role: str = "", *, back: bool = False) -> Keyboard:
        """Presses Tab, or Shift+Tab, until a control has the keyboard whose name begins with `name`, a regular expression.

        Raises:
            AssertionError: it is not reached, or a control on the way is out of sight.
        """
        self.trail = []
        for _ in range(MOST_KEYS):
            now = self.focused()
            if re.match(name, now["name"]) and role in ("", now["role"]) and not now["disabled"]:
                return self
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
            self.trail.append(self._met())
        raise AssertionError(f"Tab does not reach {name!r}; it met {self.trail[-60:]}")

    def _met(self) -> str:
        """The control that has the keyboard now; the page may need a moment to scroll to it."""
        until = time.monotonic() + SCROLLS_S
        while (now := self.focused())["app"] and not now["seen"]:
            assert time.monotonic() < until, f"{now['role']} {now['name']!r} has the keyboard and is not in sight"
            time.sleep(0.05)
        return f"{now['role']} {now['name']!r}"

    def activate(self, name: str, key: str = "Enter", *, back: bool = False) -> Keyboard:
        """Goes to a button by Tab, and presses it."""
        return self.tab_to(name, back=back).press(key)

    def unfold(self, name: str, *, back: bool = False) -> Keyboard:
        """Goes to the line of a step or group by Tab, and opens it, if it is not open."""
        self.tab_to(name, back=back)
        self.page.wait_for_function("() => document.activeElement.ariaExpanded")
        if self.page.evaluate("() => document.activeElement.ariaExpanded") == "false":
            self.press("Enter")
            self.page.wait_for_function(OPENED)
        return self

    def enter(self, name: str, text: str, *, back: bool = False) -> Keyboard:
        """Goes to a field by Tab, replaces what is in it, and presses Enter."""
        self.tab_to(name, back=back).press("ControlOrMeta+a")
        self.page.keyboard.type(text)
        return self.press("Enter")

    def choose(self, name: str, option: str, *, back: bool = False) -> Keyboard:
        """Goes to a list by Tab and presses ArrowDown until it says `option`."""
        self.tab_to(name, back=back).press("Home")
        for _ in range(60):
            if self.page.evaluate("() => document.activeElement.selectedOptions?.[0]?.label ?? ''").startswith(option):
                return self
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"{name!r} has no choice {option!r}")

    def go(self, place: str) -> Keyboard:
        """Goes to the tabs, and to a place by the arrow keys."""
        self.tab_to("(Prepare|Watch|Results|History)", "tab", back=True)
        for _ in range(5):
            if re.match(place, self.focused()["name"]):
                return self
            self.page.keyboard.press("ArrowRight")
        raise AssertionError(f"the arrow keys do not reach the tab {place!r}")
