"""Compares runs: what differs between them first (settings, versions, images), then how each of them ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.errors import RunError
from trainer_core.plan import fields
from trainer_core.training import history
from trainer_core.training.caveats import caveats
from trainer_core.training.losses import Losses
from trainer_core.training.run import Run
from trainer_core.training.staged import staged

SHOWN_NAMES = 5
UNSET = None


@dataclass(frozen=True)
class Row:
    """One property of the runs: its key (for a setting its path), its title, and its value for each run, in their order."""

    key: str
    title: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs have different values."""
        return any(value != self.values[0] for value in self.values[1:])

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON data."""
        return {"key": self.key, "title": self.title, "values": list(self.values)}


@dataclass(frozen=True)
class Comparison:
    """The differences between runs, and their results. `runs` are their names, `called` what the user calls them, "" if nothing.

    `caveats` are sentences about what the figures cannot say; `same` is the number of settings that all runs share.
    """

    runs: tuple[str, ...]
    called: tuple[str, ...]
    settings: tuple[Row, ...]
    versions: tuple[Row, ...]
    images: tuple[Row, ...]
    results: tuple[Row, ...]
    caveats: tuple[str, ...] = ()
    same: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON data."""
        parts = {name: [row.as_dict() for row in rows] for name, rows in self.parts().items()}
        return {"runs": list(self.runs), "called": list(self.called), **parts, "caveats": list(self.caveats)}

    def parts(self) -> Mapping[str, tuple[Row, ...]]:
        """The rows by part, in the order in which they are shown."""
        return {
            "settings": self.settings,
            "versions": self.versions,
            "images": self.images,
            "results": self.results,
        }

    def as_csv(self) -> str:
        """The comparison as a table: one line for each run, one column for each difference and result."""
        rows = [row for rows in self.parts().values() for row in rows]
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["run", "name", *(row.key for row in rows)])
        for place, (run, called) in enumerate(zip(self.runs, self.called, strict=True)):
            table.writerow([_cell(each) for each in (run, called, *(row.values[place] for row in rows))])
        return text.getvalue()


def compare(runs: Sequence[Run]) -> Comparison:
    """The comparison of two or more runs. What cannot be read of a run is None.

    Raises:
        RunError: there are fewer than two runs.
    """
    if len(runs) < 2:
        raise RunError("There is only one run to compare.", "Name two or more.")
    past = [history.past_run(run.folder.path) or history.PastRun(run.name, run.state) for run in runs]
    losses = [Losses.of(run) for run in runs]
    tables = [_settings(run) for run in runs]
    settings, images = _differing(tables, _title), _images(runs)
    return Comparison(
        runs=tuple(each.run for each in past),
        called=tuple(each.labels.name for each in past),
        settings=settings,
        versions=_differing(({**each.versions} for each in past), lambda key: key.replace("_", " ").capitalize()),
        images=images,
        results=_results(runs, past, losses),
        caveats=caveats(past, [row.key for row in settings], bool(images), [loss.final for loss in losses]),
        same=len({path for table in tables for path in table}) - len(settings),
    )


def _differing(tables: Iterable[Mapping[str, Any]], title: Any) -> tuple[Row, ...]:
    """The rows of tables that differ, in the order of the settings; a key that a table lacks has the value None."""
    found = list(tables)
    order = {path: place for place, path in enumerate(fields.all_fields())}
    keys = sorted({key for table in found for key in table}, key=lambda key: (order.get(key, len(order)), key))
    rows = (Row(key, title(key), tuple(table.get(key, UNSET) for table in found)) for key in keys)
    return tuple(row for row in rows if row.differs)


def _title(path: str) -> str:
    known = fields.all_fields().get(path)
    return known.title if known else path


def _settings(run: Run) -> dict[str, Any]:
    """The settings of a run by path, those of an engine as "native.<engine>.<option>"."""
    try:
        flat = fields.flatten(run.folder.plan)
    except RunError:
        return {}
    native = flat.pop("native", {})
    for engine, table in native.items() if isinstance(native, dict) else ():
        for name, value in table.items() if isinstance(table, dict) else ():
            flat[f"native.{engine}.{name}"] = value
    return flat


def _images(runs: Sequence[Run]) -> tuple[Row, ...]:
    """How the images and captions of each run differ from those of the first."""
    found = [staged(run.folder) for run in runs]
    first = found[0]
    added = tuple(_names(other.keys() - first.keys()) for other in found)
    removed = tuple(_names(first.keys() - other.keys()) for other in found)
    changed = tuple(
        _names(name for name in other.keys() & first.keys() if other[name].caption != first[name].caption)
        for other in found
    )
    rows = (
        Row("images", "Images", tuple(map(len, found))),
        Row("images_added", "Images that the first run does not have", added),
        Row("images_removed", "Images that only the first run has", removed),
        Row("captions_changed", "Images with another caption than in the first run", changed),
    )
    return tuple(row for row in rows if row.differs)


def _names(names: Iterable[str]) -> str:
    """Up to a few names in alphabetical order, and how many more there are."""
    found = sorted(names)
    more = f" and {len(found) - SHOWN_NAMES} more" if len(found) > SHOWN_NAMES else ""
    return ", ".join(found[:SHOWN_NAMES]) + more


def _results(runs: Sequence[Run], past: Sequence[history.PastRun], losses: Sequence[Losses]) -> tuple[Row, ...]:
    causes = [run.diagnosis.cause if run.diagnosis else "" for run in runs]
    columns = {
        "state": ("State", [each.state.name for each in past]),
        "steps": ("Steps", [max(each.steps, loss.steps) for each, loss in zip(past, losses, strict=True)]),
        "final_loss": ("Loss at the end, smoothed", [loss.final for loss in losses]),
        "best_loss": ("Lowest loss, smoothed, after the first steps", [loss.best for loss in losses]),
        "best_step": ("... at step", [loss.best_step for loss in losses]),
        "seconds": ("Time in seconds", [round(each.seconds, 1) or None for each in past]),
        "steps_per_second": ("Steps per second", [loss.steps_per_second for loss in losses]),
        "peak_memory_bytes": ("Peak memory", [each.peak_memory_bytes or None for each in past]),
        "peak_gpu_memory_bytes": ("Peak GPU memory", [each.peak_gpu_memory_bytes or None for each in past]),
        "outputs": ("Files", [[Path(file).name for file in each.outputs] for each in past]),
        "diagnosis": ("Why it failed", [f"{each.diagnosis}: {cause}" if each.diagnosis or cause else None for each, cause in zip(past, causes, strict=True)]),
    }  # fmt: skip
    rows = (Row(key, title, tuple(values)) for key, (title, values) in columns.items())
    return tuple(row for row in rows if any(value not in (None, [], "") for value in row.values))


def _cell(value: Any) -> str:
    """A value in a table. A text that a spreadsheet would read as a formula gets an apostrophe in front of it."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = "" if value is None else str(value)
    is_formula = isinstance(value, str) and text.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{text}" if is_formula else text
