"""A sweep: one plan with several sets of changes, each of which becomes a run. All are checked before any of them is prepared."""

from __future__ import annotations

import copy
import itertools
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_core.errors import EaselError, PlanError
from trainer_core.plan import fields
from trainer_core.plan.subject import shown
from trainer_core.prepare import entering
from trainer_core.prepare.forecast import Forecast
from trainer_core.prepare.native import merged
from trainer_core.prepare.workbench import Workbench, prepare_run
from trainer_core.problems import Problem, blocking
from trainer_core.text import plain_letters
from trainer_core.training import labels
from trainer_core.training.labels import LONGEST_NAME
from trainer_core.training.run import Run

MOST = 200
"""The most runs of one sweep."""
NAME = "output.name"
RANK = "network.rank"
ALPHA = "network.alpha"
LONGEST_SUFFIX = 80
LONGEST_SUBJECT = 40

Changes = Mapping[str, Any]
"""Values by path; a native option has the path native.<engine>.<option>."""


@dataclass(frozen=True)
class Member:
    """One run of a sweep before it is prepared: its changes, what tells it apart, its job, Problems and forecast.

    `subject` is what it trains; `alpha` is the alpha that followed from its rank, None if it did not follow.
    """

    changes: Changes
    name: str
    bench: Workbench
    problems: tuple[Problem, ...]
    forecast: Forecast | None
    subject: str = ""
    alpha: float | None = None

    @property
    def label(self) -> str:
        """The name that its run gets: the subject and the changes, such as "mika rank 16"."""
        return f"{self.subject[:LONGEST_SUBJECT]} {self.name}".strip()[:LONGEST_NAME].strip()

    @property
    def seconds(self) -> tuple[float, float]:
        """The estimated time, at least and at most; 0 if it is not known."""
        return self.forecast.estimate.seconds if self.forecast else (0.0, 0.0)


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Changes]:
    """Every combination of the values of these settings, the last setting changing fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def alpha_share(bench: Workbench, sets: Sequence[Changes]) -> float | None:
    """Alpha divided by the rank in the job of a workbench, if a sweep changes the rank and not alpha; None if it does not.

    The strength of a network is alpha / rank: with the same alpha, a higher rank also learns more slowly.
    """
    if not any(RANK in changes and ALPHA not in changes for changes in sets):
        return None
    state = bench.state
    values = state.draft.usable_values
    rank, alpha = values[RANK], values[ALPHA]
    return float(alpha) / rank if state.scope.applies(ALPHA) and rank else None


def alpha_sentence(members: Sequence[Member]) -> str:
    """What a sweep does with alpha, if it follows from the rank; else ""."""
    alphas = [member.alpha for member in members if member.alpha is not None]
    return f"Alpha follows the rank: {', '.join(f'{each:g}' for each in dict.fromkeys(alphas))}." if alphas else ""


def checked(
    bench: Workbench,
    sets: Sequence[Changes],
    look_ahead: Callable[[Workbench], Forecast | None] = lambda _: None,
    *,
    alpha_follows: bool = True,
) -> list[Member]:
    """The members of a sweep: the job of a workbench with each set of changes, and the Problems of each.

    `alpha_follows`: where a set changes the rank and not alpha, alpha keeps its share of the rank.

    Raises:
        PlanError: there are no changes, too many, or two sets that are the same.
    """
    if not 1 <= len(sets) <= MOST:
        raise PlanError(f"A sweep has 1 to {MOST} runs, not {len(sets)}.", "Give fewer values.")
    if len({repr(sorted(changes.items())) for changes in sets}) < len(sets):
        raise PlanError("Two runs of the sweep have the same changes.", "Remove one of them.")
    share = alpha_share(bench, sets) if alpha_follows else None
    return [_member(bench, changes, _told(changes, sets), look_ahead, share) for changes in sets]


def prepare(members: Sequence[Member], gpu: str, notes: Mapping[str, str] | None = None) -> tuple[str, list[Run]]:
    """The id of a new sweep, and its prepared runs, each named by its subject and its differences. If one fails, none is left.

    Raises:
        PlanError: a member has a blocking Problem.
        JobError: a run folder cannot be written.
    """
    if stopping := [problem for member in members for problem in blocking(member.problems)]:
        raise PlanError("The sweep was not started.", "Nothing was queued. Fix the problems of each run.", stopping)
    sweep = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    runs: list[Run] = []
    try:
        for member in members:
            run = prepare_run(member.bench, gpu=gpu, notes={**(notes or {}), "sweep": sweep})
            runs.append(run)
            labels.write(run.folder, labels.Labels().named(labels.free_name(run.folder, member.label)))
    except (EaselError, OSError):
        for run in runs:
            run.folder.remove()
        raise
    return sweep, runs


def _member(
    bench: Workbench,
    changes: Changes,
    name: str,
    look_ahead: Callable[[Workbench], Forecast | None],
    share: float | None,
) -> Member:
    # A workbench only ever replaces its state, so a copy can be changed on its own.
    own = copy.copy(bench)
    values = {path: value for path, value in changes.items() if not path.startswith("native.")}
    native = own.state.draft.values.get("native")
    for path, value in changes.items():
        if path.startswith("native."):
            values["native"] = native = _with_native(native, path.split(".")[1:], value)
    if NAME not in values and (stem := own.state.draft.text(NAME)):
        values[NAME] = f"{stem}-{_suffix(name)}"
    alpha = _following(changes, share)
    own.set(values if alpha is None else {**values, ALPHA: alpha})
    seen, subject = look_ahead(own), shown(own.state.draft.values)
    return Member(changes, name, own, (*own.problems, *(seen.problems() if seen else ())), seen, subject, alpha)


def _following(changes: Changes, share: float | None) -> float | None:
    """The alpha for the rank of a set of changes; None if it does not follow."""
    rank = changes.get(RANK)
    if share is None or ALPHA in changes or not isinstance(rank, int):
        return None
    return round(rank * share, 6)


def _with_native(native: Any, keys: Sequence[str], value: Any) -> dict[str, Any]:
    """The native settings with one more value."""
    for key in reversed(keys):
        value = {key: value}
    return merged(native, value)


def _told(changes: Changes, sets: Sequence[Changes]) -> str:
    """What tells a run apart from the others: its changes, with the titles of the settings where these are clear."""
    titles = [_title(path) for path in dict.fromkeys(path for each in sets for path in each)]
    words = []
    for path, value in changes.items():
        title = _title(path)
        words.append(f"{title if titles.count(title) == 1 else path} {_text(value)}")
    return ", ".join(words)


def _title(path: str) -> str:
    """The title of a setting inside a sentence; of a native option its own name."""
    field = fields.all_fields().get(path)
    title = field.title if field else path.rpartition(".")[2]
    return title[:1].lower() + title[1:] if field and title[1:2].islower() else title


def _text(value: Any) -> str:
    return "none" if value is None else entering.shown(value) or "empty"


def _suffix(name: str) -> str:
    """The differences as the end of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", plain_letters(name)).strip("-.")[:LONGEST_SUFFIX] or "run"


def from_tables(tables: Mapping[str, Any]) -> list[Changes]:
    """The sets of changes in a file: an array of tables `[[runs]]`, each with settings by path or in tables.

    Raises:
        PlanError: the file has another form.
    """
    rows = tables.get("runs")
    if set(tables) != {"runs"} or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PlanError(
            "The file of a sweep contains only [[runs]] tables, one for each run.",
            'For example: [[runs]], and below it "optimizer.learning_rate" = 1e-4',
        )
    sets: list[Changes] = [_flat(row) for row in rows]
    for changes in sets:
        for path in changes:
            if path not in fields.all_fields() and not path.startswith("native."):
                raise PlanError(f"{path!r:.80} is not a setting.", "`easel train --help` lists all settings.")
    return sets


def _flat(row: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        path = f"{above}{key}"
        flat.update(_flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value})
    return flat
