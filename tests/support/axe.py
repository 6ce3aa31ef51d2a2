"""axe-core's rules on what a page shows of the app."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

READY = ".easel[data-easel-keys=kept]"
FINDINGS = """async (rules) => {
  const only = rules.length ? {runOnly: {type: 'rule', values: rules}} : {};
  const found = await axe.run('.easel', {resultTypes: ['violations'], ...only});
  return found.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target.join(' ')}: ${node.html.slice(0, 160)}`));
}"""
HAS_THEME = """async (theme) => {
  const themes = [...document.querySelector('.easel').classList].filter(name => name.startsWith('easel-theme-'));
  if (themes.length !== 1 || themes[0] !== theme) return false;
  await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  return true;
}"""
"""The class of the theme comes from the kernel, which may be busy; then a page needs a moment to have its colours."""
OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""All that another theme can change: it has other colours, and the same elements."""
TWO = ("Light", "Dark")
THEMES = ("Light", "Dark", "Minimal", "Cyberpunk")


def load(page: Any) -> None:
    """Loads axe-core into a page; motion ends at once, because a colour in between is no finding."""
    import axe_playwright_python

    page.emulate_media(reduced_motion="reduce")
    page.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))


def look(page: Any, where: str, themes: Sequence[str] = THEMES) -> list[str]:
    """What axe-core finds in the app: by all rules in the first theme, by those of colours in the others."""
    found = []
    for index, theme in enumerate(themes):
        page.get_by_label("Theme", exact=True).select_option(theme)
        page.wait_for_function(HAS_THEME, arg=f"easel-theme-{theme.lower()}")
        found += [f"{where}, {theme}: {finding}" for finding in page.evaluate(FINDINGS, OF_COLOURS if index else [])]
    return found


def seen(page: Any, *places: str) -> list[str]:
    """What axe-core finds in these places, with everything unfolded."""
    found = []
    for place in places:
        page.get_by_role("tab", name=place, exact=True).click()
        for fold in page.locator(".easel-fold:visible").all():
            if fold.get_attribute("aria-expanded") != "true":
                fold.click()
        page.wait_for_timeout(300)
        found += look(page, place, TWO)
    return found
