"""The tabs of an app: which of its places is shown, where something is in progress, and how many things a place has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, List, Unicode

HERE = Path(__file__).parent


def asset(*names: str) -> str:
    """The text of these files of this folder, one after the other."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


class Places(AnyWidget):
    """The tabs. The page shows a chosen place at once, without the kernel; the kernel can choose one, too.

    It also brings what every control of an app needs from the page (`frame.js`), and the menu that leads to each part of a place (`skip.js`).
    """

    _esm = asset("frame.js", "skip.js", "places.js")

    titles = List().tag(sync=True)
    """Each place as [id, title], in order."""
    chosen = Unicode().tag(sync=True)
    """The id of the place that is shown."""
    live = Unicode().tag(sync=True)
    """The id of the place where a job is in progress; "" for none."""
    counts = Dict().tag(sync=True)
    """How many things a place has, by its id."""

    def __init__(self, titles: Mapping[str, str], **traits: Any) -> None:
        super().__init__(titles=[list(each) for each in titles.items()], chosen=next(iter(titles)), **traits)
