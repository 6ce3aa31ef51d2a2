"""Whether a plan fits, which programs use the memory, and the cheapest change that makes it fit."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import engine_plans
from trainer_core.draft import checks
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.estimate import Estimate, GpuProcess, against, estimate, find_gpu_processes, fit_advice
from trainer_core.estimate.fit_advice import changed
from trainer_core.estimate.gpu_processes import known_program, read_nvidia, read_rocm
from trainer_core.hardware import Accelerator
from trainer_core.models.detection import Detection
from trainer_core.models.library import Companions, Entry
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem, blocking

GIB = 1024**3
KOHYA, SIMPLETUNER = registry.get("kohya"), registry.get("simpletuner")
ADAFACTOR = {"optimizer__name": "Adafactor", "memory__cache_text_encoder": True, "dataset__resolution": 1024}


def card(free_gib: float, total_gib: float = 24) -> Accelerator:
    return Accelerator("cuda", "NVIDIA GeForce RTX 3090", int(total_gib * GIB), int(free_gib * GIB), "8.6")


def need(low: float, high: float, ram_gib: float = 10) -> Estimate:
    return Estimate(10, 1.0, (1, 2), (low, high), ram_gib, 1.0, 1.0, ())


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(5, 8, "yes"), (5, 8.01, "maybe"), (8, 12, "maybe"), (8.01, 12, "no")]
)
def test_free_vram_decides_and_not_total_vram(low, high, verdict):
    assert against(need(low, high), engine_plans.machine(card(8)), ()).fits == verdict


def test_programs_that_use_vram_are_named_with_advice():
    gpu_processes = (GpuProcess(12, "ComfyUI", 14 * GIB), GpuProcess(13, "Xorg", 40 << 20))
    fit = against(need(9, 11), engine_plans.machine(card(8)), gpu_processes)
    assert fit.held == (("ComfyUI", 14.0),)
    assert fit.sentence == (
        "It does not fit: it needs 9.0 to 11.0 GiB, and 8.0 of 24.0 GiB of VRAM are free. "
        "ComfyUI uses 14.0 GiB. Close it to make room."
    )
    assert "Close" not in against(need(30, 40), engine_plans.machine(card(8)), gpu_processes).sentence, (
        "closing it is not enough"
    )


def test_without_a_gpu_system_ram_decides():
    fits = [against(need(0, 0, ram_gib), engine_plans.machine(), ()).fits for ram_gib in (8, 12, 20)]
    assert fits == ["yes", "maybe", "no"]


def test_shortages_of_system_ram_and_disk_space_are_reported():
    roomy = engine_plans.machine(card(20))
    assert against(need(5, 6), roomy, ()).also == ()
    tight = replace(roomy, free_ram_bytes=4 * GIB, disk_bytes=GIB // 2)
    assert against(need(5, 6), tight, ()).fits == "yes", "the verdict is about VRAM only"
    assert against(need(5, 6), tight, ()).also == (
        "Loading needs at least 8 GiB of system RAM, but 4 GiB are free.",
        "The run folder needs about 1.0 GiB with all checkpoints and samples, but 0.5 GiB of the disk are free. Free some space, or save less often.",
    )


def test_the_fit_is_unknown_if_the_memory_of_the_device_is_unknown():
    unknown = Accelerator("mps", "Apple silicon")
    assert against(need(9, 11), engine_plans.machine(unknown), ()).fits == "maybe"
    assert against(need(0, 0), engine_plans.machine(card(8)), ()).fits == "maybe"


def test_any_answer_of_nvidia_smi_is_read():
    lines = [
        "4000000001, 6100, /usr/bin/python3",
        "4000000002, [N/A], C:\\Program Files\\game, the second.exe",
        "4000000003, 100, evil\x1b[31m\u202e name",
        "not a pid, 100, x",
        "-1, 100, x",
        "5",
        "",
        "4000000004, 99999999999999999999999, x",
        "9" * 5000 + ", 1, x",
    ]
    found = read_nvidia("\n".join(lines))
    assert [(one.name, one.bytes) for one in found[:2]] == [("python3", 6100 << 20), ("game, the second.exe", 0)]
    assert "\x1b" not in found[2].name
    assert "\u202e" not in found[2].name
    assert (len(found), found[3].bytes) == (4, 0)


def test_any_answer_of_rocm_smi_is_read():
    system = {
        "PID4000000001": "python3, 1, 2147483648, 0, unknown",
        "PIDx": "a, 1, 2",
        "PID7": 5,
        "PID8": "short",
        "Driver version": "6",
    }
    assert read_rocm(json.dumps({"system": system})) == [GpuProcess(4000000001, "python3", 2 * GIB)]
    for text in ("", "[]", "{", '{"system": []}', "[" * 100_000, '{"system": {"PID1": null}}'):
        assert read_rocm(text) == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_no_answer_of_a_driver_causes_an_error(text):
    for read in (read_nvidia, read_rocm):
        for process in read(text):
            assert process.name.isprintable()
            assert process.bytes >= 0


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "main.py", "/home/me/ComfyUI"], "ComfyUI"),
        (["python", "/srv/stable-diffusion-webui-forge/launch.py"], "Forge"),
        (["python", "launch.py", "--listen", "/srv/stable-diffusion-webui"], "Stable Diffusion web UI"),
        (["ollama_llama_server"], "Ollama"),
        (["python", "own.py"], ""),
    ],
)
def test_programs_are_recognised_by_their_command_line(words, name):
    assert known_program(words) == name


@pytest.mark.skipif(os.name != "posix", reason="a script replaces the driver's program")
def test_a_real_process_is_found_with_the_drivers_program(tmp_path, monkeypatch):
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=folder) as process:
        driver = tmp_path / "nvidia-smi"
        driver.write_text(f'#!/bin/sh\necho "{process.pid}, 6144, {sys.executable}"\n')
        driver.chmod(driver.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert find_gpu_processes() == (GpuProcess(process.pid, "ComfyUI", 6 * GIB),)
        process.kill()


@pytest.mark.skipif(os.name != "posix", reason="a script replaces the driver's program")
def test_an_answer_of_a_driver_is_reused_for_some_seconds(tmp_path, monkeypatch):
    asked, driver = tmp_path / "asked", tmp_path / "nvidia-smi"
    driver.write_text(f'#!/bin/sh\necho x >> "{asked}"\necho "4000000001, 100, python"\n')
    driver.chmod(driver.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_gpu_processes() == find_gpu_processes() == (GpuProcess(4000000001, "python", 100 << 20),)
    assert asked.read_text().count("x") == 1
    later = time.monotonic() + 3600
    monkeypatch.setattr("trainer_core.estimate.gpu_processes.time.monotonic", lambda: later)
    find_gpu_processes()
    assert asked.read_text().count("x") == 2, "after some seconds the driver is asked again"


@pytest.mark.skipif(os.name != "posix", reason="a script replaces the driver's program")
@pytest.mark.parametrize("answer", ["exit 9", "sleep 60", "head -c 5000000 /dev/urandom"])
def test_a_driver_program_that_fails_hangs_or_prints_garbage_is_ignored_in_time(answer, tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n{answer.replace('sleep', 'exec sleep')}\n")
    driver.chmod(driver.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("trainer_core.estimate.gpu_processes.TIMEOUT_S", 0.5)
    begun = time.monotonic()
    assert all(process.name.isprintable() for process in find_gpu_processes())
    assert time.monotonic() - begun < 50


def job(family: str, free_gib: float, backend=KOHYA, variant: str = "", **values: Any):
    """(plan, facts, a function that returns the Problems of a plan)."""
    machine = engine_plans.machine(card(free_gib))
    # The detection avoids Problems of the plan itself: the tests are about Problems that a change adds.
    found = Detection(
        family,
        "diffusion_model",
        variant,
        prediction=registry.get("kohya").manifest.families[family].predictions[0],
    )
    facts = Facts(machine, found)

    def problems(plan: TrainingPlan) -> list[Problem]:
        return [*checks.check(checks.Case(plan, facts, backend)), *backend.problems(plan, machine, NOT_KNOWN)]

    return engine_plans.plan(family, **values), facts, problems


def fixed(family: str, free_gib: float, backend=KOHYA, **values: Any):
    """(plan, facts, a function that returns the Problems of a plan, the proposed Fix)."""
    plan, facts, problems = job(family, free_gib, backend, **values)
    return plan, facts, problems, fit_advice(plan, facts, problems, manifest=backend.manifest)


def test_nothing_is_proposed_for_a_plan_that_fits():
    assert fixed("sdxl", 23)[3] is None


def test_nothing_is_proposed_if_nothing_helps():
    assert fixed("flux", 2)[3] is None


@pytest.mark.parametrize(
    ("family", "free_gib", "values", "path"),
    [
        ("sdxl", 9, {"memory__gradient_checkpointing": False}, "memory.gradient_checkpointing"),
        ("sdxl", 14, {"schedule__batch_size": 8, "dataset__resolution": 1024}, "schedule.batch_size"),
        ("flux", 19, {"memory__cache_text_encoder": True, "dataset__resolution": 1024}, "memory.fp8_base"),
        ("flux", 22, {"dataset__resolution": 512, "memory__fp8_base": True}, "memory.cache_text_encoder"),
        ("sdxl", 10, {"model__method": "full", "memory__half_weights": True, **ADAFACTOR}, "memory.fused_backward"),
        ("sd15", 10.5, {"model__method": "full"}, "optimizer.name"),
    ],
)
def test_the_cheapest_single_change_is_proposed(family, free_gib, values, path):
    plan, facts, _, fix = fixed(family, free_gib, **values)
    assert fix is not None
    assert path in fix.changes
    assert set(fix.changes) <= {path, "schedule.gradient_accumulation"}, "one change is enough"
    result = changed(plan, fix.changes)
    assert against(estimate(result, facts, manifest=KOHYA.manifest), facts.machine, ()).fits == "yes"
    assert result.network.rank == plan.network.rank
    assert result.dataset.resolution == plan.dataset.resolution


def test_the_smallest_sufficient_reduction_of_the_batch_is_proposed():
    at = {"dataset__resolution": 1024, "schedule__batch_size": 8}
    wide = fixed("sdxl", 14, **at)[3].changes
    tight = fixed("sdxl", 8.5, **at)[3].changes
    assert 1 < wide["schedule.batch_size"] < 8
    assert tight["schedule.batch_size"] < wide["schedule.batch_size"]


@pytest.mark.parametrize("backend", [KOHYA, SIMPLETUNER], ids=lambda backend: backend.manifest.id)
@pytest.mark.parametrize("free_gib", [6, 12, 18])
def test_every_proposal_fits_keeps_the_effective_batch_and_adds_no_problem(backend, free_gib):
    for family in ("sdxl", "flux", "sd3", "lumina2"):
        for method in ("lora", "full"):
            values = {"schedule__batch_size": 4, "memory__gradient_checkpointing": False, "dataset__resolution": 1024}
            plan, facts, problems, fix = fixed(
                family, free_gib, backend, model__method=method, variant="3.5-large", **values
            )
            if fix is None or not fix.changes or fix.task is not None:
                continue
            result = changed(plan, fix.changes)
            TrainingPlan.model_validate(result.model_dump())
            before, after = ({(each.path, each.message) for each in blocking(problems(one))} for one in (plan, result))
            assert after <= before
            assert result.schedule.batch_size * result.schedule.gradient_accumulation == 4
            was, fit = (
                against(estimate(one, facts, manifest=backend.manifest), facts.machine, ()).fits
                for one in (plan, result)
            )
            assert (was, fit) in {("no", "yes"), ("maybe", "yes"), ("no", "maybe")}
            assert fix.label.startswith("Make it fit" if fit == "yes" else "Make it likely to fit")
            assert "GiB instead of" in fix.label


def test_no_unnecessary_change_is_proposed():
    for free_gib in (6, 7, 8, 10, 12):
        plan, facts, problems, fix = fixed("flux", free_gib, dataset__resolution=1024, schedule__batch_size=2)
        if fix is None or not fix.label.startswith("Make it fit"):
            continue
        for path in fix.changes:
            fewer = {key: value for key, value in fix.changes.items() if key != path}
            if path.startswith("schedule."):
                fewer = {key: value for key, value in fewer.items() if not key.startswith("schedule.")}
            found = estimate(changed(plan, fewer), facts, manifest=KOHYA.manifest)
            worse = against(found, facts.machine, ()).fits != "yes"
            assert worse or blocking(problems(changed(plan, fewer))), f"{path} is not needed at {free_gib} GiB"


CAPTIONS = {"memory__cache_text_encoder": True, "dataset__resolution": 1024}


def t5(file: Path, dtype: str) -> Entry:
    return Entry(file, 1, 0.0, Detection(None, "text_encoder", "t5xxl", dtype=dtype), file=file)


def test_a_text_encoder_stays_in_8_bits_only_if_the_base_model_is_in_8_bits():
    """Source: load_target_model of sd-scripts. SimpleTuner casts each text encoder when it loads it."""
    plan, facts, _ = job("flux", 24, **CAPTIONS)
    small = replace(facts, parts={"t5xxl": t5(Path("t5.safetensors"), "F8_E4M3").found})
    swapped = {"memory.blocks_to_swap": 34}

    def at_most(facts: Facts, backend=KOHYA, **changes: Any) -> float:
        return estimate(changed(plan, swapped | changes), facts, manifest=backend.manifest).vram_gib[1]

    assert at_most(small) == at_most(facts)
    assert at_most(small, **{"memory.fp8_base": True}) < at_most(facts, **{"memory.fp8_base": True}) - 3
    assert at_most(small, SIMPLETUNER) == at_most(facts, SIMPLETUNER)
    full = {"model.method": "full", "memory.fp8_base": True}
    assert at_most(small, **full) == at_most(facts, **full)


def test_a_text_encoder_in_8_bits_from_the_library_replaces_a_larger_one(tmp_path):
    plan, facts, problems = job("flux", 9, **CAPTIONS)
    large, small = (t5(tmp_path / f"{dtype}.safetensors", dtype) for dtype in ("F16", "F8_E4M3"))
    for each in (large, small):
        each.path.touch()
    plan = changed(plan, {"model.t5xxl": str(large.file)})
    facts = replace(facts, parts={"t5xxl": large.found}, companions=Companions(candidates={"t5xxl": (small, large)}))
    fix = fit_advice(plan, facts, problems, manifest=KOHYA.manifest)
    assert fix is not None
    assert fix.label.startswith("Make it fit with")
    assert (fix.changes["model.t5xxl"], fix.changes["memory.fp8_base"]) == (str(small.file), True)
    facts_after = replace(facts, parts={"t5xxl": small.found})
    found = estimate(changed(plan, fix.changes), facts_after, manifest=KOHYA.manifest)
    assert against(found, facts.machine, ()).fits == "yes"


def test_the_fix_downloads_a_text_encoder_and_makes_the_changes_that_are_needed_then():
    plan, facts, problems, fix = fixed("flux", 9, **CAPTIONS)
    assert fix is not None
    assert fix.task is not None
    link = "hf:comfyanonymous/flux_text_encoders/t5xxl_fp8_e4m3fn.safetensors"
    assert (fix.task.command, fix.task.setting) == (f"easel models download {link}", "model.t5xxl")
    assert "(t5xxl_fp8_e4m3fn.safetensors): with it and the base model in 8 bits and swapped blocks" in fix.label
    downloaded = replace(facts, parts={"t5xxl": t5(Path("t5.safetensors"), "F8_E4M3").found})
    rest = fit_advice(plan, downloaded, problems, manifest=KOHYA.manifest)
    assert rest is not None
    assert rest.label.startswith("Make it fit with the base model in 8 bits and swapped blocks")
    assert rest.changes == fix.changes


def test_captions_are_encoded_on_the_cpu_or_in_8_bits_if_the_engine_supports_it():
    fix = fixed("hunyuan_image", 12, dataset__resolution=1024, native={"kohya": {"lowram": True}})[3]
    assert fix.changes["native"] == {"kohya": {"lowram": True, "text_encoder_cpu": True}}
    assert fix.assignments["native.kohya.text_encoder_cpu"] is True
    assert "native" not in fix.assignments
    fix = fixed("sd3", 11.5, SIMPLETUNER, variant="3.5-medium", **CAPTIONS)[3]
    assert fix.changes == {"native": {"simpletuner": {"text_encoder_3_precision": "fp8-sdnq", "quantize_via": "cpu"}}}


def test_no_cache_is_proposed_for_captions_that_change_in_every_step():
    fix = fixed("sdxl", 6.4, dataset__shuffle_captions=True, dataset__resolution=1024)[3]
    assert fix is None or "memory.cache_text_encoder" not in fix.changes
    assert "memory.cache_text_encoder" in fixed("sdxl", 8.2, dataset__resolution=1024)[3].changes


def test_unsupported_settings_are_not_proposed():
    for free_gib in (4, 8, 12):
        fix = fixed("anima", free_gib, dataset__resolution=1024, schedule__batch_size=4)[3]
        assert fix is None or "memory.fp8_base" not in fix.changes, "sd-scripts has no fp8 for Anima"
        fix = fixed("sdxl", free_gib, SIMPLETUNER, dataset__resolution=1024, schedule__batch_size=4)[3]
        assert fix is None or "memory.blocks_to_swap" not in fix.changes


def test_a_change_that_causes_a_problem_is_not_proposed():
    plan, facts, problems = job("sdxl", 9, memory__gradient_checkpointing=False)

    def refusing(asked: TrainingPlan) -> list[Problem]:
        on = asked.memory.gradient_checkpointing
        return [
            *problems(asked),
            *([Problem("memory.gradient_checkpointing", "error", "Not supported.")] if on else []),
        ]

    fix = fit_advice(plan, facts, refusing, manifest=KOHYA.manifest)
    assert fix is None or "memory.gradient_checkpointing" not in fix.changes


def test_the_search_is_fast():
    begun = time.process_time()
    fixed("flux", 6, dataset__resolution=1024, schedule__batch_size=8)
    assert time.process_time() - begun < 5


def test_changes_are_proposed_on_machines_without_a_gpu():
    plan, facts, _ = job("sd15", 8)
    cpu = replace(facts, machine=replace(engine_plans.machine(), free_ram_bytes=9 * GIB))
    values = {"network.algorithm": "locon", "memory.mixed_precision": "no", "memory.gradient_checkpointing": False}
    fix = fit_advice(changed(plan, values), cpu, None, manifest=KOHYA.manifest)
    assert fix is not None
    assert "memory.gradient_checkpointing" in fix.changes


def test_no_plan_is_checked_twice_in_a_search():
    """A notebook repeats the search after every change, so the two parts of a search share their results."""
    plan, facts, problems = job("flux", 11, schedule__batch_size=12, memory__gradient_checkpointing=False)
    checked: list[str] = []

    def counted(other: TrainingPlan) -> list[Problem]:
        checked.append(other.model_dump_json())
        return problems(other)

    assert fit_advice(plan, facts, counted, manifest=KOHYA.manifest)
    assert len(checked) > 10
    assert len(checked) == len(set(checked))
