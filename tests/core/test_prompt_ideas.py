"""Offered sample prompts, and the short options of the command line for prompts and epochs."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.support import recorded_headers
from trainer_core.cli import main
from trainer_core.plan.prompts import MOST_PROMPTS
from trainer_core.prepare import prompt_ideas
from trainer_core.prepare.workbench import Workbench

CAPTIONS = (
    "ohwx, a woman in a garden, sunlight, portrait",
    "ohwx, a woman in a garden, sunlight, smiling",
    "Ohwx riding a bicycle in the rain",
    "ohwx, a woman in a garden, sunlight",
    "a cat",
)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (512, 512), (number * 40, 90, 60)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption)
    return folder


@pytest.fixture
def bench(images, tmp_path):
    recorded_headers.write("sd15", tmp_path)
    found = Workbench(engine="rehearsal")
    values = {"model.path": str(tmp_path / "sd15.safetensors"), "dataset.path": str(images), "dataset.trigger": "ohwx"}
    found.set(values)
    return found


def test_the_offered_captions_differ_most_and_have_the_trigger_word(bench):
    assert prompt_ideas.from_captions(bench.state.facts.dataset, "ohwx") == (
        "{trigger}, a woman in a garden, sunlight, portrait",
        "{trigger}, a cat",
        "{trigger} riding a bicycle in the rain",
    )


def test_captions_come_with_a_control_prompt(bench):
    *first, control = prompt_ideas.suggested(bench.state, "captions")
    assert len(first) == prompt_ideas.FROM_CAPTIONS
    assert all("{trigger}" in prompt["text"] for prompt in first)
    assert "{trigger}" not in control["text"]


def test_a_caption_with_a_token_is_not_offered(images, bench):
    (images / "0.txt").write_text(f"hf_{'a' * 30} on a beach")
    bench.set({"dataset.path": str(images)})
    assert not any("hf_" in text for text in prompt_ideas.from_captions(bench.state.facts.dataset, "ohwx", 9))


def test_a_long_caption_ends_at_a_comma(images, bench):
    (images / "0.txt").write_text("ohwx, " + ", ".join(["a very long walk"] * 60))
    bench.set({"dataset.path": str(images)})
    first = prompt_ideas.from_captions(bench.state.facts.dataset, "ohwx")[0]
    assert len(first) <= prompt_ideas.LONGEST + len("{trigger}")
    assert first.endswith("a very long walk")


def test_without_captions_nothing_is_offered():
    assert prompt_ideas.from_captions(None, "ohwx") == ()


@pytest.mark.parametrize("use", ["character", "style", "concept", "anime", ""])
def test_every_use_has_prompts_and_one_control(use):
    found = prompt_ideas.for_use(use)
    assert 4 <= len(found) <= MOST_PROMPTS
    assert [one.is_control for one in found] == [False] * (len(found) - 1) + [True]


@pytest.fixture
def easel(capsys):
    """Runs a command, and returns its exit code and all that it printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        shown = capsys.readouterr()
        return ended.value.code, shown.out + shown.err

    return run


@pytest.fixture
def plan(easel, images, tmp_path):
    """Runs `easel plan` with a model, images and these options."""
    recorded_headers.write("sd15", tmp_path)
    model = str(tmp_path / "sd15.safetensors")
    basic = ["--engine", "rehearsal", "--model", model, "--dataset", images, "--trigger", "ohwx", "--name", "a"]
    return lambda *options: easel("plan", *basic, "--json", *options)


def test_the_command_line_takes_epochs(plan):
    options = ["--dataset-repeats", "4", "--schedule-batch-size", "2", "--epochs", "20", "--save-every-epochs", "2.5"]
    found = json.loads(plan(*options, "--sample-every-epochs", "5")[1])["values"]
    assert [found[path]["value"] for path in ("schedule.steps", "output.save_every_steps", "sampling.every_steps")] == [
        200,
        25,
        50,
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epochs", "ten"), "not a number of epochs"),
        (("--epochs", "3", "--steps", "5"), "not both"),
        (("--epochs", "9999999"), "1,000,000 or less"),
        (("--save-every-epochs", "0.001"), "less than one step"),
        (("--sample-prompt", "a --x 3"), "--x"),
        (("--sample-prompt", "a", "--sampling-prompts", "b"), "not both"),
    ],
)
def test_wrong_options_are_refused(plan, options, words):
    code, output = plan(*options)
    assert code in (2, 3)
    assert words in output


def test_epochs_need_images(easel):
    code, output = easel("plan", "--engine", "rehearsal", "--epochs", "3")
    assert code
    assert "dataset" in output


def test_the_command_line_takes_several_prompts(plan):
    options = ["--sample-prompt", "{trigger}, smiling", "--sample-prompt", "a castle --w 768 --d 7"]
    found = json.loads(plan(*options, "--sample-prompts-from", "templates")[1])["values"]
    first, second, *others = found["sampling.prompts"]["value"]
    assert (first, second) == ({"text": "{trigger}, smiling"}, {"text": "a castle", "width": 768, "seed": 7})
    assert len(others) == len(prompt_ideas.for_use(""))


def test_a_plan_file_has_a_table_for_each_prompt(plan, tmp_path):
    file = tmp_path / "job.toml"
    file.write_text('[[sampling.prompts]]\ntext = "one"\n[[sampling.prompts]]\ntext = "two"\nseed = 9\n')
    found = json.loads(plan(file)[1])["values"]["sampling.prompts"]["value"]
    assert found == [{"text": "one"}, {"text": "two", "seed": 9}]
