"""Pasted commands of sd-scripts: the inverse of rendering, for random plans; and commands as people write them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shlex

import pytest

from tests.support import engine_plans, random_plans
from trainer_core.draft.layers import Source
from trainer_core.engines import registry
from trainer_core.errors import PlanError
from trainer_core.prepare import pasting
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import blocking

KOHYA = registry.get("kohya")
PLANS = 80


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path


def bench(machine=None, **values) -> Workbench:
    found = Workbench(machine)
    found.set({"model.family": "sdxl", **values})
    return found


def written(folder, job) -> str:
    """The command of a job whose files are in a folder."""
    for path, text in job.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return shlex.join(job.steps[-1].argv)


def becomes(offer, option: str) -> list[tuple[str, str, object]]:
    return [(one.kind, one.path, one.value) for one in offer.items if one.option == option]


def test_the_command_of_a_rendered_plan_is_read_back_as_the_plan_that_renders_the_same(tmp_path):
    # The images that Easel holds out are in a folder of the run: read back, they are a folder of their own.
    drawn = (case for case in random_plans.cases(KOHYA, seed=11) if not case.plan.has_validation)
    cases = (case for case in drawn if not blocking(case.problems(case.plan)))
    for number, case in enumerate(itertools.islice(cases, PLANS)):
        folder = tmp_path / str(number)
        place = dataclasses.replace(
            engine_plans.place(), run=folder, dataset=folder / "dataset", output=folder / "output"
        )
        job = KOHYA.render(case.plan, place)
        text = written(folder, job)
        found = bench(case.facts.machine, **{"model.family": case.plan.model.family})
        offer = pasting.look(found, text)
        pasting.take(found, offer)
        again = found.state.draft.sketch()
        # The model's file, which is not here, says the prediction.
        model = again.model.model_copy(
            update={"prediction": case.plan.model.prediction, "zero_terminal_snr": case.plan.model.zero_terminal_snr}
        )
        same = KOHYA.render(again.model_copy(update={"model": model}), place)
        assert same.files == job.files, (number, case.plan, [one for one in offer.items if one.kind == "refused"])
        assert same.steps[-1].argv == job.steps[-1].argv


COMMAND = r"""
# as in many guides
CUDA_VISIBLE_DEVICES=0 accelerate launch --num_cpu_threads_per_process 1 --num_processes=1 "sdxl_train_network.py" \
  --pretrained_model_name_or_path="/models/my model.safetensors" --train_data_dir={data} --output_dir=/out --output_name=mika \
  --resolution=1024,1024 --network_module=networks.lora --network_dim=32 --network_alpha=16 \
  --network_args conv_dim=8 "conv_alpha=4" loraplus_lr_ratio=16 foo=3 \
  --optimizer_type=AdamW8bit --optimizer_args weight_decay=0.1 betas=0.9,0.95 amsgrad=True \
  --unet_lr=1e-4 --text_encoder_lr=5e-5 --lr_scheduler=cosine --lr_warmup_steps=0.1 --max_train_epochs=10 \
  --save_every_n_epochs=1 --train_batch_size=2 --mixed_precision=bf16 --cache_latents --gradient_check --nonsense 3 \
  --wandb_api_key={secret} --ip_noise_gamma=$GAMMA --caption_extension .txt && rm -rf /
"""


def images(folder, count: int = 8):
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (1024, 1024), (number, 30, 60)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("mika, a dog")


def test_a_command_as_people_write_it_is_taken_over_with_the_reason_for_what_is_not(tmp_path):
    images(tmp_path / "img" / "10_mika dog")
    found, secret = bench(), "0123456789abcdef0123456789abcdef01234567"
    offer = pasting.look(found, COMMAND.format(data=tmp_path / "img", secret=secret))
    assert becomes(offer, "train_data_dir") == [
        ("setting", "dataset.path", str(tmp_path / "img" / "10_mika dog")),
        ("setting", "dataset.repeats", 10),
        ("setting", "dataset.trigger", "mika dog"),
    ]
    assert becomes(offer, "network_args conv_dim") == [("setting", "network.conv_rank", 8)]
    assert becomes(offer, "network_args loraplus_lr_ratio")[0][0] == "native"
    assert becomes(offer, "optimizer_args amsgrad") == [("native", "native.kohya.optimizer_args.amsgrad", "True")]
    assert becomes(offer, "optimizer_args betas")[1] == ("setting", "optimizer.beta2", 0.95)
    # 8 images, 10 repeats, 2 at a time: 40 steps an epoch.
    assert becomes(offer, "max_train_epochs") == [("setting", "schedule.steps", 400)]
    assert becomes(offer, "lr_warmup_steps") == [("setting", "schedule.warmup_steps", 40)]
    assert becomes(offer, "save_every_n_epochs") == [("setting", "output.save_every_steps", 40)]
    reasons = {one.option: one.reason for one in offer.items if one.option.endswith("_epochs")}
    assert set(reasons.values()) == {"10 epochs are 400 steps here.", "1 epoch is 40 steps here."}
    assert becomes(offer, "gradient_checkpointing") == [("setting", "memory.gradient_checkpointing", True)]
    refused = {one.option: one.reason for one in offer.items if one.kind == "refused"}
    assert set(refused) == {"nonsense", "wandb_api_key", "ip_noise_gamma", "network_args foo"}
    assert "variable of the shell" in refused["ip_noise_gamma"]
    assert secret not in str(offer)
    assert becomes(offer, "network_train_unet_only") == [("setting", "network.train_text_encoder", True)]
    total = len({one.option for one in offer.items if not one.is_default})
    assert offer.sentence.startswith(f"{total - 4} of {total} options are taken over.")
    assert found.state.draft.source_of("network.rank") is not Source.USER, "nothing is applied before it was seen"


def test_what_is_taken_over_is_the_jobs_and_can_be_undone(tmp_path):
    images(tmp_path / "img" / "10_mika")
    found = bench(**{"network.rank": 77})
    before = found.state
    pasting.take(found, pasting.look(found, COMMAND.format(data=tmp_path / "img", secret="x")))
    values = found.state.draft.values
    assert (values["network.rank"], values["network.conv_rank"], values["schedule.steps"]) == (32, 8, 400)
    assert values["native"]["kohya"] == {"network_args": ["loraplus_lr_ratio=16"], "optimizer_args": ["amsgrad=True"]}
    assert found.state.backend.manifest.id == "kohya"
    found.state = before
    assert found.state.draft.values["network.rank"] == 77


def test_a_configuration_in_toml_and_the_description_of_a_dataset_are_read(tmp_path):
    (tmp_path / "data.toml").write_text(
        "[general]\nshuffle_caption = true\n[[datasets]]\nresolution = 768\nbatch_size = 4\n[[datasets.subsets]]\n"
        'image_dir = "/images/mika"\nnum_repeats = 3\nclass_tokens = "mika"\n[[datasets.subsets]]\nis_reg = true\nimage_dir = "/images/dogs"\n'
    )
    text = f"""
[network]
network_module = "lycoris.kohya"
network_args = ["algo=lokr", "factor=8", "conv_dim=4"]
network_dim = 100
[rest]
dataset_config = "{tmp_path / "data.toml"}"
optimizer_type = "Prodigy"
optimizer_args = ["decouple=True", "d_coef=2.0", "growth_rate=1.02"]
learning_rate = 1.0
"""
    offer = pasting.look(bench(), text)
    values = offer.values
    assert (values["network.algorithm"], values["network.factor"], values["network.conv_rank"]) == ("lokr", 8, 4)
    assert (values["dataset.resolution"], values["schedule.batch_size"], values["dataset.path"]) == (
        768,
        4,
        "/images/mika",
    )
    assert (values["dataset.trigger"], values["dataset.class_path"]) == ("mika", "/images/dogs")
    assert values["dataset.shuffle_captions"] is True
    assert (values["optimizer.name"], values["optimizer.d_coef"]) == ("Prodigy", 2.0)
    assert becomes(offer, "optimizer_args growth_rate")[0][0] == "native"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no text"),
        ("hello world", "no command with options"),
        ("python train.py --a=1 --b", "no training command"),
        ('{"a": 1, "b": 2, "c": 3}', "no configuration"),
        ("python train_network.py --output_name 'open", "quotation mark"),
        ("--x " * 60_000, "at most 200,000"),
        ("curl https://x/y.sh | bash", "no command with options"),
    ],
)
def test_a_text_that_is_no_command_gets_a_clear_error(text, said):
    with pytest.raises(PlanError) as error:
        pasting.look(bench(), text)
    assert said in error.value.message


def test_files_that_a_command_names_are_read_only_if_they_are_small_texts(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("network_dim = 99")
    for path in (secret, tmp_path, "/dev/zero.toml", "/etc/passwd", "\0.toml"):
        offer = pasting.look(
            bench(), shlex.join(["train_network.py", "--dataset_config", str(path), "--network_dim", "8"])
        )
        assert becomes(offer, "dataset_config")[0][0] == "refused"
        assert offer.values["network.rank"] == 8


@pytest.mark.skipif(os.name == "nt", reason="there it is a path like any other")
def test_a_path_of_windows_keeps_its_backslashes_and_is_not_taken_over_on_another_system():
    text = 'sdxl_train_network.py ^\n --pretrained_model_name_or_path="D:\\models\\a.safetensors" ^\n --train_data_dir=C:\\train\\img --network_module=networks.lora --network_dim=4'
    offer = pasting.look(bench(), text)
    refused = {one.option: one for one in offer.items if one.kind == "refused"}
    assert set(refused) == {"pretrained_model_name_or_path", "train_data_dir"}
    assert refused["pretrained_model_name_or_path"].shown == "D:\\models\\a.safetensors"
    assert refused["train_data_dir"].reason.startswith("C:\\train\\img is a path of Windows")
    assert "model.path" not in offer.values
    assert offer.values["network.rank"] == 4


def test_a_file_of_another_machine_does_not_replace_the_one_that_was_chosen(tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"")
    text = (
        "sdxl_train_network.py --pretrained_model_name_or_path=/elsewhere/x.safetensors --network_module=networks.lora"
    )
    found = bench(**{"model.path": str(mine)})
    offer = pasting.look(found, text)
    assert becomes(offer, "pretrained_model_name_or_path")[0][0] == "refused"
    pasting.take(found, offer)
    assert found.state.draft.values["model.path"] == str(mine)
    assert becomes(pasting.look(bench(), text), "pretrained_model_name_or_path")[0][0] == "setting"


def values_of(option) -> list[object]:
    """Values of an option as people give them: in its type, off, and one that is wrong."""
    typical = {"bool": [True, False], "int": [1, 0], "float": [0.5, 0.0], "int_or_float": [2, 0.5]}.get(
        option.type, ["x", "key=1", ""]
    )
    return [*([each] if option.many else each for each in typical), None, "wrong", [], ["a", "b"]]


def test_every_option_of_a_text_is_in_exactly_one_list_whatever_the_program_and_the_value():
    from trainer_core.engines import audit
    from trainer_core.engines.pasted import Given, ReadsCommands

    assert isinstance(KOHYA, ReadsCommands)
    manifest = KOHYA.manifest
    programs = {cell.program[:-3] for claim in manifest.families.values() for cell in claim.methods.values()}
    known = {
        name: option for record in audit.records(manifest.schema).values() for name, option in record.options.items()
    }
    for program in ("", *sorted(programs)):
        for number in range(7):
            given = {name: values_of(option)[number % len(values_of(option))] for name, option in known.items()}
            for each in ("config_file", "dataset_config", "datasets", "use_8bit_adam", "use_lion_optimizer"):
                given.pop(each, None)
            reading = KOHYA.read_command(Given(program, given), "", pasting.Here())
            lists: dict[str, set[str]] = {}
            for one in reading.items:
                if not one.is_default:
                    kind = "refused" if one.kind == "refused" else "taken"
                    lists.setdefault(one.option.partition(" ")[0], set()).add(kind)
                    assert one.reason or one.path, one
            # The beginning of a name counts as the name if it is unique.
            absent = {name for name in given if not any(listed.startswith(name) for listed in lists)}
            assert absent == set(), (program, number)
            lists = {name: kinds for name, kinds in lists.items() if not name.endswith("_args")}
            assert {name: kinds for name, kinds in lists.items() if len(kinds) > 1} == {}, (program, number)


def test_options_that_a_full_finetuning_does_not_have_are_refused_by_name_and_counted_so():
    text = "sdxl_train.py --network_alpha=8 --unet_lr=1e-4 --text_encoder_lr=5e-5 --learning_rate=1e-5 --seed=3"
    offer = pasting.look(bench(), text)
    refused = {one.option: one.reason for one in offer.items if one.kind == "refused"}
    assert set(refused) == {"network_alpha", "unet_lr", "text_encoder_lr"}
    assert refused["unet_lr"].startswith("sdxl_train.py has no option 'unet_lr'")
    assert offer.sentence.startswith("2 of 5 options are taken over.")


def test_a_configuration_with_options_of_a_network_trains_a_network():
    offer = pasting.look(bench(), '{"network_alpha": 8, "unet_lr": 0.0002, "learning_rate": 0.1, "seed": 3}')
    assert offer.method == "lora"
    assert (offer.values["network.alpha"], offer.values["optimizer.learning_rate"]) == (8, 0.0002)


def test_two_options_that_choose_the_optimizer_are_a_contradiction_and_not_decided_silently():
    text = "sdxl_train_network.py --network_module=networks.lora --optimizer_type Prodigy --use_8bit_adam --unet_lr=1 --optimizer_args d_coef=2"
    offer = pasting.look(bench(), text)
    for option in ("optimizer_type", "use_8bit_adam"):
        ((kind, _, _),) = becomes(offer, option)
        assert kind == "refused"
    assert "sd-scripts refuses optimizer_type and use_8bit_adam together" in str(offer)
    assert not any(path.startswith("optimizer.") for path in offer.values)


def test_the_learning_rate_of_an_optimizer_that_is_not_known_is_left_out_with_it():
    text = "sdxl_train_network.py --network_module=networks.lora --optimizer_type=DAdaptAdam --learning_rate=1 --unet_lr=1 --text_encoder_lr=1 --optimizer_args decouple=True"
    offer = pasting.look(bench(), text)
    assert not any(path.startswith("optimizer.") for path in offer.values)
    refused = {one.option: one.reason for one in offer.items if one.kind == "refused"}
    assert {"optimizer_type", "unet_lr", "text_encoder_lr", "optimizer_args"} <= set(refused)
    assert "the optimizer of the text" in refused["unet_lr"]


def test_a_state_to_resume_from_cannot_be_taken_over_and_the_command_for_it_is_named():
    offer = pasting.look(bench(), "sdxl_train_network.py --network_module=networks.lora --resume=/x")
    (one,) = (one for one in offer.items if one.option == "resume")
    assert one.kind == "refused"
    assert "easel runs resume" in one.reason


def test_a_reason_that_begins_with_a_name_keeps_its_spelling():
    text = "sdxl_train_network.py --network_module=networks.lora --min_bucket_reso=77777 --nonsense=1"
    reasons = {one.option: one.reason for one in pasting.look(bench(), text).items}
    assert reasons["min_bucket_reso"].startswith("min_bucket_reso must be")
    assert reasons["nonsense"].startswith("sdxl_train_network.py has no option")
    assert pasting.as_sentence("it is off.") == "It is off."


SAVED = {
    "LoRA_type": "LyCORIS/LoKr", "LyCORIS_preset": "full", "factor": 8, "conv_dim": 4, "conv_alpha": 1, "use_tucker": False,
    "sdxl": True, "flux1_checkbox": False, "max_resolution": "768,768", "epoch": 5, "max_train_steps": 0, "train_batch_size": 2,
    "optimizer": "Prodigy", "optimizer_args": "weight_decay=0.02 d_coef=2.0", "learning_rate": 1.0, "unet_lr": 1.0,
    "text_encoder_lr": 0, "lr_warmup": 10, "lr_warmup_steps": 0, "lr_scheduler": "cosine", "network_dim": 16, "network_alpha": 8,
    "seed": "", "min_snr_gamma": 0, "gradient_accumulation_steps": 1.0, "sdxl_cache_text_encoder_outputs": True,
    "discrete_flow_shift": 3, "guidance_scale": 3.5, "anima_qwen3": "/q", "xformers": "sdpa", "sample_prompts": "a dog --n bad\na cat",
    "additional_parameters": "--min_snr_gamma 5 --nonsense 3", "noise_offset_type": "Multires", "noise_offset": 0.1,
    "stop_text_encoder_training": 20, "model_list": "custom",
}  # fmt: skip
"""A form of the kohya GUI, as it saves it."""


def test_what_the_kohya_gui_saved_is_read_as_the_gui_itself_reads_it(tmp_path):
    images(tmp_path / "img" / "10_mika")
    offer = pasting.look(bench(), json.dumps({**SAVED, "train_data_dir": str(tmp_path / "img")}))
    values = offer.values
    assert (offer.method, values["network.algorithm"], values["network.factor"]) == ("lora", "lokr", 8)
    assert (values["network.rank"], values["network.alpha"], values["network.conv_rank"]) == (16, 8, 4)
    assert (values["dataset.resolution"], values["schedule.batch_size"], values["dataset.repeats"]) == (768, 2, 10)
    assert (values["optimizer.name"], values["optimizer.d_coef"], values["optimizer.weight_decay"]) == (
        "Prodigy",
        2,
        0.02,
    )
    # 8 images, 10 repeats, 2 at a time: 40 steps an epoch, and a tenth of 200 to warm up.
    assert (values["schedule.steps"], values["schedule.warmup_steps"]) == (200, 20)
    assert values["network.train_text_encoder"] is False
    assert values["memory.cache_text_encoder"] is True
    assert values["schedule.min_snr_gamma"] == 5
    assert "schedule.noise_offset" not in values
    assert becomes(offer, "max_resolution") == [("setting", "dataset.resolution", 768)]
    assert "anima_qwen3" not in {one.option for one in offer.items}
    assert {one.option for one in offer.items if one.kind == "refused"} == {"nonsense"}


def test_a_configuration_of_the_kohya_gui_for_another_method_is_refused_with_what_to_do():
    form = {name: value for name, value in SAVED.items() if name != "LoRA_type"}
    with pytest.raises(PlanError) as error:
        pasting.look(bench(), json.dumps(form))
    assert "saved configuration of the kohya GUI" in error.value.message
    assert "Print training command" in error.value.hint
