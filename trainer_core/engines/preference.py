"""Which of several engines Easel prefers for a job: the one rule, and the sentence that says why.

The automatic choice (`install.choice`) uses it with what is known at once; the table of engines (`prepare.engine_rows`) with
everything, so that memory and files count there, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Files = Literal["at hand", "unknown", "to fetch", "missing"]
Memory = Literal["fits", "tight", "unknown", "does not fit"]
FILES: tuple[Files, ...] = ("at hand", "unknown", "to fetch", "missing")
"""From the best: what Easel can rename, make or download is better than what the user has to look for."""
MEMORY: tuple[Memory, ...] = ("fits", "tight", "unknown", "does not fit")

FILES_SAID: dict[Files, str] = {
    "at hand": "are at hand",
    "unknown": "are not known",
    "to fetch": "have to be fetched",
    "missing": "are missing",
}
MEMORY_SAID: dict[Memory, str] = {
    "fits": "fits into memory",
    "tight": "may not fit into memory",
    "unknown": "needs an unknown amount of memory",
    "does not fit": "does not fit into memory",
}


@dataclass(frozen=True)
class Standing:
    """What the preference depends on.

    `blocks` is the sentence that says why a run would not start, "" if it would; `is_mendable` says that another value of a
    setting is enough.
    """

    id: str
    title: str
    rank: int
    trains: bool = True
    """Whether the engine trains the family at all."""
    blocks: str = ""
    is_mendable: bool = False
    files: Files = "unknown"
    memory: Memory = "unknown"
    installed: bool = False


def place(one: Standing) -> tuple[bool, int, int, int, bool, int, str]:
    """The rule, as a key to sort by, the best first.

    An engine that does not train the family comes last; before it one that cannot train this model; before that, one that would
    not start before a setting has another value. Then count, in this order: files at hand, memory, whether it is installed,
    the rank in its manifest, and its id.
    """
    files, memory = FILES.index(one.files), MEMORY.index(one.memory)
    stops = (1 if one.is_mendable else 2) if one.blocks else 0
    return not one.trains, stops, files, memory, not one.installed, one.rank, one.id


def preferred(standings: Iterable[Standing]) -> Standing | None:
    """The engine that Easel prefers; None if none trains the family."""
    found = min(standings, key=place, default=None)
    return found if found is not None and found.trains else None


def reason(standings: Sequence[Standing], family: str) -> str:
    """Why Easel prefers that engine, as a sentence: for each other engine of the family, the first thing in which it is worse."""
    best = preferred(standings)
    if best is None:
        return f"No engine trains {family}."
    others = sorted((one for one in standings if one.trains and one is not best), key=place)
    if not others:
        only = f"{best.title} is the only engine that trains {family}"
        return (
            f"{only}, but not this plan as it is: {best.blocks}{_but(best)}" if best.blocks else f"{only}.{_but(best)}"
        )
    if best.blocks:
        return f"No engine would start with this plan. {best.title} comes nearest. What stops it: {best.blocks}{_but(best)}"
    return f"Easel proposes {best.title}: {'; '.join(_worse(best, other) for other in others)}.{_but(best)}"


def _worse(best: Standing, other: Standing) -> str:
    """In what another engine is worse than the best one, as the part of a sentence."""
    if other.blocks:
        # Its first sentence: the row of the engine has all of them.
        return f"{other.title} would not start with this plan ({other.blocks.partition('. ')[0].rstrip('.')})"
    if other.files != best.files:
        return f"its files {FILES_SAID[best.files]}, those of {other.title} {FILES_SAID[other.files]}"
    if other.memory != best.memory:
        return f"with it the plan {MEMORY_SAID[best.memory]}, with {other.title} it {MEMORY_SAID[other.memory]}"
    if other.installed != best.installed:
        return f"it is installed, and {other.title} is not"
    return f"nothing sets {other.title} apart, and Easel prefers {best.title}"


def _but(best: Standing) -> str:
    """What is wrong with the best one itself, as sentences after a space; "" if nothing is."""
    memory = f" The plan does not fit into memory with {best.title}." if best.memory == "does not fit" else ""
    files = f" Files for {best.title} are missing." if best.files == "missing" else ""
    return f"{memory}{files}{'' if best.installed else f' {best.title} is not installed yet.'}"
