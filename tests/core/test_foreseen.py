"""What a plan says before the start about the programs that load its result, for every engine, family and algorithm."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support import engine_plans, recorded_roles
from trainer_core.draft.checks import Case, loading
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.engines.claim import Written
from trainer_core.errors import BackendError
from trainer_core.models import header as headers
from trainer_core.models import loaders
from trainer_core.models.detection.layouts import ALGORITHMS
from trainer_core.models.loaders import COMFYUI, DIFFUSERS, conversion, foreseen, table
from trainer_core.problems import Problem
from trainer_core.tools import lora_convert
from trainer_core.weights.lora import forms

CELLS = [
    (engine.manifest.id, family)
    for engine in registry.available()
    for family, claim in engine.manifest.families.items()
    if "lora" in claim.methods and family in table.families()
]
REAL = json.loads((Path(__file__).parents[1] / "data" / "loaders.json").read_text())
# The recorded networks that are files of these engines, by engine, family and algorithm.
WRITTEN = {
    **{("kohya", family, "lora"): f"lora-kohya-{family.replace('_', '-')}"
       for family in ("sd15", "sdxl", "sd3", "flux", "lumina2", "hunyuan_image", "anima")},
    **{("simpletuner", "flux", name): f"lora-lycoris-flux-{name}"
       for name in ("boft", "dora", "full", "glora", "ia3", "loha", "lokr", "oft")},
}  # fmt: skip


def said(engine: str, family: str, **network: object) -> list[Problem]:
    backend = registry.get(engine)
    plan = engine_plans.plan(family, **{f"network__{name}": value for name, value in network.items()})
    return list(loading.programs_load_the_result(Case(plan, Facts(engine_plans.machine()), backend)))


def by_hand(family: str, engine: str, algorithm: str) -> dict[str, bool]:
    """For each program whether it has a layer of every name, read from the recorded table in another way: name by name."""
    cell = registry.get(engine).manifest.families[family].cell("lora")
    names = cell.written
    assert names is not None
    prefix = names.own if algorithm == "lora" and cell.lora == "own" else names.others
    found = {COMFYUI: True, DIFFUSERS: True}
    for layer in foreseen.trained(family, names, algorithm):
        flat = layer.replace(".", "_") if prefix.endswith("_") else layer
        place = table.places(family).get(prefix + flat)
        found[COMFYUI] &= bool(place and place.in_comfyui)
        found[DIFFUSERS] &= bool(place and place.in_diffusers)
    return found


@pytest.mark.parametrize(("engine", "family"), CELLS)
def test_no_claimed_cell_is_silent_about_a_file_that_does_not_load_or_warns_of_one_that_does(engine, family):
    claim = registry.get(engine).manifest.families[family]
    assert claim.cell("lora").written is not None, "the names that the engine writes are not declared"
    for algorithm in claim.algorithms:
        network = engine_plans.plan(family, network__algorithm=algorithm, network__alpha=16.0).network
        finished = {each.program: each.loads for each in loading.answers(claim, network)}
        named = {
            word
            for each in said(engine, family, algorithm=algorithm, alpha=16.0)
            for word in finished
            if word in each.message.partition(". ")[0].partition(";")[0]
        }
        assert named == {program for program, loads in finished.items() if loads in ("no", "partly")}, algorithm
        # What has the names as written needs no renaming; a network that ComfyUI knows is loaded then.
        if by_hand(family, engine, algorithm)[COMFYUI] and ALGORITHMS[algorithm] in loaders.COMFYUI_ENDINGS:
            assert finished[COMFYUI] == "yes", algorithm


@pytest.mark.parametrize(("engine", "family"), CELLS)
def test_every_fix_leads_to_a_file_that_more_programs_load(engine, family):
    claim = registry.get(engine).manifest.families[family]
    for algorithm in claim.algorithms:
        for problem in said(engine, family, algorithm=algorithm):
            assert problem.severity == ("warning" if COMFYUI in problem.message.partition(" will")[0] else "info")
            assert ("easel lora convert` cannot change" in problem.message) == (problem.fix is None)
            if problem.fix is None or problem.fix.is_advice:
                continue
            changed = {path.partition(".")[2]: value for path, value in problem.fix.changes.items()}
            after = said(engine, family, **{"algorithm": algorithm, **changed})
            assert not after or after[0].message != problem.message


@pytest.mark.parametrize(("engine", "family", "algorithm"), WRITTEN)
def test_what_is_foreseen_is_what_the_real_programs_do_with_a_recorded_file(engine, family, algorithm):
    real = REAL.get(WRITTEN[engine, family, algorithm])
    claim = registry.get(engine).manifest.families[family]
    network = engine_plans.plan(family, network__algorithm=algorithm, network__alpha=16.0).network
    for answer in loading.answers(claim, network):
        if real is not None and answer.loads != "not known":
            # These are renamed in the finished file, so that the program finds all of its layers.
            renamed = (family, algorithm, answer.program) in (
                ("flux", "dora", DIFFUSERS),
                ("hunyuan_image", "lora", COMFYUI),
            )
            assert answer.loads == real[answer.program][0] or renamed


@pytest.mark.parametrize("name", [name for (engine, _, _), name in WRITTEN.items() if engine == "kohya"])
def test_declared_names_are_those_of_recorded_files(name):
    family = name.removeprefix("lora-kohya-").replace("-", "_")
    written = registry.get("kohya").manifest.families[family].cell("lora").written
    assert written is not None
    kinds = {
        re.sub(r"\d+", "#", written.own + layer.replace(".", "_"))
        for layer in foreseen.trained(family, written, "lora")
    }
    recorded = {re.sub(r"\d+", "#", key.partition(".")[0]) for key in recorded_roles.sized(name)}
    assert {each for each in recorded if each.startswith("lora_unet_")} <= kinds


def test_a_network_of_another_kind_is_renamed_so_that_comfyui_loads_it():
    """musubi-tuner's LoHa of Z-Image: its attention has names that ComfyUI does not have in this form."""
    names = registry.get("musubi").manifest.families["z_image"].cell("lora").written
    assert names is not None
    header = foreseen.written("z_image", names, names.others, "u", "loha", is_alpha_rank=True)
    assert [each.loads for each in loaders.judge(header, "z_image")] == ["partly", "no"]
    changed = conversion.improved(header, "z_image", 4.0)
    assert changed is not None
    assert sorted((piece.start, piece.size, piece.dtype, piece.shape) for piece in changed.pieces) == sorted(
        (info.start_bytes, info.size_bytes, info.dtype, info.shape) for info in header.tensors.values()
    )
    finished = conversion.as_header(header, changed.pieces, changed.outdated)
    assert [each.loads for each in loaders.judge(finished, "z_image")] == ["yes", "no"]
    assert "the same, bit by bit" in changed.sentences[0]


def test_alpha_is_proposed_where_only_it_is_in_the_way():
    (problem,) = said("simpletuner", "flux2", alpha=8.0, rank=16)
    assert (problem.severity, problem.fix and problem.fix.changes) == ("info", {"network.alpha": 16.0})
    assert not said("simpletuner", "flux2", alpha=16.0, rank=16)


CONVERTED = [
    ("kohya", "sd3", "lora-kohya-sd3", "diffusers"),
    ("kohya", "lumina2", "lora-kohya-lumina2", "diffusers"),
    ("kohya", "anima", "lora-kohya-anima", "diffusers"),
    ("simpletuner", "lumina2", "lora-peft-lumina2", "sd-scripts"),
]


@pytest.mark.parametrize(("engine", "family", "name", "naming"), CONVERTED)
def test_the_proposed_conversion_makes_a_file_that_the_program_loads(engine, family, name, naming, tmp_path):
    """One block of each kind of a recorded network, with its real widths and rank 1, is really converted."""
    (problem,) = said(engine, family, alpha=8.0, rank=16)
    assert problem.fix
    assert problem.fix.is_advice
    assert f"easel lora convert FILE --naming {naming}`" in problem.fix.label
    (missing,) = [program for program in loaders.PROGRAMS if program in problem.fix.label.partition("` makes")[2]]
    tensors = {
        key: np.ones([1 if side == at else size for at, size in enumerate(info.shape)], np.float16)
        for key, info in recorded_roles.sized(name).items()
        for side in [1 if key.endswith(("up.weight", "lora_B.weight")) else 0]
        if set(re.findall(r"(?<![a-z])\d+(?=[._])", key)) <= {"0", "1", "2"}
    }
    file = tmp_path / "trained.safetensors"
    save_file(tensors, file)
    settings = lora_convert.Settings(
        file=str(file), naming=naming, family=family, target=str(tmp_path / "made.safetensors")
    )
    made = headers.read(lora_convert.run(settings, lambda line: None))
    (answer,) = [each for each in loaders.judge(made, family) if each.program == missing]
    assert (answer.loads, answer.reason) == ("yes", "")
    assert answer.layers > 4


def test_what_no_conversion_changes_says_so():
    (problem,) = said("kohya", "hunyuan_image")
    assert (problem.fix, problem.severity) == (None, "info")
    assert problem.message.startswith("diffusers will not load the finished file; ComfyUI will.")
    assert problem.message.endswith("`easel lora convert` cannot change that.")
    assert forms.answers(headers.Header(Path("empty"), {}, {}, "safetensors"), "sd3", "diffusers") == ()


def test_names_that_no_program_has_are_warned_of_without_a_fix():
    (problem,) = said("simpletuner", "anima")
    assert problem.message.startswith("ComfyUI and diffusers will not load the finished file.")
    assert (problem.severity, problem.fix) == ("warning", None)


def test_an_engine_that_declares_no_names_is_not_spoken_about():
    backend = registry.get("musubi")
    claim = backend.manifest.families["z_image"]
    bare = dataclasses.replace(claim, methods={"lora": dataclasses.replace(claim.cell("lora"), written=None)})
    assert loading.answers(bare, engine_plans.plan("z_image").network) == ()


def test_nothing_is_said_of_a_family_or_naming_that_is_not_recorded():
    for family, naming in (("of-another-package", "original"), ("flux", "nobody's")):
        names = Written(naming=naming, layers="")
        assert not foreseen.answers(family, names, names.own, names.ends, "lora", is_alpha_rank=True)


def test_a_pattern_that_is_none_is_refused_when_the_engine_is_found():
    manifest = registry.get("musubi").manifest
    claim = manifest.families["krea2"]
    cell = dataclasses.replace(claim.cell("lora"), written=Written(naming="original", layers="blocks.(attn"))
    broken = dataclasses.replace(claim, methods={"lora": cell})
    with pytest.raises(BackendError, match=r"krea2\] written.* is no pattern"):
        dataclasses.replace(manifest, families={**manifest.families, "krea2": broken}).check()
