"""The cheapest changes that make a plan fit. Changes that keep the result and most of the speed come first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_core.draft.facts import Facts
from trainer_core.draft.relevance import Scope
from trainer_core.estimate import captions
from trainer_core.estimate.fit import Fit, against
from trainer_core.estimate.job import Workload
from trainer_core.estimate.past import Past
from trainer_core.estimate.result import Estimate, estimate
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST, Subset
from trainer_core.problems import Fix, Problem, download

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

Problems = Callable[[TrainingPlan], Sequence[Problem]]
Changes = Mapping[str, Any]
EIGHT_BITS = {
    "AdamW": "AdamW8bit",
    "PagedAdamW": "PagedAdamW8bit",
    "AdEMAMix": "AdEMAMix8bit",
    "Lion": "Lion8bit",
    "SGD": "SGD8bit",
}
SWAPPED, OFFLOADED = "swapped blocks", "activation offload to system RAM"
SWAP_STEPS = 8
"""How many different numbers of swapped blocks are tried."""


@dataclass(frozen=True)
class _Try:
    """A list of named changes, and the resulting plan, estimate and fit."""

    changes: tuple[tuple[str, Changes], ...]
    plan: TrainingPlan
    estimate: Estimate
    fit: Fit


class _Search:
    """Variations of one plan, and whether they fit."""

    def __init__(
        self,
        plan: TrainingPlan,
        facts: Facts,
        problems: Problems | None,
        past: Sequence[Past],
        manifest: BackendManifest | None,
    ) -> None:
        self.plan, self.facts, self.past, self.manifest, self.problems = plan, facts, past, manifest, problems
        self.faults = self._faults(plan)
        self.start = self._try(plan)
        self._seen: dict[frozenset[tuple[str, str]], _Try | None] = {}
        """The result of each set of changes: the searches try many of the same sets."""

    def _try(self, plan: TrainingPlan) -> _Try:
        found = estimate(plan, captions.facts_for(self.facts, self.plan, plan), self.past, self.manifest)
        return _Try((), plan, found, against(found, self.facts.machine))

    def _faults(self, plan: TrainingPlan) -> set[tuple[str, str]]:
        """The errors and warnings of a plan. Warnings count, because one may say that the engine ignores a setting."""
        found = self.problems(plan) if self.problems else ()
        return {(each.path, each.message) for each in found if each.severity != "info"}

    def with_change(self, tried: _Try, name: str, changes: Changes) -> _Try | None:
        """The plan with more changes; None if a setting does not apply to it, or if the changes cause a Problem."""
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
        return None if self._faults(plan) - self.faults else self._try(plan)

    def with_only(self, changes: Sequence[tuple[str, Changes]]) -> _Try | None:
        """The original plan with only these changes."""
        tried: _Try | None = self.start
        for name, each in changes:
            tried = self.with_change(tried, name, each) if tried else None
        return tried


def fit_advice(
    plan: TrainingPlan,
    facts: Facts,
    backend_problems: Problems | None = None,
    *,
    past: Sequence[Past] = (),
    manifest: BackendManifest | None = None,
) -> Fix | None:
    """The cheapest changes with which a plan fits into the free memory with the same effective batch, as one Fix.

    None if the plan already fits, or if nothing makes it fit. `backend_problems` returns the Problems of a plan: no change is
    proposed that adds an error or a warning. Resolution and rank do not change. If nothing is sure to fit, changes that may fit are
    proposed; if only another text encoder would help, the Fix downloads it.
    """
    search = _Search(plan, facts, backend_problems, past, manifest)
    if search.start.fit.fits == "yes" or search.start.fit.total_gib <= 0:
        return None
    found = _single(search) or _combined(search)
    return _advice(search) if found is None else Fix(_label(search.start, found), _changes(found))


def _advice(search: _Search) -> Fix | None:
    """The fix that downloads a text encoder in 8 bits, if one would make it fit, and sets what is needed besides."""
    job = Workload.of(search.plan, search.facts, search.manifest)
    smaller = captions.with_eight_bits(job, search.facts) if job else None
    if smaller is None:
        return None
    setting, link, facts = smaller
    other = _Search(search.plan, facts, search.problems, search.past, search.manifest)
    found = other.start if other.start.fit.fits != "no" else _single(other) or _combined(other)
    if found is None:
        return None
    does = "it fits" if found.fit.fits == "yes" else "it may fit"
    names = [name for name, _ in found.changes]
    rest = f" and {_listed(names)}" if names else ""
    file = link.rpartition("/")[2]
    label = f"Download a text encoder in 8 bits ({file}): with it{rest} {does}, in at most {found.estimate.vram_gib[1]:.1f} GiB"
    return replace(download(label, link, setting), changes=_changes(found))


def _single(search: _Search) -> _Try | None:
    """The first of the gentle changes that is enough on its own."""
    for name, choices in _gentle(search.start.plan, search):
        for changes in choices:
            tried = search.with_change(search.start, name, changes)
            if tried is not None and tried.fit.fits == "yes":
                return tried
    return None


def _combined(search: _Search) -> _Try | None:
    """Several changes with which the plan fits, else several with which it may fit.

    Most engines do not support block swap and activation offload at the same time, so each is tried without the other.
    """
    found = [_together(search, without) for without in (SWAPPED, OFFLOADED)]
    better = [one for one in found if one is not None]
    return next((one for one in better if one.fit.fits == "yes"), better[-1] if better else None)


def _together(search: _Search, without: str) -> _Try | None:
    """Adds changes until the plan fits, then removes those that are not needed, the most expensive first."""
    best = search.start
    # Twice, because after one phase needs less memory, another phase may be the largest.
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
        fewer = search.with_only([each for each in best.changes if each != entry])
        if fewer is not None and fewer.fit.fits == best.fit.fits:
            best = fewer
    return best


def _ladder(start: _Try, search: _Search) -> Iterator[tuple[str, list[Changes]]]:
    """The possible changes, the cheapest first: a name, and the values to try, the mildest first."""
    plan, scope = start.plan, Scope(_values(start.plan), search.manifest, search.facts.detection)
    memory = plan.memory
    yield from _gentle(plan, search)
    if lighter := EIGHT_BITS.get(plan.optimizer.name):
        known = search.manifest is None or lighter in search.manifest.optimizers
        yield "an 8-bit optimizer", [{"optimizer.name": lighter}] if known else []
    if not memory.fp8_base:
        yield "the base model in 8 bits", [{"memory.fp8_base": True}]
    if most := _most_swapped(scope):
        counts = sorted({round(most * step / SWAP_STEPS) for step in range(1, SWAP_STEPS + 1)})
        yield SWAPPED, [{"memory.blocks_to_swap": count} for count in counts if count > memory.blocks_to_swap]


def _gentle(plan: TrainingPlan, search: _Search) -> Iterator[tuple[str, list[Changes]]]:
    """Changes that keep the result the same or almost the same, and cost at most a third of the speed."""
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
        yield "smaller batches with gradient accumulation", smaller
    if not memory.offload_checkpointing:
        yield OFFLOADED, [{"memory.offload_checkpointing": True}]


def _smaller_batches(plan: TrainingPlan) -> Iterator[Changes]:
    """Smaller batches with more gradient accumulation, so that a step has the same number of images."""
    size, adds = plan.schedule.batch_size, plan.schedule.gradient_accumulation
    for fewer in range(size - 1, 0, -1):
        if size % fewer == 0 and adds * size // fewer <= 1024:
            yield {"schedule.batch_size": fewer, "schedule.gradient_accumulation": adds * size // fewer}


def _most_swapped(scope: Scope) -> int:
    """The highest number of blocks that the engine can swap for this model; 0 if it cannot swap any."""
    table = scope.claim.cell(str(scope.values["model.method"])).swap if scope.claim else None
    if not table:
        return 0
    return table.get(scope.detection.variant if scope.detection else "", table.get("", max(table.values())))


def _changes(tried: _Try) -> dict[str, Any]:
    return {path: value for _, changes in tried.changes for path, value in changes.items()}


def _label(start: _Try, found: _Try) -> str:
    """The label of the button: the changes and their effect."""
    names = [name for name, _ in found.changes]
    word = "Make it fit" if found.fit.fits == "yes" else "Make it likely to fit"
    need = found.estimate.ram_gib if found.estimate.vram_gib[1] <= 0 else found.estimate.vram_gib[1]
    was = start.estimate.ram_gib if start.estimate.vram_gib[1] <= 0 else start.estimate.vram_gib[1]
    before, after = (sum(each.estimate.seconds) for each in (start, found))
    slower = round((after / before - 1) * 100) if before else 0
    speed = f", about {slower} % slower" if slower >= 5 else ""
    return f"{word} with {_listed(names)}: at most {need:.1f} GiB instead of {was:.1f}{speed}"


def _listed(names: Sequence[str]) -> str:
    """The names as part of a sentence: "one, two and three"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _high(tried: _Try) -> float:
    """The highest likely amount of memory in GiB."""
    return tried.estimate.vram_gib[1] or tried.estimate.ram_gib


def _values(plan: TrainingPlan) -> dict[str, Any]:
    return fields.flatten(plan.model_dump())


def _folder(given: Any) -> Subset:
    """A further image folder, which a change has as a table."""
    return given if isinstance(given, Subset) else Subset.model_validate(dict(given))


def changed(plan: TrainingPlan, changes: Changes) -> TrainingPlan:
    """The plan with these values, by dotted path."""
    sections: dict[str, dict[str, Any]] = {}
    for path, given in changes.items():
        section, _, name = path.partition(".")
        value = given if path != LIST else tuple(map(_folder, given))
        if not name:
            plan = plan.model_copy(update={section: value})  # `native` is one value
            continue
        sections.setdefault(section, {})[name] = value
    return plan.model_copy(
        update={section: getattr(plan, section).model_copy(update=values) for section, values in sections.items()}
    )
