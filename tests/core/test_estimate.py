"""The estimate as a whole: what it says, what it learns from, and that it moves the way physics does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends import engine_plans
from trainer_core import registry
from trainer_core.datasets.scan import Dataset, Picture
from trainer_core.detection import Detection
from trainer_core.estimate import Estimate, Past, estimate, past_runs
from trainer_core.hardware import Accelerator
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.runs.run import Run

GIB = 1024**3
CARD = Accelerator("cuda", "NVIDIA GeForce RTX 3090", 24 * GIB, 23 * GIB, "8.6")
KOHYA, SIMPLETUNER = (registry.get(name).manifest for name in ("kohya", "simpletuner"))
FAMILIES = sorted(family for family in KOHYA.families)


def plan(family: str = "sdxl", **values: Any) -> TrainingPlan:
    return engine_plans.plan(family, **values)


def facts(device: Accelerator = CARD, images: int = 0, **probes: Any) -> Facts:
    machine = replace(engine_plans.machine(device), probes=probes)
    pictures = tuple(Picture(f"{n}.png", 64, 64, "", None, Path(f"{n}.png")) for n in range(images))
    return Facts(machine, dataset=Dataset(Path("/pictures"), pictures, (), ()) if images else None)


def of(family: str = "sdxl", engine=KOHYA, device: Accelerator = CARD, images: int = 0, **values: Any) -> Estimate:
    return estimate(plan(family, **values), facts(device, images), manifest=engine)


@pytest.mark.parametrize("engine", [KOHYA, SIMPLETUNER], ids=lambda manifest: manifest.id)
def test_every_cell_of_every_engine_is_estimated(engine):
    for family, claim in engine.families.items():
        for method in claim.methods:
            for algorithm in claim.algorithms if method == "lora" else ("lora",):
                found = of(family, engine, images=12, model__method=method, network__algorithm=algorithm)
                assert 0 < found.seconds[0] < found.seconds[1], (family, method, algorithm)
                assert 0 < found.vram_gib[0] < found.vram_gib[1]
                assert min(found.ram_gib, found.disk_gib) > 0
                assert found.lora_mib > (0 if method == "textual_inversion" else 0.1)
                assert all(sentence.endswith(".") for sentence in found.basis)


def test_the_estimate_is_json_data_as_agreed():
    data = of(images=20).as_dict()
    assert list(data) == ["steps", "epochs", "seconds", "vram_gib", "ram_gib", "disk_gib", "lora_mib", "basis"]
    assert json.loads(json.dumps(data)) == data
    assert isinstance(data["seconds"], list)
    assert len(data["vram_gib"]) == 2


@pytest.mark.parametrize(
    ("images", "repeats", "batch", "adds", "steps", "epochs"),
    [(20, 10, 2, 1, 1000, 10), (15, 1, 4, 2, 100, 50), (7, 1, 1, 1, 7, 1)],
)
def test_epochs_follow_from_pictures_repeats_batch_and_accumulation(images, repeats, batch, adds, steps, epochs):
    values = {"dataset__repeats": repeats, "schedule__batch_size": batch, "schedule__steps": steps}
    found = of(images=images, schedule__gradient_accumulation=adds, **values)
    assert (found.steps, found.epochs) == (steps, pytest.approx(epochs))
    assert of(**values).epochs is None, "without pictures nothing is said"


def test_an_unknown_family_is_said_and_not_guessed():
    found = estimate(TrainingPlan.model_validate({"model": {"family": "future\x1b[31m"}}), facts())
    assert found.vram_gib == (0, 0)
    assert "\x1b" not in found.basis[0]


def test_no_time_is_told_for_an_engine_that_only_plays_a_training():
    found = of("sd15", registry.get("rehearsal").manifest)
    assert found.seconds == (0, 0)
    assert found.vram_gib[1] > 0
    assert any("plays a training" in sentence for sentence in found.basis)
    assert not any(sentence.startswith("Time ") for sentence in found.basis)


def test_the_memory_of_real_runs_on_a_cpu_is_met():
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


def test_the_time_of_real_runs_on_a_cpu_is_met():
    """0.9 to 1.1 s a step of SD1.5, 9 s of SDXL, on two cores: docs/records/2026-11-20-sd-scripts-cpu.md."""
    from trainer_core.estimate import duration
    from trainer_core.estimate.job import Job

    cpu = replace(facts(engine_plans.CPU), machine=replace(engine_plans.machine(engine_plans.CPU), cpus=2))
    small = {"dataset__resolution": 64, "network__rank": 4}
    sd15 = plan("sd15", **small, memory__mixed_precision="no", memory__gradient_checkpointing=False)
    sdxl = plan("sdxl", **small, memory__cache_text_encoder=True)
    for one, seconds in ((sd15, 1.0), (sdxl, 9.0)):
        low, high = duration.step_s(Job.of(one, cpu, KOHYA))
        assert low <= seconds <= high


def test_the_result_is_as_large_as_real_ones():
    assert of("sd15", model__method="full").lora_mib == pytest.approx(2034, rel=0.01), (
        "the full finetuning of the record"
    )
    assert of("sd15", model__method="textual_inversion", embedding__vectors=2).lora_mib * 1024 == pytest.approx(
        3.5, rel=0.2
    )
    assert of("sdxl", network__rank=4).lora_mib == pytest.approx(21.6e6 / 2**20, rel=0.02)


def test_a_trained_weight_costs_its_bytes_its_gradient_and_the_optimizers():
    """Of each number in GiB of the U-Net: 4 + 4 + 8 in 32 bits, 2 + 2 + 4 in 16, where moments have the format of the weights."""
    from trainer_core.estimate import memory
    from trainer_core.estimate.job import Job

    def kept(**values: Any) -> float:
        job = Job.of(plan("sd15", model__method="full", **values), facts(), KOHYA)
        beside = sum(job.encoder_bytes(name) for name in job.model.encoders)
        training = next(phase for phase in memory.phases(job) if phase.name == "training")
        return (training.kept - beside) / job.model.parameters

    assert kept() == pytest.approx(16)
    assert kept(memory__half_weights=True) == pytest.approx(8)
    assert kept(optimizer__name="AdamW8bit", memory__half_weights=True) == pytest.approx(2 + 2 + 2.06)
    assert kept(memory__gradient_checkpointing=False) == pytest.approx(16 + 2), (
        "the copies that are computed with are kept"
    )


def test_a_trained_weight_is_passed_once_more_than_a_frozen_one():
    """Forward and back, the gradient of a trained weight, and forward again with checkpointing."""
    from trainer_core.estimate import duration
    from trainer_core.estimate.job import Job

    def passes(**values: Any) -> float:
        job = Job.of(plan("sdxl", memory__cache_text_encoder=True, **values), facts(), KOHYA)
        return duration.step_operations(job) / job.model.forward_operations(job.plan.dataset.resolution)

    kept = {"memory__gradient_checkpointing": False}
    assert [passes(**kept), passes(), passes(model__method="full", **kept), passes(model__method="full")] == [
        2,
        3,
        3,
        4,
    ]
    assert passes(schedule__batch_size=2, schedule__gradient_accumulation=3) == 18


def test_what_was_counted_on_this_machine_outranks_the_catalogue():
    tried = {"kohya": {"Prodigy": {"ok": True, "state_bytes_per_parameter": 4.4}}}
    asked = plan(network__rank=256, optimizer__name="Prodigy")
    ours = estimate(asked, facts(optimizers=tried), manifest=KOHYA)
    assert ours.vram_gib[1] < estimate(asked, facts(), manifest=KOHYA).vram_gib[1]


def test_a_text_encoder_in_eight_bits_takes_half_as_much_while_captions_are_encoded():
    asked = plan("flux", memory__cache_text_encoder=True, memory__fp8_base=True, memory__blocks_to_swap=28)
    small = replace(
        facts(), parts={"t5xxl": Detection(None, "text_encoder", "t5xxl", dtype="F8_E4M3"), "vae": "cannot be read"}
    )
    assert estimate(asked, small, manifest=KOHYA).vram_gib[1] < estimate(asked, facts(), manifest=KOHYA).vram_gib[1]


# What makes memory or time grow, and what makes it shrink. Weights in 8 bits, like checkpoints in the computer's memory, mean
# something with gradient checkpointing only: without it every layer's copy in 16 bits is kept, which takes more.
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
def test_what_asks_for_more_never_takes_less_memory(path, values, data, base):
    small, large = sorted(data.draw(st.tuples(values, values)))
    low, high = (estimated({**base, path: value}).vram_gib for value in (small, large))
    assert low[0] <= high[0] + 1e-9
    assert low[1] <= high[1] + 1e-9


@pytest.mark.parametrize(("path", "values"), SHRINKS, ids=[path for path, _ in SHRINKS])
@settings(max_examples=20, deadline=None)
@given(data=st.data(), base=PLANS)
def test_what_saves_memory_never_takes_more(path, values, data, base):
    if path in ("memory.fp8_base", "memory.offload_checkpointing"):
        base = {**base, "memory.gradient_checkpointing": True}
    off, on = sorted(data.draw(st.tuples(values, values)))
    before, after = (estimated({**base, path: value}).vram_gib for value in (off, on))
    assert after[0] <= before[0] + 1e-9
    assert after[1] <= before[1] + 1e-9


@settings(max_examples=30, deadline=None)
@given(base=PLANS)
def test_caching_never_takes_more_than_encoding_in_every_step(base):
    """A cache is made before the model is there; it can only be the most where what is encoded outweighs the model."""
    every = estimated({**base, "memory.cache_latents": False}).vram_gib
    once = estimated({**base, "memory.cache_latents": True}).vram_gib
    assert once[1] <= every[1] + 1e-9
    captions = {**base, "network.train_text_encoder": False}
    every = estimated({**captions, "memory.cache_text_encoder": False}).vram_gib
    assert estimated({**captions, "memory.cache_text_encoder": True}).vram_gib[1] <= every[1] + 1e-9


@pytest.mark.parametrize(("plain", "lighter"), [("AdamW", "AdamW8bit"), ("Lion", "Lion8bit"), ("AdamW", "Adafactor")])
def test_an_optimizer_that_keeps_less_never_takes_more(plain, lighter):
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
def test_more_steps_larger_pictures_and_more_batches_never_take_less_time(base, steps, sides, adds):
    for path, pair in (
        ("schedule.steps", steps),
        ("dataset.resolution", sides),
        ("schedule.gradient_accumulation", adds),
    ):
        less, more = (estimated({**base, path: value}) for value in sorted(pair))
        assert less.seconds[0] <= more.seconds[0] + 1e-9
        assert less.seconds[1] <= more.seconds[1] + 1e-9
        assert less.disk_gib <= more.disk_gib or path != "schedule.steps"


def test_a_faster_card_is_not_slower_and_an_unknown_one_is_said_to_be_unknown():
    old, new, odd = (
        Accelerator("cuda", name, 24 * GIB, 24 * GIB)
        for name in ("Tesla T4", "NVIDIA H100 80GB HBM3", "NVIDIA \x1b[31m")
    )
    assert of(device=new).seconds[1] < of(device=old).seconds[1]
    said = of(device=odd)
    assert any("in no table" in sentence for sentence in said.basis)
    assert "\x1b" not in "".join(said.basis)
    assert said.seconds[1] / said.seconds[0] > of(device=old).seconds[1] / of(device=old).seconds[0]


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 2060 with Max-Q Design"])
def test_a_card_of_a_laptop_may_be_slower_than_its_namesake(name):
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


def test_a_finished_run_on_the_same_card_is_believed_and_named():
    found = estimate(plan(), facts(), [past()], KOHYA)
    assert found.vram_gib == pytest.approx((9 / 1.1, 9 * 1.1))
    assert found.ram_gib == pytest.approx(21)
    assert 1000 * 2 / 1.1 < found.seconds[0] < found.seconds[1] < 1000 * 2 * 1.1 + 300
    assert sum("20261121-one" in sentence for sentence in found.basis) == 2


def test_the_further_a_plan_is_from_what_was_measured_the_wider_is_the_range():
    near, far = (estimate(plan(schedule__batch_size=size), facts(), [past()], KOHYA) for size in (2, 8))
    assert 9 < sum(near.vram_gib) / 2 < sum(far.vram_gib) / 2
    assert near.vram_gib[1] / near.vram_gib[0] < far.vram_gib[1] / far.vram_gib[0]
    both = [past(), past("20261121-two", gib=20.0, schedule__batch_size=8)]
    assert any(
        "20261121-two" in sentence for sentence in estimate(plan(schedule__batch_size=8), facts(), both, KOHYA).basis
    )


def test_runs_of_other_engines_cards_families_methods_and_models_are_not_taken():
    own = of()
    others = [
        replace(past(), engine="simpletuner"),
        replace(past(), machine=engine_plans.machine(Accelerator("cuda", "another", 8 * GIB))),
        past(model__family="sd15"),
        past(model__method="full"),
        past(model__path="/models/other"),
        past(step_s=0.0, gib=0.0, ram_gib=0.0),
    ]
    for other in others:
        assert estimate(plan(), facts(), [other], KOHYA) == own


def finished(folder: Path, name: str, **result: Any) -> Path:
    """A run folder as a runner leaves it."""
    run = Run.prepare(plan("sd15"), registry.get("rehearsal"), None, machine=engine_plans.machine(CARD), folder=folder)
    done = {"state": "COMPLETED", "steps": 20, "peak_memory_bytes": 5 * GIB, "peak_gpu_memory_bytes": 4 * GIB, **result}
    run.directory.write("result.json", done)
    bar = {"kind": "progress", "step": 20, "total": 20, "seconds_per_step": 1.5}
    steps = [{"kind": "step", "step": number, "loss": 0.1} for number in range(2000)]
    lines = [{**bar, "seconds_per_step": 9.0}, *steps, bar, {"kind": "state", "state": "COMPLETED"}]
    run.directory.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.directory.path.rename(folder / name)
    return folder / name


def test_finished_runs_are_read_from_their_folders_and_damaged_ones_left_out(tmp_path):
    finished(tmp_path, "1-good")
    finished(tmp_path, "2-failed", state="FAILED")
    finished(tmp_path, "3-odd", steps="many", peak_gpu_memory_bytes=-5, peak_memory_bytes=True)
    finished(tmp_path, "4-short", steps=1)
    (finished(tmp_path, "5-no-machine") / "hardware.json").write_text("[]")
    (finished(tmp_path, "6-no-plan") / "plan.toml").write_text("model = {")
    (finished(tmp_path, "7-other-plan") / "plan.toml").write_text("[model]\nunknown_setting = 1\n")
    found = {one.name: (one.step_s, one.vram_bytes, one.ram_bytes) for one in past_runs(tmp_path)}
    assert found == {"1-good": (1.5, 4 * GIB, 5 * GIB), "3-odd": (0.0, 0, 0), "4-short": (0.0, 4 * GIB, 5 * GIB)}
    assert past_runs(tmp_path / "nothing") == ()
