"""The estimate as a whole: its values, its use of finished runs, and that it grows and shrinks with the settings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import engine_plans
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.engines.status import EngineStatus, Trial, Trials
from trainer_core.estimate import Estimate, Past, estimate, past_runs
from trainer_core.hardware import Accelerator
from trainer_core.models.detection import Detection
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run

GIB = 1024**3
CARD = Accelerator("cuda", "NVIDIA GeForce RTX 3090", 24 * GIB, 23 * GIB, "8.6")
KOHYA, SIMPLETUNER = (registry.get(name).manifest for name in ("kohya", "simpletuner"))
FAMILIES = sorted(family for family in KOHYA.families)


def plan(family: str = "sdxl", **values: Any) -> TrainingPlan:
    return engine_plans.plan(family, **values)


def facts(device: Accelerator = CARD, images: int = 0) -> Facts:
    machine = engine_plans.machine(device)
    listed = tuple(DatasetImage(f"{n}.png", 64, 64, "", None, Path(f"{n}.png")) for n in range(images))
    return Facts(machine, dataset=Dataset(Path("/images"), listed, (), ()) if images else None)


def of(family: str = "sdxl", engine=KOHYA, device: Accelerator = CARD, images: int = 0, **values: Any) -> Estimate:
    return estimate(plan(family, **values), facts(device, images), manifest=engine)


@pytest.mark.parametrize("engine", [KOHYA, SIMPLETUNER], ids=lambda manifest: manifest.id)
def test_every_method_and_algorithm_of_every_engine_is_estimated(engine):
    for family, claim in engine.families.items():
        for method in claim.methods:
            for algorithm in claim.algorithms if method == "lora" else ("lora",):
                found = of(family, engine, images=12, model__method=method, network__algorithm=algorithm)
                assert 0 < found.seconds[0] < found.seconds[1], (family, method, algorithm)
                assert 0 < found.vram_gib[0] < found.vram_gib[1]
                assert min(found.ram_gib, found.disk_gib) > 0
                assert found.lora_mib > (0 if method == "textual_inversion" else 0.1)
                assert all(sentence.endswith(".") for sentence in found.basis)


def test_the_estimate_as_json_data():
    data = of(images=20).as_dict()
    assert data.keys() == {field.name for field in dataclasses.fields(Estimate)}
    assert json.loads(json.dumps(data)) == data
    assert (type(data["seconds"]), len(data["vram_gib"])) == (list, 2)


@pytest.mark.parametrize(
    ("images", "repeats", "batch", "adds", "steps", "epochs"),
    [(20, 10, 2, 1, 1000, 10), (15, 1, 4, 2, 100, 50), (7, 1, 1, 1, 7, 1)],
)
def test_epochs_follow_from_images_repeats_batch_and_accumulation(images, repeats, batch, adds, steps, epochs):
    values = {"dataset__repeats": repeats, "schedule__batch_size": batch, "schedule__steps": steps}
    found = of(images=images, schedule__gradient_accumulation=adds, **values)
    assert (found.steps, found.epochs) == (steps, pytest.approx(epochs))
    assert of(**values).epochs is None, "epochs are unknown without images"


def test_an_unknown_family_is_not_guessed():
    found = estimate(TrainingPlan.model_validate({"model": {"family": "future\x1b[31m"}}), facts())
    assert found.vram_gib == (0, 0)
    assert "\x1b" not in found.basis[0]


def test_an_engine_that_only_simulates_a_training_has_no_estimate_of_time():
    found = of("sd15", registry.get("rehearsal").manifest)
    assert found.seconds == (0, 0)
    assert found.vram_gib[1] > 0
    assert any("only simulates a training" in sentence for sentence in found.basis)
    assert not any(sentence.startswith("Time ") for sentence in found.basis)


def test_system_ram_matches_real_runs_on_a_cpu():
    """Peaks of real runs without a GPU in GiB: docs/records/2026-11-20-sd-scripts-cpu.md, 2026-11-21-every-setting.md."""
    small = {"dataset__resolution": 64, "network__rank": 4, "memory__mixed_precision": "no"}
    plain = {**small, "memory__gradient_checkpointing": False}
    full = {**small, "model__method": "full", "optimizer__name": "Adafactor"}
    wide = {**small, "memory__mixed_precision": "bf16", "memory__cache_text_encoder": True}
    lokr = {**plain, "network__algorithm": "lokr", "network__factor": 8, "network__targets": "attention_mlp"}
    measured = {
        6.6: of("sd15", device=engine_plans.CPU, **plain),
        12.2: of("sd15", device=engine_plans.CPU, **plain, network__algorithm="locon", network__conv_rank=2),
        8.7: of("sd15", device=engine_plans.CPU, **lokr),
        10.6: of("sd15", device=engine_plans.CPU, **full),
        18.5: of("sdxl", device=engine_plans.CPU, **wide),
    }
    for peak_gib, found in measured.items():
        assert found.ram_gib == pytest.approx(peak_gib, rel=0.1)
        assert found.vram_gib == (0, 0)


def test_seconds_per_step_match_real_runs_on_a_cpu():
    """0.9 to 1.1 s a step of SD1.5, 9 s of SDXL, on two cores: docs/records/2026-11-20-sd-scripts-cpu.md."""
    from trainer_core.estimate import duration
    from trainer_core.estimate.job import Workload

    cpu = replace(facts(engine_plans.CPU), machine=replace(engine_plans.machine(engine_plans.CPU), cpus=2))
    small = {"dataset__resolution": 64, "network__rank": 4}
    sd15 = plan("sd15", **small, memory__mixed_precision="no", memory__gradient_checkpointing=False)
    sdxl = plan("sdxl", **small, memory__cache_text_encoder=True)
    for one, seconds in ((sd15, 1.0), (sdxl, 9.0)):
        low, high = duration.step_s(Workload.of(one, cpu, KOHYA))
        assert low <= seconds <= high


def test_the_file_size_matches_real_results():
    assert of("sd15", model__method="full").lora_mib == pytest.approx(2034, rel=0.01), "the recorded full finetuning"
    assert of("sd15", model__method="textual_inversion", embedding__vectors=2).lora_mib * 1024 == pytest.approx(
        3.5, rel=0.2
    )
    assert of("sdxl", network__rank=4).lora_mib == pytest.approx(21.6e6 / 2**20, rel=0.02)


def test_a_trained_weight_needs_memory_for_itself_its_gradient_and_optimizer_state():
    """Bytes per parameter of the U-Net: 4 + 4 + 8 in 32 bits; 2 + 2 + 4 in 16 bits, where moments have the dtype of the weights."""
    from trainer_core.estimate import memory
    from trainer_core.estimate.job import Workload

    def parameter_bytes(**values: Any) -> float:
        job = Workload.of(plan("sd15", model__method="full", **values), facts(), KOHYA)
        encoders = sum(job.encoder_bytes(name) for name in job.model.encoders)
        training = next(phase for phase in memory.phases(job) if phase.name == "training")
        return (training.permanent - encoders) / job.model.parameters

    assert parameter_bytes() == pytest.approx(16)
    assert parameter_bytes(memory__half_weights=True) == pytest.approx(8)
    assert parameter_bytes(optimizer__name="AdamW8bit", memory__half_weights=True) == pytest.approx(2 + 2 + 2.06)
    assert parameter_bytes(memory__gradient_checkpointing=False) == pytest.approx(16 + 2), (
        "autograd keeps the 16-bit copies"
    )


def test_a_trained_weight_needs_one_more_pass_than_a_frozen_one():
    """Forward pass, backward pass, the gradient of a trained weight, and a second forward pass with gradient checkpointing."""
    from trainer_core.estimate import duration
    from trainer_core.estimate.job import Workload

    def passes(**values: Any) -> float:
        job = Workload.of(plan("sdxl", memory__cache_text_encoder=True, **values), facts(), KOHYA)
        return duration.step_operations(job) / job.model.forward_operations(job.plan.dataset.resolution)

    off = {"memory__gradient_checkpointing": False}
    assert [passes(**off), passes(), passes(model__method="full", **off), passes(model__method="full")] == [
        2,
        3,
        3,
        4,
    ]
    assert passes(schedule__batch_size=2, schedule__gradient_accumulation=3) == 18


def test_optimizer_state_measured_on_this_machine_replaces_that_of_the_catalog():
    tried = EngineStatus(True, "1", Trials(optimizers={"Prodigy": Trial(works=True, state_bytes=4.4)}))
    asked = plan(network__rank=256, optimizer__name="Prodigy")
    measured = estimate(asked, replace(facts(), engines={"kohya": tried}), manifest=KOHYA)
    assert measured.vram_gib[1] < estimate(asked, facts(), manifest=KOHYA).vram_gib[1]


def test_a_text_encoder_in_8_bits_reduces_memory_for_encoding_captions():
    asked = plan("flux", memory__cache_text_encoder=True, memory__fp8_base=True, memory__blocks_to_swap=28)
    small = replace(
        facts(), parts={"t5xxl": Detection(None, "text_encoder", "t5xxl", dtype="F8_E4M3"), "vae": "cannot be read"}
    )
    assert estimate(asked, small, manifest=KOHYA).vram_gib[1] < estimate(asked, facts(), manifest=KOHYA).vram_gib[1]


# Settings that increase memory or time, and settings that reduce memory. Weights in 8 bits and activation offload reduce memory
# only with gradient checkpointing: without it, autograd keeps a 16-bit copy of every layer, which needs more.
GROWS = [
    ("schedule.batch_size", st.integers(1, 8)),
    ("dataset.resolution", st.sampled_from([256, 512, 768, 1024, 1536])),
    ("network.rank", st.integers(1, 128)),
    ("network.train_text_encoder", st.booleans()),
    ("sampling.every_steps", st.sampled_from([0, 100])),
]
SHRINKS = [
    ("memory.gradient_checkpointing", st.booleans()),
    ("memory.blocks_to_swap", st.integers(0, 40)),
    ("memory.fp8_base", st.booleans()),
    ("memory.offload_checkpointing", st.booleans()),
    ("memory.fused_backward", st.booleans()),
    ("memory.half_weights", st.booleans()),
]
PLANS = st.fixed_dictionaries({
    "family": st.sampled_from(FAMILIES),
    "engine": st.sampled_from([KOHYA, SIMPLETUNER]),
    "model.method": st.sampled_from(["lora", "full"]),
    "network.algorithm": st.sampled_from(["lora", "loha", "locon"]),
    "optimizer.name": st.sampled_from(["AdamW", "AdamW8bit", "Adafactor", "Prodigy"]),
    "memory.mixed_precision": st.sampled_from(["bf16", "no"]),
    **dict(GROWS),
    **{path: values for path, values in SHRINKS if path not in ("memory.fp8_base", "memory.offload_checkpointing")},
    "memory.cache_latents": st.booleans(),
    "network.train_text_encoder": st.booleans(),
})  # fmt: skip


def estimated(values: dict[str, Any]) -> Estimate:
    flat = {path.replace(".", "__"): value for path, value in values.items() if "." in path}
    return of(values["family"], values["engine"], **flat)


@pytest.mark.parametrize(("path", "values"), GROWS, ids=[path for path, _ in GROWS])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), base=PLANS)
def test_settings_that_increase_memory_never_reduce_it(path, values, data, base):
    small, large = sorted(data.draw(st.tuples(values, values)))
    low, high = (estimated({**base, path: value}).vram_gib for value in (small, large))
    assert low[0] <= high[0] + 1e-9
    assert low[1] <= high[1] + 1e-9


@pytest.mark.parametrize(("path", "values"), SHRINKS, ids=[path for path, _ in SHRINKS])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), base=PLANS)
def test_settings_that_reduce_memory_never_increase_it(path, values, data, base):
    if path in ("memory.fp8_base", "memory.offload_checkpointing"):
        base = {**base, "memory.gradient_checkpointing": True}
    off, on = sorted(data.draw(st.tuples(values, values)))
    before, after = (estimated({**base, path: value}).vram_gib for value in (off, on))
    assert after[0] <= before[0] + 1e-9
    assert after[1] <= before[1] + 1e-9


@settings(max_examples=30, deadline=None)
@given(base=PLANS)
def test_caching_never_needs_more_memory_than_encoding_in_every_step(base):
    """Caching happens before the model is in VRAM; it is the peak only if encoding needs more memory than training."""
    every = estimated({**base, "memory.cache_latents": False}).vram_gib
    once = estimated({**base, "memory.cache_latents": True}).vram_gib
    assert once[1] <= every[1] + 1e-9
    captions = {**base, "network.train_text_encoder": False}
    every = estimated({**captions, "memory.cache_text_encoder": False}).vram_gib
    assert estimated({**captions, "memory.cache_text_encoder": True}).vram_gib[1] <= every[1] + 1e-9


@pytest.mark.parametrize(("plain", "lighter"), [("AdamW", "AdamW8bit"), ("Lion", "Lion8bit"), ("AdamW", "Adafactor")])
def test_an_optimizer_with_less_state_never_needs_more_memory(plain, lighter):
    for family in FAMILIES:
        for method in ("lora", "full"):
            for half in (False, True):
                values = {"model__method": method, "memory__half_weights": half}
                assert (
                    of(family, optimizer__name=lighter, **values).vram_gib[1]
                    <= of(family, optimizer__name=plain, **values).vram_gib[1]
                )


@settings(max_examples=40, deadline=None)
@given(
    base=PLANS,
    steps=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    sides=st.tuples(st.sampled_from([64, 512, 1024]), st.sampled_from([512, 1024, 2048])),
    adds=st.tuples(st.integers(1, 8), st.integers(1, 8)),
)
def test_more_steps_larger_images_and_more_accumulation_never_take_less_time(base, steps, sides, adds):
    for path, pair in (
        ("schedule.steps", steps),
        ("dataset.resolution", sides),
        ("schedule.gradient_accumulation", adds),
    ):
        less, more = (estimated({**base, path: value}) for value in sorted(pair))
        assert less.seconds[0] <= more.seconds[0] + 1e-9
        assert less.seconds[1] <= more.seconds[1] + 1e-9
        assert less.disk_gib <= more.disk_gib or path != "schedule.steps"


def test_a_faster_gpu_takes_less_time_and_an_unknown_gpu_has_a_wider_range():
    old, new, odd = (
        Accelerator("cuda", name, 24 * GIB, 24 * GIB)
        for name in ("Tesla T4", "NVIDIA H100 80GB HBM3", "NVIDIA \x1b[31m")
    )
    assert of(device=new).seconds[1] < of(device=old).seconds[1]
    unknown = of(device=odd)
    assert any(sentence.startswith("The speed of") and "unknown" in sentence for sentence in unknown.basis)
    assert "\x1b" not in "".join(unknown.basis)
    assert unknown.seconds[1] / unknown.seconds[0] > of(device=old).seconds[1] / of(device=old).seconds[0]


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 2060 with Max-Q Design"])
def test_a_laptop_gpu_may_be_slower_than_the_desktop_gpu_of_the_same_name(name):
    desktop, laptop = (
        of(device=Accelerator("cuda", each, 16 * GIB, 16 * GIB)).seconds
        for each in (name.partition(" Lap")[0].partition(" with")[0], name)
    )
    assert laptop[0] == desktop[0]
    assert laptop[1] > 1.2 * desktop[1]


def past(
    name: str = "20261121-one", step_s: float = 2.0, gib: float = 9.0, ram_gib: float = 21.0, **values: Any
) -> Past:
    return Past(name, "kohya", plan(**values), engine_plans.machine(CARD), step_s, int(gib * GIB), int(ram_gib * GIB))


def test_a_finished_run_on_the_same_gpu_is_used_and_named():
    found = estimate(plan(), facts(), [past()], KOHYA)
    assert (*found.vram_gib, found.ram_gib) == pytest.approx((9 / 1.1, 9 * 1.1, 21))
    assert 1000 * 2 / 1.1 < found.seconds[0] < found.seconds[1] < 1000 * 2 * 1.1 + 300
    assert sum("20261121-one" in sentence for sentence in found.basis) == 2


def test_the_range_widens_with_the_difference_from_the_measured_plan():
    near, far = (estimate(plan(schedule__batch_size=size), facts(), [past()], KOHYA) for size in (2, 8))
    assert 9 < sum(near.vram_gib) / 2 < sum(far.vram_gib) / 2
    assert near.vram_gib[1] / near.vram_gib[0] < far.vram_gib[1] / far.vram_gib[0]
    both = [past(), past("20261121-two", gib=20.0, schedule__batch_size=8)]
    basis = estimate(plan(schedule__batch_size=8), facts(), both, KOHYA).basis
    assert any("20261121-two" in sentence for sentence in basis)


def test_runs_with_another_engine_gpu_family_method_or_model_are_not_used():
    others = [
        replace(past(), engine="simpletuner"),
        replace(past(), machine=engine_plans.machine(Accelerator("cuda", "another", 8 * GIB))),
        past(model__family="sd15"),
        past(model__method="full"),
        past(model__path="/models/other"),
        past(step_s=0.0, gib=0.0, ram_gib=0.0),
    ]
    for other in others:
        assert estimate(plan(), facts(), [other], KOHYA) == of()


def finished(folder: Path, name: str, **result: Any) -> Path:
    """A run folder as a finished run leaves it."""
    run = Run.prepare(plan("sd15"), registry.get("rehearsal"), None, machine=engine_plans.machine(CARD), folder=folder)
    done = {"state": "COMPLETED", "steps": 20, "peak_memory_bytes": 5 * GIB, "peak_gpu_memory_bytes": 4 * GIB, **result}
    run.folder.write("result.json", done)
    bar = {"kind": "progress", "step": 20, "total": 20, "seconds_per_step": 1.5}
    steps = ({"kind": "step", "step": number, "loss": 0.1} for number in range(2000))
    lines = [{**bar, "seconds_per_step": 9.0}, *steps, bar, {"kind": "state", "state": "COMPLETED"}]
    run.folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.folder.path.rename(folder / name)
    return folder / name


def test_finished_runs_are_read_from_their_folders_without_damaged_ones(tmp_path):
    finished(tmp_path, "1-good", summary={"sampling_seconds": 12.5})
    finished(tmp_path, "2-failed", state="FAILED")
    finished(tmp_path, "3-odd", steps="many", peak_gpu_memory_bytes=-5, peak_memory_bytes=True)
    finished(tmp_path, "4-short", steps=1)
    (finished(tmp_path, "5-no-machine") / "hardware.json").write_text("[]")
    no_plan = finished(tmp_path, "6-no-plan")
    for name in ("spec.json", "plan.toml"):
        (no_plan / name).write_text("{")
    other = finished(tmp_path, "7-other-plan") / "spec.json"
    spec = json.loads(other.read_text())
    spec["details"]["plan"] = {"model": {"unknown_setting": 1}}
    other.write_text(json.dumps(spec))
    found = {one.name: (one.step_s, one.vram_bytes, one.ram_bytes) for one in past_runs(tmp_path)}
    assert found == {"1-good": (1.5, 4 * GIB, 5 * GIB), "3-odd": (0.0, 0, 0), "4-short": (0.0, 4 * GIB, 5 * GIB)}
    assert {one.name: one.sampling_s for one in past_runs(tmp_path)}["1-good"] == 12.5
    assert past_runs(tmp_path / "nothing") == ()
