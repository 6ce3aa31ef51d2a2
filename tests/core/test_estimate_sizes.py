"""The estimate counts the model in its own header, and states a time only if it is known."""

import re
from dataclasses import replace

import pytest

from tests.support import engine_plans, recorded_headers
from tests.support.engine_plans import looked
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import registry
from trainer_core.engines.status import EngineStatus, Trial, Trials
from trainer_core.estimate import estimate, formatting, models
from trainer_core.estimate.result import parameters_text
from trainer_core.models import detection, header
from trainer_core.models.detection import ModelSize
from trainer_core.prepare.forecast import forecast

SIMPLETUNER = registry.get("simpletuner").manifest


def found_in(name, folder):
    return detection.detect(header.read(recorded_headers.write(name, folder)))


def of(found, family="sdxl", machine=engine_plans.CARD):
    facts = Facts(engine_plans.machine(machine) if machine else engine_plans.machine(), found)
    return estimate(engine_plans.plan(family, network__rank=4), facts, (), SIMPLETUNER)


@pytest.mark.parametrize(
    "name", ["sd15", "sdxl", "flux-dev", "sd3-medium", "chroma", "lumina2", "anima", "folder-flux-dev"]
)
def test_a_model_of_the_usual_size_is_not_scaled(tmp_path, name):
    found = found_in(name, tmp_path)
    model = models.find(found.family, found.variant)
    assert found.size.parameters == pytest.approx(model.parameters, rel=0.001)
    assert model.of_size(found.size, found.layout) is model


def test_a_tiny_model_is_counted_in_its_header(tmp_path):
    tiny, real = found_in("folder-sdxl-tiny", tmp_path), found_in("sdxl", tmp_path)
    small, large = of(tiny), of(real)
    assert "1.4 million parameters in the diffusion model, counted in its header." in small.basis
    assert "2.57 billion parameters in the diffusion model, counted in its header." in large.basis
    assert small.lora_mib < large.lora_mib / 20
    assert small.seconds[1] < large.seconds[1] / 2
    assert small.vram_gib[1] < large.vram_gib[1]


def test_the_size_of_a_lora_follows_the_layers_of_a_pruned_model(tmp_path):
    """Half of the blocks: half of the parameters and half of the layers."""
    found = found_in("sdxl", tmp_path)
    size = found.size
    half = replace(found, size=ModelSize(size.parameters // 2, size.layers // 2, size.sides // 2))
    assert of(half).lora_mib == pytest.approx(of(found).lora_mib / 2, rel=0.01)


def test_a_whole_checkpoint_of_a_tiny_model_is_as_large_as_its_header_says(tmp_path):
    """Its text encoders and its VAE are tiny, too: a checkpoint is not as large as those of the family."""
    found = found_in("folder-sdxl-tiny", tmp_path)
    planned = engine_plans.plan("sdxl", model__method="full")
    facts = Facts(engine_plans.machine(engine_plans.CARD), found)
    numbers = found.size.parameters + found.size.others
    assert 0 < numbers < 50e6
    full = estimate(planned, facts, (), SIMPLETUNER)
    assert full.lora_mib * 2**20 in (2 * numbers, 4 * numbers)


def test_packed_weights_and_a_lone_shard_are_not_counted(tmp_path):
    path = recorded_headers.write("sdxl", tmp_path)
    whole = header.read(path)
    packed = replace(
        whole, tensors={**whole.tensors, "x.weight": whole.tensors[next(iter(whole.tensors))]._replace(dtype="U8")}
    )
    assert detection.detect(packed).size is None
    found = detection.detect(whole)
    assert "counted in the real model classes" in of(replace(found, size=None)).basis[0]


def test_a_time_that_is_not_known_is_not_stated(tmp_path):
    found = of(found_in("sdxl", tmp_path), machine=None)
    assert found.seconds[1] > 3 * found.seconds[0]
    assert not found.is_time_known
    assert "time not known before the first steps" in formatting.numbers(found)
    assert "days" in formatting.numbers(replace(found, is_time_known=True))


def test_how_a_time_is_calculated_is_said_only_where_one_is_given(tmp_path):
    for machine in (None, engine_plans.CARD):
        found = of(found_in("sdxl", tmp_path), machine=machine)
        says = any(sentence.startswith("Time is calculated") for sentence in found.basis)
        assert says == found.is_time_known, found.basis


@pytest.mark.parametrize(("count", "text"), [(1600.2, "1,600 epochs"), (1, "1 epoch"), (2.5, "2.5 epochs")])
def test_epochs_are_shown_plainly(tmp_path, count, text):
    found = replace(of(found_in("sdxl", tmp_path)), epochs=count)
    assert formatting.numbers(found).startswith(f"About {text},")


def test_numbers_of_parameters_are_shown_plainly():
    assert parameters_text(99_600_000) == "100 million"


@pytest.mark.parametrize(
    ("family", "told", "seen", "says"),
    [
        ("auraflow", "pony-v7", "auraflow", ""),
        ("auraflow", "pony-v7", "", ""),
        ("z_image", "turbo", "", ""),
        ("flux2", "", "", "The variant is unknown, so the estimate is for dev, the largest of the family."),
        ("flux2", "new", "", "There is no data about the variant new, so the estimate is for dev, the largest of"),
    ],
)
def test_a_variant_that_the_plan_names_is_not_unknown(family, told, seen, says):
    facts = Facts(engine_plans.machine(engine_plans.CARD), detection.Detection(family, "checkpoint", seen))
    found = estimate(engine_plans.plan(family, model__variant=told), facts, (), SIMPLETUNER)
    said = [sentence for sentence in found.basis if " variant " in sentence]
    assert len(said) == bool(says)
    assert "".join(said).startswith(says)


@pytest.mark.parametrize(
    ("engine", "name", "is_warned"),
    [("kohya", "folder-sdxl-tiny", True), ("kohya", "sdxl", False), ("simpletuner", "folder-sdxl-tiny", False)],
)
def test_a_model_of_a_size_that_the_engine_does_not_build_is_said_before_the_start(tmp_path, engine, name, is_warned):
    draft = looked(
        Draft(
            Facts(engine_plans.machine(engine_plans.CARD), found_in(name, tmp_path)),
            {Source.USER: {"model.family": "sdxl", "model.path": str(tmp_path)}},
        )
    )
    seen = forecast(draft, registry.get(engine))
    said = [one.message for one in seen.problems() if one.path == "model.path"]
    assert [("builds only the usual one" in message) for message in said] == [True] * is_warned


@pytest.mark.parametrize(("works", "said_of"), [(False, 1), (True, 0)])
def test_the_memory_that_an_optimizer_needs_in_place_of_a_broken_one_is_said(tmp_path, works, said_of):
    tried = Trials(optimizers={"AdamW8bit": Trial(works=works, reason="its library is not there.", state_bytes=2.0)})
    facts = Facts(
        engine_plans.machine(engine_plans.CARD),
        found_in("sdxl", tmp_path),
        engines={"kohya": EngineStatus(True, "48d368f", tried)},
    )
    user = {"model.family": "sdxl", "model.path": str(tmp_path), "optimizer.name": "AdamW8bit", "network.rank": 16}
    seen = forecast(Draft(facts, {Source.USER: user}), registry.get("kohya"))
    said = [one.message for one in seen.problems() if one.path == "optimizer.name"]
    assert len(said) == said_of
    for message in said:
        more, after, before = (float(number) for number in re.findall(r"([\d.]+) MiB", message))
        assert "more GPU memory than with AdamW8bit" in message
        assert after == pytest.approx(before + more, abs=0.2)
        assert after == pytest.approx(4 * before, rel=0.05), "8 bytes of state for each parameter instead of about 2"
