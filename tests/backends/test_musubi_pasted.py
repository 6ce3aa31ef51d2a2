"""Pasted commands of musubi-tuner: the inverse of rendering, for random plans; and commands as people write them."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from backends.musubi import backend
from tests.support import engine_plans, musubi_plans
from trainer_core.engines import optimizer_arguments, registry
from trainer_core.errors import PlanError
from trainer_core.prepare import pasting
from trainer_core.prepare.workbench import Workbench

MUSUBI = registry.get("musubi")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path


def written(folder: Path, job) -> str:
    """The last command of a job whose files are in a folder."""
    for path, text in job.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return shlex.join(job.steps[-1].argv)


def becomes(offer, option: str) -> list[tuple[str, str, object]]:
    return [(one.kind, one.path, one.value) for one in offer.items if one.option == option]


def refused(offer) -> dict[str, str]:
    return {one.option: one.reason for one in offer.items if one.kind == "refused"}


@pytest.mark.parametrize("variant", musubi_plans.VARIANTS)
@pytest.mark.parametrize("family", sorted(MUSUBI.manifest.families))
def test_the_command_of_a_rendered_plan_is_read_back_as_the_plan_that_renders_the_same(tmp_path, family, variant):
    values = musubi_plans.VARIANTS[variant]
    # Its optimizer takes only one learning rate, so that LoRA+ would be refused.
    own = {"native": {"musubi": {"sigmoid_scale": 1.5}}} if "native" in values else {}
    plan = musubi_plans.full_plan(family, **{**values, **own})
    place = dataclasses.replace(
        musubi_plans.place(), run=tmp_path, dataset=tmp_path / "dataset", output=tmp_path / "output"
    )
    job = MUSUBI.render(plan, place)
    bench = Workbench(engine_plans.machine(engine_plans.CARD))
    bench.set({"model.family": family})
    offer = pasting.look(bench, written(tmp_path, job))
    pasting.take(bench, offer)
    same = MUSUBI.render(bench.state.draft.sketch(), place)
    assert same.files == job.files, refused(offer)
    assert same.steps[-1].argv == job.steps[-1].argv


COMMAND = r"""
accelerate launch --num_cpu_threads_per_process 1 --mixed_precision bf16 --multi_gpu --num_processes=2 \
  src/musubi_tuner/zimage_train_network.py --dit "/models/z image.safetensors" --vae /models/ae.safetensors \
  --text_encoder /models/qwen_3_4b.safetensors --dataset_config {data} --sdpa --fp8_base --fp8_scaled --fp8_llm \
  --timestep_sampling shift --weighting_scheme none --discrete_flow_shift 2.5 --optimizer_type adamw8bit \
  --learning_rate 1e-4 --gradient_checkpointing --max_data_loader_n_workers 2 --persistent_data_loader_workers \
  --network_module networks.lora_zimage --network_dim 32 --network_args loraplus_lr_ratio=4 foo=3 --max_train_epochs 16 \
  --save_every_n_epochs 4 --seed 42 --output_dir /out --output_name mika --nonsense 3 --logit_mean=$MEAN
"""
DATASET = """
[general]
resolution = [960, 960]
caption_extension = ".txt"
batch_size = 2
[[datasets]]
image_directory = "{images}"
cache_directory = "/cache"
num_repeats = 5
[[datasets]]
image_directory = "/more"
resolution = [1024, 1024]
batch_size = 1
[[datasets]]
video_directory = "/films"
"""


def test_width_and_height_become_the_side_of_a_square_with_their_area(tmp_path):
    (tmp_path / "data.toml").write_text(DATASET.format(images=tmp_path).replace("[960, 960]", "[960, 544]"))
    offer = pasting.look(Workbench(), COMMAND.format(data=tmp_path / "data.toml"))
    assert becomes(offer, "resolution") == [("setting", "dataset.resolution", 720)]


def test_a_command_as_people_write_it_is_taken_over_with_the_reason_for_what_is_not(tmp_path):
    from PIL import Image

    images = tmp_path / "img"
    images.mkdir()
    for number in range(8):
        Image.new("RGB", (960, 960), (number, 30, 60)).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text("mika, a dog")
    (tmp_path / "data.toml").write_text(DATASET.format(images=images))
    bench = Workbench()
    offer = pasting.look(bench, COMMAND.format(data=tmp_path / "data.toml"))
    assert (offer.engine, offer.method) == ("musubi", "lora")
    for option, path, value in (
        ("dit", "model.path", "/models/z image.safetensors"),
        ("text_encoder", "model.qwen", "/models/qwen_3_4b.safetensors"),
        ("image_directory", "dataset.path", str(images)),
        ("resolution", "dataset.resolution", 960),
        ("batch_size", "schedule.batch_size", 2),
        ("discrete_flow_shift", "schedule.flow_shift", 2.5),
        ("optimizer_type", "optimizer.name", "AdamW8bit"),
        ("network_module", "network.algorithm", "lora"),
        ("network_alpha", "network.alpha", 1.0),
        # 8 images, 5 repeats, 2 at a time: 20 steps an epoch.
        ("max_train_epochs", "schedule.steps", 320),
        ("save_every_n_epochs", "output.save_every_steps", 80),
        ("launch mixed_precision", "memory.mixed_precision", "bf16"),
    ):
        assert becomes(offer, option) == [("setting", path, value)], option
    assert becomes(offer, "fp8_llm") == [("native", "native.musubi.fp8_llm", True)]
    assert becomes(offer, "network_args loraplus_lr_ratio")[0][0] == "native"
    further = next(one.value for one in offer.items if one.path == "dataset.subsets")
    assert [dict(each) for each in further] == [{"path": "/more", "resolution": 1024, "repeats": 1}]
    told = refused(offer)
    assert set(told) == {
        "nonsense", "logit_mean", "network_args foo", "batch_size (/more)", "datasets", "launch multi_gpu", "launch num_processes",
    }  # fmt: skip
    assert "on one device" in told["launch multi_gpu"]
    assert "variable of the shell" in told["logit_mean"]
    pasting.take(bench, offer)
    assert bench.state.backend.manifest.id == "musubi"


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('dit = "/m.safetensors"\nnetwork_module = "networks.lora_krea2"\nnetwork_dim = 8\n', "krea2"),
        ('[[datasets]]\nimage_directory = "/i"\nresolution = 512\n', "flux"),
    ],
)
def test_a_configuration_is_read_without_a_program(text, family):
    bench = Workbench()
    offer = pasting.look(bench, text)
    assert offer.engine == "musubi"
    pasting.take(bench, offer)
    if "network_module" in text:
        assert not refused(offer)
        reading = backend.read_command(pasting.pasted.parse(text), "", pasting.Here())
        assert reading.family == family


@pytest.mark.parametrize("program", ["wan_train_network.py", "zimage_cache_latents.py", "qwen_image_train.py"])
def test_other_programs_are_refused_with_those_that_are_known(program):
    with pytest.raises(PlanError, match=r"musubi-tuner"):
        pasting.look(Workbench(), f"python src/musubi_tuner/{program} --dit /m.safetensors --sdpa")


HUGE, HEX = "9" * 400, f"0x{'f' * 5000}"
DEEP = ".".join("a" * 5000)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        (f"zimage_train_network.py --resolution {HUGE}9 --lr_warmup_steps {HUGE}", "resolution"),
        (f"zimage_train_network.py --resolution {'9' * 5000} --seed {HUGE}", "seed"),
        (f"sdxl_train_network.py --resolution {'9' * 5000} --lr_warmup_steps {HUGE}", "resolution"),
        ("zimage_train_network.py --optimizer_type adamw --optimizer_args betas={[]}", "optimizer_args betas"),
        (f"zimage_train_network.py --optimizer_type adamw --optimizer_args weight_decay={HUGE}", "optimizer_args weight_decay"),
        ("zimage_train_network.py --logit_mean nan", "logit_mean"),
        ("zimage_train_network.py --control_resolution 1,2 --resolution 3,4", "control_resolution"),
    ],
)  # fmt: skip
def test_a_value_that_is_none_is_refused_with_a_sentence(text, option):
    bench = Workbench(engine_plans.machine(engine_plans.CARD))
    offer = pasting.look(bench, f"python {text}")
    assert option in refused(offer)
    pasting.take(bench, offer)


@pytest.mark.parametrize(
    "text", [f'dit = "/x"\nseed = {HEX}\n', f'dit = "/x"\n{DEEP} = 1\n', f'dit = "/x"\nx = [{HEX}]\n']
)
def test_a_configuration_that_cannot_be_shown_is_no_configuration(text):
    with pytest.raises(PlanError, match=r"more digits|in each other"):
        pasting.look(Workbench(), text)


@pytest.mark.parametrize(
    "text", ['{"dit": "/x", "metadata_title": "\\ud800"}', '{"dit": {"\\ud800": 1}}', "--dit \ud800"]
)
def test_half_of_a_character_is_refused(text):
    with pytest.raises(PlanError, match="half of a character"):
        pasting.look(Workbench(), text)


def test_a_token_is_not_taken_over_whatever_option_has_it():
    token = f"hf_{'aB3' * 12}"
    text = f"python zimage_train_network.py --dit /x --training_comment {token} --vae https://u:{token}@x/y --optimizer_type adamw --optimizer_args token={token}"
    bench = Workbench(engine_plans.machine(engine_plans.CARD))
    offer = pasting.look(bench, text)
    assert {"training_comment", "vae", "optimizer_args token"} <= set(refused(offer))
    pasting.take(bench, offer)
    assert token not in f"{offer}{bench.state.draft.values}"


@pytest.mark.parametrize("text", ["{[]}", "{[]: 1}"])
def test_an_argument_that_python_cannot_make_is_named(text):
    assert "in Python's notation, not" in optimizer_arguments.wrong_in_python(text, [1e-30, 1e-3])


def test_a_further_folder_has_the_general_values_and_not_those_of_the_first(tmp_path):
    text = """
dit = "/x"
[general]
num_repeats = 3
[[datasets]]
image_directory = "/first"
num_repeats = 5
resolution = 512
[[datasets]]
image_directory = "/second"
"""
    offer = pasting.look(Workbench(), text)
    further = next(one.value for one in offer.items if one.path == "dataset.subsets")
    assert [dict(each) for each in further] == [{"path": "/second", "repeats": 3}]
    assert "none of its own" in refused(offer)["resolution (/second)"]


@pytest.mark.parametrize("path", ["9" * 5000, "/" + "a" * 300, "a\x00b", "\ud800"])
def test_a_path_that_no_system_has_is_a_problem(path):
    bench = Workbench(engine_plans.machine(engine_plans.CARD))
    bench.set({"dataset.path": path, "output.folder": path})
    found = {each.path for each in bench.state.draft.problems(bench.state.backend) if each.severity == "error"}
    assert {"dataset.path", "output.folder"} <= found
