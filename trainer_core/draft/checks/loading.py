"""The rule about what can be done with the result: whether ComfyUI and diffusers load the file of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.draft.checks.case import Case
from trainer_core.engines.claim import FamilyClaim, Written
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.models.loaders import Answer
    from trainer_core.plan.sections import NetworkSettings

PATH, ALPHA = "network.algorithm", "network.alpha"
NEAREST = ("lora", "locon", "lokr", "loha")
"""The algorithms that are proposed instead, the most usual first."""
COMMAND = "easel lora convert"
CONVOLUTIONS = "locon"
"""The algorithm whose layers a LoRA has that is told to train convolutions, too."""


def programs_load_the_result(case: Case) -> Iterator[Problem]:
    """Every program that cannot load the finished file is named, with what it would load instead."""
    claim, network = case.claim, case.plan.network
    if claim is None or case.plan.model.method != "lora" or network.algorithm not in claim.algorithms:
        return
    found = answers(claim, network)
    missing = [answer for answer in found if answer.loads in ("no", "partly")]
    if not missing:
        return
    from trainer_core.models.loaders import COMFYUI

    severity = "warning" if any(answer.program == COMFYUI for answer in missing) else "info"
    fix, message = _fix(claim, network, missing), _said(missing, found)
    if fix is None:
        fix = _conversion(claim, network, missing)
        message += "" if fix else f" `{COMMAND}` cannot change that."
    yield Problem(PATH, severity, message, fix)


def answers(claim: FamilyClaim, network: NetworkSettings) -> tuple[Answer, ...]:
    """Whether each program loads the finished file, by the recorded names; () where the engine's names are not known."""
    # Needed when a model was chosen: a notebook starts without it.
    from trainer_core.models.loaders import foreseen

    names = claim.cell("lora").written
    return foreseen.answers(claim.family, names, *_form(claim, names, network)) if names else ()


def _form(claim: FamilyClaim, names: Written, network: NetworkSettings) -> tuple[str, str, str, bool]:
    """In which form the engine writes the file: the prefix, the endings, the algorithm, and whether alpha is the rank."""
    is_own = network.algorithm == "lora" and claim.cell("lora").lora == "own"
    prefix, ends = (names.own, names.ends) if is_own else (names.others, "u")
    layers = CONVOLUTIONS if is_own and network.conv_rank else network.algorithm
    return prefix, ends, layers, network.alpha == network.rank


def _said(missing: list[Answer], found: tuple[Answer, ...]) -> str:
    both = " and ".join(answer.program for answer in missing)
    whole = all(answer.loads == "no" for answer in missing)
    does = ("will not load" if whole else "will load only a part of") + " the finished file"
    others = " and ".join(answer.program for answer in found if answer.loads == "yes")
    return f"{both} {does}{f'; {others} will' if others else ''}. {missing[0].reason}"


def _fix(claim: FamilyClaim, network: NetworkSettings, missing: list[Answer]) -> Fix | None:
    """The first change with which at least one more program loads the file, and none less."""
    programs = {answer.program for answer in missing}
    for label, changes in _changes(claim, network):
        values = {path.partition(".")[2]: value for path, value in changes.items()}
        after = answers(claim, network.model_copy(update=values))
        if after and {answer.program for answer in after if answer.loads != "yes"} < programs:
            return Fix(label, changes)
    return None


def _conversion(claim: FamilyClaim, network: NetworkSettings, missing: list[Answer]) -> Fix | None:
    """The command that makes a copy of the finished file for a program that does not load it; None if there is none."""
    from trainer_core.models.loaders import foreseen
    from trainer_core.weights.lora import forms, naming

    names = claim.cell("lora").written
    assert names is not None, "without them nothing is missing"
    header = foreseen.finished(claim.family, names, *_form(claim, names, network))
    assert header is not None, "the same"
    for to in (naming.DIFFUSERS, naming.SD_SCRIPTS, naming.COMFYUI):
        loading = {answer.program for answer in forms.answers(header, claim.family, to) if answer.loads == "yes"}
        if gained := [answer.program for answer in missing if answer.program in loading]:
            plain = " --plain" if forms.is_made_plain(header, claim.family) else ""
            return Fix(f"Afterwards `{COMMAND} FILE --naming {to}{plain}` makes a copy for {' and '.join(gained)}")
    return None


def _changes(claim: FamilyClaim, network: NetworkSettings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if network.algorithm == "lora" and network.alpha != network.rank:
        yield f"Use alpha {network.rank}", {ALPHA: float(network.rank)}
    for name in NEAREST:
        if name in claim.algorithms and name != network.algorithm:
            title = catalog.algorithms()[name].title
            yield f"Use {title}", {PATH: name}
            yield f"Use {title} with alpha {network.rank}", {PATH: name, ALPHA: float(network.rank)}
