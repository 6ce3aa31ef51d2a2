"""A result is uploaded with its card to a hub on loopback: privately, without personal metadata, and without the token in any file."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from tests.support import hub as hubs
from tests.support.ends import easel_says
from tests.support.played import LIMIT_S, ended
from tests.support.sampled import add_samples
from trainer_core.errors import DownloadError, RunError
from trainer_core.jobs import own_program
from trainer_core.jobs.state import JobState
from trainer_core.models import hub_repository, tokens
from trainer_core.publishing import model_card, offer, upload
from trainer_core.training.run import Run

REPO = "mika/my-lora"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    made = ended(tmp_path_factory.mktemp("published"), output={"save_every_steps": 5})
    add_samples(made, (0, 10, 20), prompts=1, size=(256, 256))
    return made


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in tokens.SITES["huggingface"].names:
        monkeypatch.delenv(name, raising=False)
    with hubs.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    tokens.forget("huggingface")


def uploaded(run: Run, text: str = hubs.WRITE, repo: str = REPO, card: str = "", **more):
    """The job of an upload that has ended, and its folder's files as one text."""
    tokens.remember("huggingface", text)
    found = offer.offer(run, 10)
    job = upload.start(found.settings(repo, card or found.card(), **more))
    job.wait(LIMIT_S)
    told = b"".join(path.read_bytes() for path in job.folder.path.rglob("*") if path.is_file())
    return job, told


def test_an_upload_is_private_has_a_card_and_samples_and_leaves_the_token_nowhere(run, hub):
    job, told = uploaded(run)
    assert job.state is JobState.COMPLETED, job.result
    made = hub.repositories[REPO]
    assert made.private
    assert sorted(made.files) == ["README.md", "cg_mika-step00000010.safetensors", "images/prompt-1.png"]
    assert Image.open(io.BytesIO(made.files["images/prompt-1.png"])).size == (256, 256)
    assert hubs.WRITE.encode() not in told
    assert all(hubs.WRITE.encode() not in path.read_bytes() for path in run.folder.path.rglob("*") if path.is_file())
    assert os.environ.get("HF_TOKEN") is None
    assert {token for method, _, token in hub.requests if method != "PUT"} == {hubs.WRITE}
    assert {token for method, _, token in hub.requests if method == "PUT"} == {""}
    assert job.result is not None
    assert job.result["outputs"][0].endswith(REPO)
    assert job.summary.step == job.summary.total == 1
    assert not (job.folder.path / upload.COPY).exists()


def test_the_uploaded_file_is_the_checkpoint_without_personal_metadata(run, hub, tmp_path):
    uploaded(run)
    path = tmp_path / "public.safetensors"
    path.write_bytes(hub.repositories[REPO].files["cg_mika-step00000010.safetensors"])
    with safe_open(path, "numpy") as public, safe_open(offer.offer(run, 10).file, "numpy") as own:
        assert "prompt" in own.metadata()["easel.plan"]
        assert "portrait" not in json.dumps(public.metadata())
        assert public.metadata()["easel.steps"] == "10"
        assert sorted(public.keys()) == sorted(own.keys())
        assert all((public.get_tensor(key) == own.get_tensor(key)).all() for key in own.keys())  # noqa: SIM118


def test_a_second_upload_keeps_the_card_that_is_there_unless_it_shall_be_replaced(run, hub):
    uploaded(run)
    hub.repositories[REPO].files["README.md"] = b"changed on the site"
    uploaded(run, card=offer.offer(run, 10).card() + "\nmore\n")
    assert hub.repositories[REPO].files["README.md"] == b"changed on the site"
    uploaded(run, card=offer.offer(run, 10).card() + "\nmore\n", replaces_card=True)
    assert hub.repositories[REPO].files["README.md"].endswith(b"more\n")


REFUSALS = {
    "wrong token": ({"text": "hf_" + "x" * 34}, "does not accept the token"),
    "read only": ({"text": hubs.READ}, "may not write to mika/my-lora"),
    "somebody else's": ({"repo": "vera/my-lora"}, "may not write to vera/my-lora"),
    "public already": ({"repo": "mika/seen"}, "is public, so everybody would see"),
}


def refused(run, folder, text=hubs.WRITE, repo=REPO):
    """What the program of an upload says in a folder of its own, where it fails."""
    tokens.remember("huggingface", text)
    found = offer.offer(run, 10)
    (folder / own_program.SETTINGS).write_text(json.dumps(dataclasses.asdict(found.settings(repo, found.card()))))
    with contextlib.chdir(folder):
        assert upload.main() == 1
    told = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert text.encode() not in told
    assert not (folder / upload.COPY).exists()
    return json.loads((folder / own_program.FAILURE).read_text())


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_happened_and_what_to_do(run, hub, tmp_path, capsys, name):
    wanted, words = REFUSALS[name]
    hub.repositories["mika/seen"] = hubs.Repository(private=False)
    said = refused(run, tmp_path, **wanted)
    assert words in said["message"]
    assert said["hint"]
    assert wanted.get("text", hubs.WRITE) not in capsys.readouterr().out
    assert not any("safetensors" in file for one in hub.repositories.values() for file in one.files)


def test_a_server_error_and_a_missing_connection_are_told_apart(run, hub, tmp_path, monkeypatch):
    hub.broken = "/commit/"
    assert "server error: it answered 503" in refused(run, tmp_path)["message"]
    assert hub.repositories[REPO].files == {}
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refused(run, tmp_path)["message"]


def test_a_failed_upload_is_a_failed_job_with_the_reason(run, hub):
    job, told = uploaded(run, hubs.READ)
    assert job.state is JobState.FAILED
    assert job.result is not None
    assert "may not write" in job.result["diagnosis"]["cause"]
    assert hubs.READ.encode() not in told


def test_without_a_token_nothing_is_started(run, hub):
    found = offer.offer(run, 10)
    with pytest.raises(DownloadError, match="needs a token") as caught:
        upload.start(found.settings(REPO, found.card()))
    assert "HF_TOKEN" in caught.value.hint
    assert list(upload.known()) == []


@pytest.mark.parametrize(
    "text", ["my-lora", "mika/", "/x", "mika/a b", "mika/a/b", "mika/--x", "../x", "mika/x.git", "mika/-x", ""]
)
def test_a_name_that_is_no_repository_is_refused(text):
    with pytest.raises(DownloadError):
        hub_repository.checked(text)


def test_the_address_of_a_page_is_understood_and_a_name_is_suggested():
    assert hub_repository.checked(" https://huggingface.co/mika/my-lora/ ") == REPO
    assert hub_repository.suggested("Élena v3 (new)--x") == "Elena-v3-new-x"
    assert hub_repository.checked(f"mika/{hub_repository.suggested('...')}") == "mika/lora"


# The card


def front(card: str) -> dict:
    return yaml.safe_load(card.partition("---\n")[2].partition("\n---\n")[0])


def test_the_card_has_what_the_hub_reads_and_what_a_person_needs(run):
    found = offer.offer(run, 10)
    card = found.card("openrail++", "stabilityai/stable-diffusion-xl-base-1.0")
    told = front(card)
    assert told["base_model"] == "stabilityai/stable-diffusion-xl-base-1.0"
    assert (told["base_model_relation"], told["license"], told["library_name"]) == (
        "adapter",
        "openrail++",
        "diffusers",
    )
    assert {"lora", "text-to-image", "template:sd-lora"} <= set(told["tags"])
    assert told["widget"] == [{"text": "portrait, high quality", "output": {"url": "images/prompt-1.png"}}]
    assert "10 of 20" in card
    assert "cg_mika-step00000010.safetensors" in card
    assert "license" not in front(found.card())
    assert str(run.folder.path) not in card
    with pytest.raises(RunError, match="not a licence"):
        found.card("my own")


def test_text_from_a_plan_is_text_in_the_card(tmp_path):
    run = ended(tmp_path)
    spec = json.loads((run.folder.path / "spec.json").read_text())
    evil = "x`\n---\nlicense: mit\n![a](http://e.vil/p.png) <script>"
    spec["details"]["plan"].setdefault("dataset", {})["trigger"] = evil
    (run.folder.path / "spec.json").write_text(json.dumps(spec))
    card = offer.offer(run).card()
    model_card.check(card)
    assert "license" not in front(card)
    assert "\nlicense: mit" not in card
    assert "![a](" not in card.replace(f"`{model_card.code(evil)}`", "").partition("\n---\n")[2]


@pytest.mark.parametrize(
    ("card", "words"),
    [("# no settings", "does not begin"), ("---\na: [1\n---\n", "not valid YAML"), ("---\n- a\n---\n", "not a table"), ("---\n" + "x" * 100_001, "characters")],
)  # fmt: skip
def test_a_card_that_the_hub_could_not_read_is_refused_before_the_upload(run, hub, card, words):
    tokens.remember("huggingface", hubs.WRITE)
    with pytest.raises(RunError, match=words):
        upload.start(offer.offer(run, 10).settings(REPO, card))


# The command line


def test_the_command_line_uploads_and_says_where_it_is(run, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", hubs.WRITE)
    shown = easel_says(run, "upload", "--step", "10", "--show-card")
    assert shown.output.startswith("---\n")
    card = tmp_path / "card.md"
    card.write_text(shown.output + "\nMy own words.\n")
    answer = easel_says(run, "upload", "--step", "10", "--repo", REPO, "--card", str(card), "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["address"].endswith(REPO)
    assert hub.repositories[REPO].files["README.md"].endswith(b"My own words.\n")
    refused = easel_says(run, "upload", "--step", "10", "--repo", "vera/x", "--json")
    assert refused.exit_code == 1
    assert "may not write" in str(refused.exception)
    assert hubs.WRITE not in refused.output + answer.output + str(refused.exception)
    assert easel_says(run, "upload").exit_code == 2


def test_what_an_upload_would_say_is_shown_before(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hubs.WRITE)
    answer = easel_says(run, "upload", "--step", "10", "--repo", REPO)
    assert "only you and your organisation can see it" in answer.output
    assert "easel.plan" in answer.output
    assert hub.requests == []


def test_a_checkpoint_that_is_not_known_to_be_usable_is_not_published(ends):
    with pytest.raises(RunError, match="not known to be usable"):
        offer.offer(ends["cut"], 10)
    assert isinstance(offer.offer(ends["cut"]).file, Path)
