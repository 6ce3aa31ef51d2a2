"""Two or more chosen runs beside each other. The runs are read in a thread, because a long run has many events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.training.comparison import Comparison, Row, compare
from trainer_core.training.losses import curve
from trainer_core.training.newest_sample import newest_sample
from trainer_core.training.run import Run
from trainer_ui import pasts
from trainer_ui.components.comparison import ComparisonView, Part
from trainer_ui.panels.history_list import value_text
from trainer_ui.panels.history_trash import short
from trainer_ui.past_reader import in_thread

if TYPE_CHECKING:
    from trainer_ui.session import Session

MOST = 6
"""The most runs that are compared at once: more columns and lines could not be told apart."""
UNKNOWN = "\N{EN DASH}"


class ComparisonPanel:
    """The comparison below the table; nothing until two runs are compared."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.runs: tuple[str, ...] = ()
        self.view = ComparisonView(session.handler(self._act), self._sample)

    def compare(self, names: tuple[str, ...]) -> None:
        """Compares these runs, by name."""
        if len(names) > MOST:
            self.session.note(
                f"Only the first {MOST} of {len(names)} runs are compared; `easel runs compare` takes any number."
            )
        self.runs = names[:MOST]
        if len(self.runs) < 2:
            self.session.note("Choose two runs or more to compare them.")
            return
        in_thread(self.session, lambda: self._read(self.runs))

    def _read(self, names: tuple[str, ...]) -> None:
        runs = [Run.attach(places.runs() / name) for name in names]
        found = compare(runs)
        curves = [curve(run) for run in runs]
        if names == self.runs:
            self.view.show_runs(called(found), parts(found), found.caveats, curves)

    def _act(self, kind: str) -> None:
        if kind == "close":
            self.runs = ()
            self.view.show_nothing()
        else:
            self.compare(self.runs[::-1])

    def _sample(self, place: int) -> Path | None:
        names = self.runs
        return newest_sample(Run.attach(places.runs() / names[place]).folder) if place < len(names) else None


def called(found: Comparison) -> list[str]:
    """The names of the compared runs; with their time where two have the same."""
    plain = [name or short(run) for run, name in zip(found.runs, found.called, strict=True)]
    return [name if plain.count(name) == 1 else run for name, run in zip(plain, found.runs, strict=True)]


def parts(found: Comparison) -> list[Part]:
    """The tables of a comparison: the differences first, the results last."""
    many = len(found.settings)
    differ = "1 setting differs" if many == 1 else f"{many} settings differ"
    tables = [Part(f"{differ}, {found.same} are the same", _texts(found.settings))]
    for title, rows in (("Different versions", found.versions), ("Different images and captions", found.images)):
        if rows:
            tables.append(Part(title, _texts(rows)))
    return [*tables, Part("Results", _texts(found.results))]


def _texts(rows: tuple[Row, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(
        (_TITLES.get(row.key, row.title), tuple(_text(row.key, value) for value in row.values)) for row in rows
    )


_TITLES = {
    "seconds": "Time",
    "peak_memory_bytes": "Peak memory",
    "peak_gpu_memory_bytes": "Peak GPU memory",
    "best_step": "Lowest loss at step",
}


def _text(key: str, value: Any) -> str:
    if value in (None, "", []):
        return UNKNOWN
    if key == "seconds":
        return pasts.span(value)
    if key.endswith("_bytes"):
        return pasts.size(value)
    if key == "state":
        return {state.name: word for state, (word, _) in pasts.STATES.items()}.get(value, str(value))
    return value_text(value)
