"""Samples by prompt and step: the kernel tells which there are, and the page asks for the images that it shows, a few at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Any as AnyTrait
from traitlets import Dict

from trainer_core.text import printable
from trainer_ui.components.images import SIDES_PX, Answers, encoded, kind_of
from trainer_ui.components.places import asset

MOST_AT_ONCE = 8
"""The most images of one message."""
KEPT_BYTES = 24 << 20
"""How many bytes of small images are kept."""
MODES = ("watch", "compare")
FEW = 6
"""So many columns are shown if not all of them are."""


@dataclass(frozen=True)
class Row:
    """A row: the text of its prompt, and a note such as its seed."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column: the images of a step, by row. `key` is the step; `star` is whether it is the best, None if it cannot be."""

    key: int
    title: str
    images: Mapping[int, Path]
    more: str = ""
    tone: str = ""
    star: bool | None = None
    absent: str = "no sample"


def few(columns: Sequence[Column]) -> list[int]:
    """The places of the columns that are shown if not all of them are: the best ones, and some from the first to the last.

    Columns that have samples come first, for a run may save more often than it makes samples. A column of samples without a
    checkpoint (`star` is None) brings the checkpoints next to it.
    """
    if len(columns) <= FEW:
        return list(range(len(columns)))
    kept = {at for at, one in enumerate(columns) if one.star or one.tone == "ok"}
    filled = [at for at, one in enumerate(columns) if one.images]
    pool = filled or list(range(len(columns)))
    last = len(pool) - 1
    kept |= {pool[0], pool[last]}
    between = [pool[round(number * last / (FEW - 1))] for number in range(1, FEW - 1)]
    beside = [
        near for at in filled if columns[at].star is None for near in (at + 1, at - 1) if near in range(len(columns))
    ]
    for at in [*between, *beside]:
        if len(kept) < FEW:
            kept.add(at)
    return sorted(kept)


class SampleGrid(AnyWidget):
    """Samples in a grid; a click or Enter opens one, with a slider through the steps. A thread reads the files.

    `choose` and `prefer` are called with the key of a column when the user chooses it, or marks it as the best.
    """

    _esm = asset("sample_big.js", "sample_two.js", "sample_grid.js")
    _css = asset("sample_grid.css")

    content = Dict(
        {"version": 0, "mode": "watch", "rows": [], "columns": [], "some": [], "next": None, "total": 0}
    ).tag(sync=True)
    """What is shown; the images of a column are their numbers, -1 for none."""
    chosen = AnyTrait(None).tag(sync=True)
    """The key of the chosen column; None for none."""

    def __init__(
        self, choose: Callable[[int], object] | None = None, prefer: Callable[[int], object] | None = None
    ) -> None:
        super().__init__()
        self._choose, self._prefer = choose, prefer
        self._version = 0
        self._numbers: dict[Path, int] = {}
        self._paths: list[Path] = []
        self._keys: frozenset[int] = frozenset()
        self._small: OrderedDict[int, bytes] = OrderedDict()
        self._answers = Answers(self._tell)
        self.on_msg(self._heard)

    def show_grid(
        self,
        rows: Sequence[Row],
        columns: Sequence[Column],
        *,
        mode: str = "watch",
        next_one: tuple[str, str] | None = None,
        total: int = 0,
        anew: bool = False,
    ) -> None:
        """Shows these samples. `next_one` is the title and text of a column that is still to come, `total` the last step.

        `anew`: they belong to another run, so no image that was sent before is shown.
        """
        if anew or not columns:
            self._version += 1
            self._numbers, self._paths = {}, []
            self._small.clear()
        made = [self._column(one, len(rows)) for one in columns]
        self._keys = frozenset(one.key for one in columns)
        told = {
            "version": self._version,
            "mode": mode if mode in MODES else MODES[0],
            "rows": [{"text": printable(row.text, 300), "note": printable(row.note, 80)} for row in rows],
            "columns": made,
            "some": [columns[at].key for at in few(columns)],
            "next": [printable(text, 40) for text in next_one] if next_one else None,
            "total": total,
        }
        if told != self.content:
            self.content = told

    def _column(self, one: Column, rows: int) -> dict[str, Any]:
        images = [self._number(one.images[row]) if row in one.images else -1 for row in range(rows)]
        return {
            "key": one.key,
            "title": printable(one.title, 40),
            "more": printable(one.more, 80),
            "tone": one.tone,
            "star": one.star,
            "absent": printable(one.absent, 60),
            "images": images,
        }

    def _number(self, path: Path) -> int:
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        return self._numbers[path]

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        """What the page says; it may be anything."""
        if not isinstance(message, Mapping):
            return
        kind, key = message.get("kind"), message.get("key")
        if kind == "images":
            self._ask(message.get("wanted"), message.get("version"), message.get("size"))
        elif isinstance(key, int) and not isinstance(key, bool) and key in self._keys:
            if kind == "choose" and self._choose is not None:
                self._choose(key)
            elif kind == "best" and self._prefer is not None:
                self._prefer(key)

    def _ask(self, wanted: object, version: object, size: object) -> None:
        if not isinstance(wanted, list) or not isinstance(version, int) or size not in SIDES_PX:
            return
        numbers = tuple(
            each for each in wanted[:MOST_AT_ONCE] if isinstance(each, int) and 0 <= each < len(self._paths)
        )
        self._answers.ask((version, numbers, str(size)))

    def _tell(self, asked: tuple[int, tuple[int, ...], str]) -> None:
        version, numbers, size = asked
        # In this order: another run may be shown while this thread reads.
        paths = self._paths
        if version != self._version or not all(number < len(paths) for number in numbers):
            return
        found = [self._encoded(number, paths[number], size) for number in numbers]
        items = [{"index": number, "type": kind_of(content)} for number, content in zip(numbers, found, strict=True)]
        self.send({"kind": "images", "version": version, "size": size, "items": items}, found)

    def _encoded(self, number: int, path: Path, size: str) -> bytes:
        if size == "small" and (kept := self._small.get(number)) is not None:
            self._small.move_to_end(number)
            return kept
        content = encoded(path, SIDES_PX[size])
        if size == "small" and content:
            self._small[number] = content
            while sum(map(len, self._small.values())) > KEPT_BYTES:
                self._small.popitem(last=False)
        return content
