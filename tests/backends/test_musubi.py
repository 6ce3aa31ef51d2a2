"""musubi-tuner: three commands as one job, files that its parsers know, and what it ignores or stops at is said before."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from backends.musubi import backend, problems, render
from backends.musubi.inside import loop
from tests.support import engine_plans, golden
from tests.support.musubi_plans import CELLS, EDITS, VARIANTS, full_plan, place
from trainer_core.engines.inside import resume
from trainer_core.engines.seam import ResumePoint
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.events import Epoch, Notice, Phase, Progress
from trainer_core.problems import blocking

OWNED = set(backend.manifest.options.owned)
LOGS = Path(__file__).parent.parent / "data" / "logs" / "musubi"


def configuration(plan, where=None) -> dict:
    tables = tomllib.loads(backend.render(plan, where or place()).files[render.CONFIG])
    return {name: value for table in tables.values() for name, value in table.items()}


def datasets(plan) -> list[dict]:
    return tomllib.loads(backend.render(plan, place()).files[render.DATASET])["datasets"]


def said(plan, *accelerators) -> dict[str, str]:
    every = backend.problems(plan, engine_plans.machine(*(accelerators or (engine_plans.CARD,))), NOT_KNOWN)
    return {problem.path: problem.severity for problem in every}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("family", "method"), CELLS)
def test_every_rendered_key_is_known_and_well_typed(family, method, variant):
    plan = full_plan(family, method, **VARIANTS[variant])
    assert (
        problems.unknown_keys(backend.render(plan, place()).files, problems.program_options(plan, backend.manifest))
        == []
    )


def test_a_key_that_no_parser_knows_is_found():
    """The engine itself ends with 0 and ignores it."""
    plan = full_plan("qwen_image")
    files = dict(backend.render(plan, place()).files)
    files[render.CONFIG] = files[render.CONFIG].replace("network_dim", "network_dimension")
    files[render.DATASET] = files[render.DATASET].replace("num_repeats = 1", 'num_repeats = "1"')
    found = problems.unknown_keys(files, problems.program_options(plan, backend.manifest))
    assert [sentence.split()[0] for sentence in found] == ["qwen_image_train_network.py", "num_repeats"]


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_rendered_files_are_as_recorded(family, method):
    """One readable file a cell, in plans that between them set most of what it has."""
    plans = {**VARIANTS, "pairs": EDITS[family]} if family in EDITS else VARIANTS
    jobs = {name: backend.render(full_plan(family, method, **values), place()) for name, values in plans.items()}
    golden.check(f"musubi/{family}_{method}.txt", jobs)


@pytest.mark.parametrize(("family", "method"), CELLS)
def test_a_usual_plan_can_be_trained_on_a_gpu_and_all_its_keys_are_owned(family, method):
    assert not blocking(backend.problems(full_plan(family, method), engine_plans.machine(engine_plans.CARD), NOT_KNOWN))
    free = {"optimizer_args", "network_args", "timestep_sampling", "weighting_scheme", "max_data_loader_n_workers"}
    for values in VARIANTS.values():
        assert set(configuration(full_plan(family, method, **{**values, "native": {}}))) - free <= OWNED


def test_a_job_encodes_images_then_captions_then_trains_without_a_shell():
    job = backend.render(full_plan("qwen_image"), place())
    assert [step.name for step in job.steps] == ["encode images", "encode captions", "train"]
    assert [Path(step.argv[1]).name for step in job.steps] == [
        "qwen_image_cache_latents.py",
        "qwen_image_cache_text_encoder_outputs.py",
        "qwen_image_train_network.py",
    ]
    assert {step.argv[0] for step in job.steps} == {str(place().python)}
    assert all(step.environment["PYTHONPATH"].endswith("/source/src") for step in job.steps)


def test_the_text_encoder_is_kept_in_8_bits_where_captions_are_encoded_too():
    job = backend.render(full_plan("qwen_image", native={"musubi": {"fp8_vl": True}}), place())
    assert "--fp8_vl" in job.steps[1].argv
    assert configuration(full_plan("z_image", native={"musubi": {"fp8_llm": True}}))["fp8_llm"] is True


def test_each_folder_has_a_cache_of_its_own_in_the_run():
    """The engine trains what lies in the cache, so no cache may be that of another run or folder."""
    first, second = datasets(full_plan("qwen_image", dataset__subsets=({"path": "/more", "repeats": 3},)))
    assert {first["cache_directory"], second["cache_directory"]} == {
        str(place().run / "cache" / "dataset"),
        str(place().run / "cache" / Path(second["image_directory"]).name),
    }
    assert (first["num_repeats"], second["num_repeats"]) == (1, 3)


def test_a_model_in_8_bits_always_has_scales():
    found = configuration(full_plan("krea2", memory__fp8_base=True, memory__blocks_to_swap=20))
    assert (found["fp8_base"], found["fp8_scaled"], found["blocks_to_swap"], found["sdpa"]) == (True, True, 20, True)


def test_offline_reaches_every_command():
    job = backend.render(full_plan("z_image"), place(options={"offline": True}))
    assert all(step.environment["HF_HUB_OFFLINE"] == "1" for step in job.steps)


def test_a_run_that_continues_is_started_by_the_program_that_counts_right():
    state = place().output / "portrait-step00000040-state"
    job = backend.render(full_plan("qwen_image"), place(resume=ResumePoint(state, 40, 0)))
    argv = job.steps[-1].argv
    assert argv[1].endswith("trainer_core/engines/inside/resume.py")
    assert argv[3].endswith("backends/musubi/inside/loop.py")
    assert argv[6:10] == ("--step", "40", "--schedule-from", "0")
    assert configuration(full_plan("qwen_image"), place(resume=ResumePoint(state, 40, 0)))["resume"] == str(state)


def test_a_run_that_continues_does_not_load_the_text_encoder_for_captions_that_are_encoded(tmp_path):
    state = place().output / "portrait-step00000040-state"
    command = backend.render(full_plan("qwen_image"), place(resume=ResumePoint(state, 40, 0))).steps[1].argv
    program = command.index("--")
    assert command[2:program] == ("--images", str(place().dataset), ".txt", str(place().run / "cache" / "dataset"))
    assert command[program + 1 :] == backend.render(full_plan("qwen_image"), place()).steps[1].argv[1:]
    (tmp_path / "images").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "program.py").write_text("import sys; print('encodes', sys.argv[1:])")
    for name in ("1-a [b]", "2-c"):
        (tmp_path / "images" / f"{name}.txt").touch()
    (tmp_path / "cache" / "1-a [b]_qi_te.safetensors").touch()
    there = (
        "--images",
        str(tmp_path / "images"),
        ".txt",
        str(tmp_path / "cache"),
        "--",
        str(tmp_path / "program.py"),
        "x",
    )

    def says() -> str:
        return subprocess.run([sys.executable, command[1], *there], capture_output=True, text=True, check=True).stdout

    assert says() == "encodes ['x']\n"
    (tmp_path / "cache" / "2-c_qi_te.safetensors").touch()
    assert says() == "All captions are encoded already.\n"


def test_each_passage_that_is_replaced_has_to_be_there_once(tmp_path):
    file, resumed = tmp_path / "trainer_base.py", resume.Resumed(40, 0)
    file.write_text(text := "".join(f"{passage}\n" for passage in loop.PASSAGES))
    assert f"{resume.NAME}.rest(" in loop.patched(file, resumed)
    file.write_text(text + "enumerate(train_dataloader)")
    with pytest.raises(SystemExit, match=r"musubi-tuner.*trainer_base\.py 2 times.*Nothing was trained"):
        loop.patched(file, resumed)


@pytest.mark.parametrize(
    ("values", "path", "severity"),
    [
        ({"memory__mixed_precision": "no"}, "memory.mixed_precision", "error"),
        ({"memory__mixed_precision": "fp16"}, "memory.mixed_precision", "error"),
        ({"memory__fp8_base": True, "network__algorithm": "loha"}, "memory.fp8_base", "error"),
        (
            {"memory__offload_checkpointing": True, "memory__gradient_checkpointing": False},
            "memory.offload_checkpointing",
            "error",
        ),
        ({"memory__half_weights": True}, "memory.half_weights", "warning"),
        ({"network__train_text_encoder": True}, "network.train_text_encoder", "error"),
        ({"network__algorithm": "lokr", "network__decompose_both": True}, "network.decompose_both", "warning"),
        ({"dataset__flip": True}, "dataset.flip", "warning"),
        ({"dataset__bucketing": False, "dataset__resolution": 520}, "dataset.resolution", "error"),
        ({"schedule__scheduler": "constant", "schedule__warmup_steps": 5}, "schedule.warmup_steps", "error"),
        ({"native": {"musubi": {"network_args": ["split_qkv=True"]}}}, "native.musubi.network_args", "error"),
        ({"native": {"musubi": {"network_args": ["exclude_patterns=x=y"]}}}, "native.musubi.network_args", "error"),
        ({"native": {"musubi": {"network_args": ["rank_dropout=0.1"]}}}, "native.musubi.network_args", "error"),
        ({"native": {"musubi": {"compile_mode": "default"}}}, "native.musubi.compile_mode", "error"),
        ({"native": {"musubi": {"min_timestep": 900, "max_timestep": 100}}}, "native.musubi.min_timestep", "error"),
        ({"native": {"musubi": {"this_key_does_not_exist": 5}}}, "native.musubi.this_key_does_not_exist", "error"),
        ({"native": {"musubi": {"turbo_dit": "/turbo.safetensors"}}}, "native.musubi.turbo_dit", "error"),
        (
            {"schedule__flow_shift": 3.0, "native": {"musubi": {"timestep_sampling": "sigma"}}},
            "native.musubi.timestep_sampling",
            "error",
        ),
    ],
)
def test_what_it_stops_at_or_ignores_is_a_problem(values, path, severity):
    assert path not in said(full_plan("qwen_image"))
    assert said(full_plan("qwen_image", **values)).get(path) == severity


def test_the_names_of_an_added_network_that_the_engine_skips_without_a_word_are_told():
    plan = engine_plans.plan("z_image", native={"musubi": {"base_weights": ["/adapters/v2.safetensors"]}})
    (told,) = (each for each in engine_plans.problems(backend, plan) if each.path == "native.musubi.base_weights")
    assert told.severity == "info"
    assert "easel lora convert FILE --naming sd-scripts --family z_image" in told.message


def test_swapping_without_a_gpu_has_no_effect():
    assert (
        said(full_plan("qwen_image", memory__blocks_to_swap=5), engine_plans.CPU)["memory.blocks_to_swap"] == "warning"
    )


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("epoch 1/2", Epoch(1, 2)),
        ("steps:  75%|███████▌  | 3/4 [00:02<00:00,  1.28it/s, avr_loss=2.41]", Progress(3, 4, 1 / 1.28, 2.41)),
        ("INFO:musubi_tuner.cache_latents:Encoding dataset [0]", Phase("caching latents")),
        ("INFO:musubi_tuner.cache_text_encoder_outputs:Encoding dataset [0]", Phase("caching text")),
        ("INFO:musubi_tuner.training.trainer_base:Loading DiT model from /m.safetensors", Phase("loading model")),
        ("INFO:musubi_tuner.training.trainer_base:model saved.", Phase("saved")),
        ("saving checkpoint: /out/a.safetensors", Phase("saving", "/out/a.safetensors")),
        ("running training / 学習開始", Phase("training")),
        ("Loading dit.safetensors:  27%|██▋       | 12/45 [00:00<00:00, 116.69it/s]", None),
        ("INFO:musubi_tuner.dataset.cache_io:epoch is incremented. current_epoch: 0, epoch: 1", None),
        (
            "ERROR:musubi_tuner.dataset.config_utils:Invalid user config / ユーザ設定",
            Notice("error", "Invalid user config"),
        ),
        ("WARNING:musubi_tuner.x:The provided DiT model /a may not match the training mode text-to-image", None),
    ],
)
def test_lines_are_parsed(line, event):
    assert backend.parse(line) == event


def test_a_real_success_shows_its_phases_and_every_step():
    lines = re.split(r"[\r\n]+", (LOGS / "ok_qwen_image.log").read_text("utf-8"))
    events = [event for line in lines if (event := backend.parse(line))]
    names = [event.name for event in events if isinstance(event, Phase)]
    for name in (
        "caching latents",
        "reading dataset",
        "loading model",
        "building network",
        "training",
        "saving",
        "saved",
    ):
        assert name in names
    assert {event.step for event in events if isinstance(event, Progress)} == {0, 1, 2, 3, 4}


def test_samples_are_found_by_step_and_the_copies_at_the_end_of_an_epoch_are_not():
    pattern = re.compile(backend.render(full_plan("qwen_image"), place()).artefacts.samples.pattern)
    found = pattern.match("sample/portrait_000050_01_20261130150000_42_000.png")
    assert found
    assert (found["step"], found["prompt"]) == ("000050", "01")
    assert pattern.match("sample/portrait_e000000_00_20261130150000_42_000.png")
    assert not pattern.match("sample/portrait_e000003_00_20261130150000_42_000.png")


def test_sample_prompts_are_json_so_that_no_word_of_them_is_an_option():
    plan = full_plan("qwen_image", **VARIANTS["sampled"])
    (prompt,) = json.loads(backend.render(plan, place()).files[render.PROMPTS])
    assert prompt["prompt"] == "blobbert --w 9999, smiling"
    assert (prompt["width"], prompt["cfg_scale"], prompt["negative_prompt"]) == (512, 7.0, "text")


def test_guidance_is_counted_as_in_a_plan_for_every_family():
    """Source: krea2_train_network.py, do_inference: 1 is no guidance, and the authors' 4.5 is 5.5."""
    for family, _ in CELLS:
        plan = full_plan(family, sampling__every_steps=5, sampling__guidance=5.5)
        (prompt,) = json.loads(backend.render(plan, place()).files[render.PROMPTS])
        assert prompt[backend.manifest.families[family].cell("lora").guidance] == 5.5, family
