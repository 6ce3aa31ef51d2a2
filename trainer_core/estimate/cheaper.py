"""The cheapest change that makes a plan fit: first what changes neither the result nor much of the speed, then what does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_core.estimate import captions
from trainer_core.estimate.fit import Fit, against
from trainer_core.estimate.job import Job
from trainer_core.estimate.past import Past
from trainer_core.estimate.result import Estimate, estimate
from trainer_core.plan import fields
from trainer_core.plan.applies import Scope
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.backend import BackendManifest

Problems = Callable[[TrainingPlan], Sequence[Problem]]
Changes = Mapping[str, Any]
EIGHT_BITS = {
    "AdamW": "AdamW8bit",
    "PagedAdamW": "PagedAdamW8bit",
    "AdEMAMix": "AdEMAMix8bit",
    "Lion": "Lion8bit",
    "SGD": "SGD8bit",
}
SWAPPED, OFFLOADED = "swapped blocks", "checkpoints in the computer's memory"
SWAP_STEPS = 8
"""In how many steps blocks are swapped until it fits."""


@dataclass(frozen=True)
class _Try:
    """Changes that were made one after the other, each with its name, and the plan, estimate and fit they lead to."""

    changes: tuple[tuple[str, Changes], ...]
    plan: TrainingPlan
    estimate: Estimate
    fit: Fit


class _Search:
    """Plans near to one plan, and whether they fit."""

    def __init__(
        self,
        plan: TrainingPlan,
        facts: Facts,
        problems: Problems | None,
        past: Sequence[Past],
        manifest: BackendManifest | None,
    ) -> None:
        self.plan, self.facts, self.past, self.manifest, self.problems = plan, facts, past, manifest, problems
        self.wrong = self._wrong(plan)
        self.start = self._look(plan)
        self._seen: dict[frozenset[tuple[str, str]], _Try | None] = {}
        """What each set of changes led to: the ways to a fit have much in common."""

    def _look(self, plan: TrainingPlan) -> _Try:
        found = estimate(plan, captions.known(self.facts, self.plan, plan), self.past, self.manifest)
        return _Try((), plan, found, against(found, self.facts.machine, ()))

    def _wrong(self, plan: TrainingPlan) -> set[tuple[str, str]]:
        """What stands against a plan. A warning counts: it may say that the engine does nothing with a setting."""
        found = self.problems(plan) if self.problems else ()
        return {(each.path, each.message) for each in found if each.severity != "info"}

    def with_change(self, tried: _Try, name: str, changes: Changes) -> _Try | None:
        """The plan with changes as well; None where a setting has no meaning there or a Problem would come of it."""
        kept = tuple(entry for entry in tried.changes if entry[0] != name)
        key = frozenset((path, repr(value)) for path, value in {**_changes(tried), **changes}.items())
        if key not in self._seen:
            self._seen[key] = self._changed(tried, changes)
        found = self._seen[key]
        return None if found is None else replace(found, changes=(*kept, (name, changes)))

    def _changed(self, tried: _Try, changes: Changes) -> _Try | None:
        scope = Scope({**_values(tried.plan), **changes}, self.manifest, self.facts.detection)
        if self.manifest is not None and not all(path == "native" or scope.applies(path) for path in changes):
            return None
        plan = changed(tried.plan, changes)
        return None if self._wrong(plan) - self.wrong else self._look(plan)

    def again(self, changes: Sequence[tuple[str, Changes]]) -> _Try | None:
        """The first plan with these changes only."""
        tried: _Try | None = self.start
        for name, each in changes:
            tried = self.with_change(tried, name, each) if tried else None
        return tried


def cheaper(
    plan: TrainingPlan,
    facts: Facts,
    backend_problems: Problems | None = None,
    *,
    past: Sequence[Past] = (),
    manifest: BackendManifest | None = None,
) -> Fix | None:
    """The cheapest changes with which a plan fits the free memory at the same effective batch, as one Fix.

    None when it fits as it is, or nothing makes it fit. `backend_problems` gives a plan's Problems: no change is proposed that adds
    an error or a warning. Neither resolution nor rank is touched. Where nothing makes it surely fit, what may fit is proposed; where
    only another text encoder would, the Fix is advice without changes.
    """
    search = _Search(plan, facts, backend_problems, past, manifest)
    if search.start.fit.fits == "yes" or search.start.fit.total_gib <= 0:
        return None
    found = _single(search) or _combined(search)
    return _advice(search) if found is None else Fix(_label(search.start, found), _changes(found))


def _advice(search: _Search) -> Fix | None:
    """What to fetch, where a text encoder in 8 bits would make it fit."""
    job = Job.of(search.plan, search.facts, search.manifest)
    supposed = captions.with_eight_bits(job, search.facts) if job else None
    if supposed is None:
        return None
    link, facts = supposed
    other = _Search(search.plan, facts, search.problems, search.past, search.manifest)
    found = other.start if other.start.fit.fits != "no" else _single(other) or _combined(other)
    if found is None:
        return None
    does = "does it fit" if found.fit.fits == "yes" else "may it fit"
    names = [name for name, _ in found.changes]
    rest = f" One click then sets {_listed(names)}." if names else ""
    return Fix(
        f"Encoding captions takes too much with your text encoder. Only with one in 8 bits {does}, in at most "
        f"{found.estimate.vram_gib[1]:.1f} GiB. Choose one in place of yours; get it with: easel models download {link}.{rest}"
    )


def _single(search: _Search) -> _Try | None:
    """The first change that is enough by itself and leaves the result as it is."""
    for name, choices in _gentle(search.start.plan, search):
        for changes in choices:
            tried = search.with_change(search.start, name, changes)
            if tried is not None and tried.fit.fits == "yes":
                return tried
    return None


def _combined(search: _Search) -> _Try | None:
    """Several changes that surely make it fit, else several that may.

    Engines do not swap blocks and offload checkpoints at once, so that each is tried without the other.
    """
    found = [_together(search, without) for without in (SWAPPED, OFFLOADED)]
    fitting = [one for one in found if one is not None]
    return next((one for one in fitting if one.fit.fits == "yes"), fitting[-1] if fitting else None)


def _together(search: _Search, without: str) -> _Try | None:
    """Changes one after the other until it fits, less those that turn out not to be needed, the dearest first."""
    best = search.start
    # Twice: what takes most may be another phase once the first has become small.
    for name, choices in (*_ladder(search.start, search), *_ladder(search.start, search)):
        if name == without:
            continue
        tried = [one for changes in choices if (one := search.with_change(best, name, changes)) is not None]
        helping = [one for one in tried if _high(one) < _high(best)]
        if not helping:
            continue
        best = next((one for one in helping if one.fit.fits == "yes"), min(helping, key=_high))
        if best.fit.fits == "yes":
            break
    if best.fit.fits == search.start.fit.fits:
        return None
    for entry in reversed(best.changes[:-1]):
        fewer = search.again([each for each in best.changes if each != entry])
        if fewer is not None and fewer.fit.fits == best.fit.fits:
            best = fewer
    return best


def _ladder(start: _Try, search: _Search) -> Iterator[tuple[str, list[Changes]]]:
    """What can be changed, the cheapest first: a name, and the values to try from the mildest on."""
    plan, scope = start.plan, Scope(_values(start.plan), search.manifest, search.facts.detection)
    memory = plan.memory
    yield from _gentle(plan, search)
    if lighter := EIGHT_BITS.get(plan.optimizer.name):
        known = search.manifest is None or lighter in search.manifest.optimizers
        yield "an optimizer with its memory in 8 bits", [{"optimizer.name": lighter}] if known else []
    if not memory.fp8_base:
        yield "the base model in 8 bits", [{"memory.fp8_base": True}]
    if most := _most_swapped(scope):
        counts = sorted({round(most * step / SWAP_STEPS) for step in range(1, SWAP_STEPS + 1)})
        yield SWAPPED, [{"memory.blocks_to_swap": count} for count in counts if count > memory.blocks_to_swap]


def _gentle(plan: TrainingPlan, search: _Search) -> Iterator[tuple[str, list[Changes]]]:
    """What changes nothing in the result, or next to nothing, and costs a third of the speed at most."""
    dataset, memory, schedule = plan.dataset, plan.memory, plan.schedule
    if not memory.cache_latents and not (dataset.random_crop or dataset.color_augmentation):
        yield "cached latents", [{"memory.cache_latents": True}]
    changing = (
        dataset.shuffle_captions or dataset.caption_dropout or dataset.tag_dropout or plan.network.train_text_encoder
    )
    if not memory.cache_text_encoder and not changing:
        yield "cached captions", [{"memory.cache_text_encoder": True}]
    for name, changes in captions.lighter(plan, search.facts, search.manifest):
        yield name, [changes]
    if not memory.fused_backward and schedule.gradient_accumulation == 1:
        yield "a fused backward pass", [{"memory.fused_backward": True}]
    if not memory.gradient_checkpointing:
        yield "gradient checkpointing", [{"memory.gradient_checkpointing": True}]
    if smaller := list(_smaller_batches(plan)):
        yield "smaller batches, more of them added up", smaller
    if not memory.offload_checkpointing:
        yield OFFLOADED, [{"memory.offload_checkpointing": True}]


def _smaller_batches(plan: TrainingPlan) -> Iterator[Changes]:
    """Batches of fewer pictures, as many in a step as before."""
    size, adds = plan.schedule.batch_size, plan.schedule.gradient_accumulation
    for fewer in range(size - 1, 0, -1):
        if size % fewer == 0 and adds * size // fewer <= 1024:
            yield {"schedule.batch_size": fewer, "schedule.gradient_accumulation": adds * size // fewer}


def _most_swapped(scope: Scope) -> int:
    """The most blocks that the engine swaps for this model; 0 where it swaps none."""
    table = scope.claim.cell(str(scope.values["model.method"])).get("swap") if scope.claim else None
    if not table:
        return 0
    return table.get(scope.detection.variant if scope.detection else "", table.get("", max(table.values())))


def _changes(tried: _Try) -> dict[str, Any]:
    return {path: value for _, changes in tried.changes for path, value in changes.items()}


def _label(start: _Try, found: _Try) -> str:
    """What the button says: the changes and what they do."""
    names = [name for name, _ in found.changes]
    word = "Make it fit" if found.fit.fits == "yes" else "Make it likely to fit"
    need = found.estimate.ram_gib if found.estimate.vram_gib[1] <= 0 else found.estimate.vram_gib[1]
    was = start.estimate.ram_gib if start.estimate.vram_gib[1] <= 0 else start.estimate.vram_gib[1]
    before, after = (sum(each.estimate.seconds) for each in (start, found))
    slower = round((after / before - 1) * 100) if before else 0
    speed = f", about {slower} % slower" if slower >= 5 else ""
    return f"{word} with {_listed(names)}: at most {need:.1f} GiB in place of {was:.1f}{speed}"


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "one, two and three"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _high(tried: _Try) -> float:
    """The most memory it is likely to take."""
    return tried.estimate.vram_gib[1] or tried.estimate.ram_gib


def _values(plan: TrainingPlan) -> dict[str, Any]:
    return fields.flatten(plan.model_dump())


def changed(plan: TrainingPlan, changes: Changes) -> TrainingPlan:
    """The plan with other values by dotted path."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        section, _, name = path.partition(".")
        if not name:
            plan = plan.model_copy(update={section: value})  # `native` is one value
            continue
        sections.setdefault(section, {})[name] = value
    return plan.model_copy(
        update={section: getattr(plan, section).model_copy(update=values) for section, values in sections.items()}
    )
