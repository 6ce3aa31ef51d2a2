"""Which runs the history lists: filters, order, pages and versions, and the rows as the page shows them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core.jobs.state import JobState
from trainer_core.text import printable
from trainer_core.training import versions
from trainer_core.training.folder import WHERE
from trainer_core.training.history import Filter, PastRun
from trainer_ui import pasts
from trainer_ui.controls import plain_number

if TYPE_CHECKING:
    from trainer_ui.past_reader import Seen

PAGE = 25
GROUPS: Mapping[str, tuple[str, frozenset[JobState]]] = {
    "": ("All", frozenset(JobState)),
    "going": ("Not ended", frozenset({JobState.PREPARED, JobState.QUEUED, JobState.RUNNING, JobState.STOPPING, JobState.ELSEWHERE})),
    "finished": ("Finished", frozenset({JobState.COMPLETED})),
    "stopped": ("Stopped", frozenset({JobState.CANCELLED})),
    "failed": ("Failed", frozenset({JobState.FAILED, JobState.LOST})),
}  # fmt: skip
"""The groups of states that can be chosen: the words on the button, and the states."""
SINCE = {"Any time": None, "Today": 0, "Last 7 days": 7, "Last 30 days": 30}
"""Periods, as whole days before today; None for all."""
UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Listing:
    """What is listed: the filter, the group of states, the order, the first row of the page, and whether by subject."""

    wanted: Filter = field(default_factory=Filter)
    group: str = ""
    sort: str = "started"
    descending: bool = True
    first: int = 0
    by_subject: bool = False

    def sorted_by(self, key: str) -> Listing:
        """This listing in another order; the same key again turns it around. Times and sizes begin with the largest."""
        down = not self.descending if key == self.sort else key not in ("name", "state", "family")
        return dataclasses.replace(self, sort=key, descending=down, first=0)

    def fitting(self, runs: Sequence[PastRun]) -> list[PastRun]:
        """The runs that fit the filter, apart from the group of states."""
        return [run for run in runs if self.wanted.fits(run)]

    def chosen(self, fitting: Sequence[PastRun], sizes: Mapping[str, int]) -> list[PastRun]:
        """The runs of the chosen group in their order; runs whose value is not known come last."""
        states = GROUPS[self.group][1]
        own = _ORDERS[self.sort]
        value = (lambda run: sizes.get(run.run)) if self.sort == "size" else own
        listed = [run for run in fitting if run.state in states]
        known = [run for run in listed if value(run) not in (None, "")]
        missing = [run for run in listed if value(run) in (None, "")]
        return sorted(known, key=value, reverse=self.descending) + missing


_ORDERS: Mapping[str, Callable[[PastRun], Any]] = {
    "name": lambda run: pasts.called(run).casefold(),
    "state": lambda run: pasts.pill_of(run)[0],
    "family": lambda run: run.family,
    "steps": lambda run: run.steps or run.total_steps or None,
    "images": lambda run: run.images,
    "loss": lambda run: run.loss,
    "took": lambda run: run.seconds or None,
    "started": lambda run: run.started or None,
    "size": lambda _: None,
}


def since(days: int | None) -> float:
    """The begin of the day that was this many days ago, in seconds since 1970; 0 for None."""
    if days is None:
        return 0.0
    today = dt.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return (today - dt.timedelta(days=days)).timestamp()


def page(
    listing: Listing, seen: Seen, fitting: Sequence[PastRun], chosen: Sequence[str], opened: str
) -> dict[str, Any]:
    """The content of the table: the rows of one page; `chosen` and `opened` are names of runs."""
    listed = listing.chosen(fitting, seen.sizes)
    numbers = versions.numbered(seen.runs) if listing.by_subject else {}
    if listing.by_subject:
        # A stable order: inside a subject the chosen order stays.
        listed.sort(key=lambda run: numbers[run.run][0].casefold())
    first = listing.first if listing.first < len(listed) else 0
    rows: list[dict[str, Any]] = []
    subject = None
    counts: dict[str, int] = {}
    for run in listed:
        if numbers:
            counts[numbers[run.run][0]] = counts.get(numbers[run.run][0], 0) + 1
    for run in listed[first : first + PAGE]:
        if numbers and numbers[run.run][0] != subject:
            subject = numbers[run.run][0]
            many = counts[subject]
            rows.append(
                {"group": printable(subject, 120) or "No subject", "more": f"{many} {'run' if many == 1 else 'runs'}"}
            )
        version = f"v{numbers[run.run][1]}" if numbers else ""
        rows.append({**row(run, seen), "version": version, "chosen": run.run in chosen, "open": run.run == opened})
    return {
        "rows": rows,
        "sort": listing.sort,
        "descending": listing.descending,
        "first": first,
        "total": len(listed),
        "size": PAGE,
    }


def row(run: PastRun, seen: Seen) -> dict[str, Any]:
    """A run as a row of the table. All texts are for people; `stamp` changes when there may be another thumbnail."""
    word, tone = pasts.pill_of(run)
    going = seen.going.get(run.run)
    total = going.total if going and going.total else run.total_steps
    step = going.step if going else run.steps
    whole = run.state is JobState.COMPLETED or not step
    length = (f"{step or total:,}" if whole else f"{step:,} / {total:,}") if total or step else UNKNOWN
    left = f"{pasts.span(going.left_s)} left" if going and going.occupies and going.left_s is not None else ""
    size = seen.sizes.get(run.run)
    # A run that continues another one has the same name.
    earlier = run.versions.get("resumes", "")
    resumed = f"resumed from {printable(pasts.folder_name(earlier), 60)}" if earlier else ""
    where = f"on {printable(run.versions[WHERE], 60)}" if run.versions.get(WHERE) else ""
    note = ", ".join(filter(None, (where, resumed, run.labels.note.partition("\n")[0])))
    return {
        "run": run.run,
        "name": printable(pasts.called(run), 100),
        "note": printable(note, 100),
        "tags": [printable(tag, 40) for tag in run.labels.tags[:4]],
        "word": word,
        "tone": tone,
        "family": family_title(run.family),
        "profile": ", ".join(filter(None, (pasts.kind_of(run), printable(profile_of(run, seen.profiles), 60)))),
        "steps": f"{length} steps" if length != UNKNOWN else length,
        "images": f"{run.images:,} {'image' if run.images == 1 else 'images'}"
        if run.images is not None
        else "images unknown",
        "loss": loss(run.loss),
        "took": left or (pasts.span(run.seconds) if run.seconds else UNKNOWN),
        "when": pasts.started(run),
        "size": pasts.size(size) if size is not None else "",
        "stamp": f"{run.state.name} {step}",
    }


def profile_of(run: PastRun, profiles: Mapping[str, str]) -> str:
    """The title of the profile that a run used; its id if Easel does not have it any more; "" without one."""
    used = run.versions.get("profile", "")
    return "plain defaults" if used == "plain" else profiles.get(used, used)


def loss(value: float | None) -> str:
    """A loss with as many digits as the charts show."""
    if value is None:
        return UNKNOWN
    return f"{value:.4f}" if value >= 0.001 else f"{value:.2e}"


def family_title(family: str) -> str:
    """The title of a model family."""
    from trainer_core.models.families import load_families

    known = load_families().get(family)
    return known.title if known else printable(family, 40) or "unknown model"


def value_text(value: Any) -> str:
    """A value of a setting as text for people."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    return str(value)
