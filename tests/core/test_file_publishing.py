"""A LoRA without a run is uploaded to a hub on loopback, with a card that says only what is known of its file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from safetensors.numpy import load_file

from tests.support import hub as hubs
from tests.support import small_loras, small_models, tool_files
from trainer_core.cli import easel
from trainer_core.errors import RunError, WeightsError
from trainer_core.models import header, tokens
from trainer_core.publishing import file_offer, model_card

REPO = "mika/elena"
EVIL = "x`\n---\nlicense: mit\n![a](http://e.vil/p.png) <script>"


@pytest.fixture
def loras(tmp_path):
    return tool_files.loras(tmp_path / "loras")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in tokens.SITES["huggingface"].names:
        monkeypatch.delenv(name, raising=False)
    with hubs.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", hubs.WRITE)
        yield server


def with_metadata(folder, metadata):
    shapes = small_loras.layers("unet-sd15-diffusers", every=20, divisor=1)
    return small_loras.write(folder / "told.safetensors", small_loras.lora(shapes), metadata)


def card_of(path, *chosen):
    card = file_offer.offer(str(path)).card(*chosen)
    model_card.check(card)
    return card


def front(card):
    return yaml.safe_load(card.partition("---\n")[2].partition("\n---\n")[0])


def test_the_card_of_a_file_without_metadata_has_only_what_its_layers_show(loras):
    card = card_of(loras["ink"])
    assert set(front(card)) == {"tags", "pipeline_tag", "library_name"}
    assert "A LoRA with convolutions (LoCon) for Stable Diffusion 1.5, of rank 4." in card
    for word in ("Likely", "metadata", "Training", "author", "base model"):
        assert word not in card, word


def test_a_network_of_an_unknown_family_gets_no_family_and_no_place(tmp_path):
    layers = {f"model.layers.{number}.self_attn.q_proj": (16, 16) for number in range(3)}
    path = small_loras.write(tmp_path / "words.safetensors", small_loras.lora(layers))
    card = card_of(path)
    assert front(card) == {"tags": ["lora"]}
    assert "A LoRA, of rank 4." in card
    assert "ComfyUI" not in card
    assert any("not recognised" in note for note in file_offer.offer(str(path)).notes())


def test_the_card_says_what_the_metadata_says_and_that_nobody_checked_it(tmp_path):
    frequency = {"10_elena": {"elenavr": 24, "woman": 22, "balloon": 3}}
    path = with_metadata(
        tmp_path,
        {
            "ss_sd_model_name": "C:\\Users\\mika\\models\\dreamy.safetensors",
            "ss_tag_frequency": json.dumps(frequency),
            "ss_learning_rate": "0.0002",
            "ss_sample_prompts": "a secret prompt",
            "modelspec.license": "my own terms",
            "modelspec.description": "Made at /home/mika/work, ask mika@example.org",
        },
    )
    card = card_of(path, "mit", "runwayml/stable-diffusion-v1-5")
    assert "Its metadata names `dreamy.safetensors` as the base model." in card
    assert "* `woman`: in 92% of the captions" in card
    assert "instance_prompt" not in front(card), "a word that is only frequent is no trigger that is stated"
    assert "| learning rate | 0.0002 |" in card
    assert "was not checked" in card
    assert front(card)["base_model"] == "runwayml/stable-diffusion-v1-5"
    assert front(card)["license"] == "mit"
    for word in ("Users", "secret", "balloon", "own terms", "/home/mika", "example.org"):
        assert word not in card, word
    assert any("my own terms" in note for note in file_offer.offer(str(path)).notes())


def test_a_stated_trigger_is_the_prompt_of_the_hub_and_a_repository_is_named_whole(tmp_path):
    path = with_metadata(tmp_path, {"modelspec.trigger_phrase": "elenavr", "ss_sd_model_name": "stabilityai/sd-turbo"})
    card = card_of(path)
    assert front(card)["instance_prompt"] == "elenavr"
    assert "`stabilityai/sd-turbo` as the base model" in card
    assert "base_model" not in front(card), "the user has named no repository"


@pytest.mark.parametrize(
    "key", ["modelspec.title", "modelspec.author", "modelspec.description", "modelspec.trigger_phrase", "ss_optimizer"]
)
def test_text_from_metadata_is_text_in_the_card(tmp_path, key):
    card = card_of(with_metadata(tmp_path, {key: EVIL}))
    assert "license" not in front(card)
    assert "\nlicense: mit" not in card
    assert "<script>" not in card.replace(f"`{model_card.code(EVIL)}`", "").partition("\n---\n")[2]


def test_what_is_no_lora_is_refused_with_what_to_do(tmp_path):
    model = small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))
    for path, words in ((model, "contains no network"), ("", "No file is chosen")):
        with pytest.raises(WeightsError, match=words) as caught:
            file_offer.offer(str(path))
        assert caught.value.hint
    with pytest.raises(RunError, match="not a licence"):
        card_of(tool_files.fitting_lora(tmp_path), "my own")


def test_the_command_line_shows_the_card_and_uploads_a_private_copy_without_personal_metadata(loras, hub, tmp_path):
    shell = CliRunner()
    file = str(loras["elena"])
    shown = shell.invoke(easel, ["lora", "upload", file, "--show-card"])
    assert shown.output.startswith("---\n")
    card = tmp_path / "card.md"
    card.write_text(shown.output + "\nMy own words.\n")
    asked = shell.invoke(easel, ["lora", "upload", file, "--repo", REPO], input="n\n")
    for told in ("only you and your organisation", "removed: ss_tag_frequency", "most frequent words of the captions"):
        assert told in asked.output
    assert hub.requests == []
    answer = shell.invoke(easel, ["lora", "upload", file, "--repo", REPO, "--card", str(card), "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["address"].endswith(REPO)
    made = hub.repositories[REPO]
    assert made.private
    assert sorted(made.files) == ["README.md", "elena.safetensors"]
    assert made.files["README.md"].endswith(b"My own words.\n")
    public = tmp_path / "public.safetensors"
    public.write_bytes(made.files["elena.safetensors"])
    assert "ss_tag_frequency" not in header.read(public).metadata
    assert "ss_tag_frequency" in header.read(loras["elena"]).metadata
    own, theirs = load_file(loras["elena"]), load_file(public)
    assert own.keys() == theirs.keys()
    assert all(np.array_equal(own[name], theirs[name]) for name in own)
    told = b"".join(path.read_bytes() for path in (tmp_path / "easel").rglob("*") if path.is_file())
    assert hubs.WRITE.encode() not in told
    assert shell.invoke(easel, ["lora", "upload", file]).exit_code == 2
