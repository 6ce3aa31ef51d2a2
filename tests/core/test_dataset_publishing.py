"""A dataset is copied out in the layout of the Hub and uploaded there: privately, whole or not at all, without what images tell."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

from tests.support import hub as hubs
from tests.support.incoming import files, folder, png
from tests.support.played import LIMIT_S
from trainer_core.cli import easel
from trainer_core.curation import authors, exporting, importing
from trainer_core.curation.journal import Change, Journal
from trainer_core.errors import DownloadError, RunError
from trainer_core.jobs.state import JobState
from trainer_core.models import tokens
from trainer_core.publishing import dataset_card, dataset_upload

REPO = "mika/cats"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "*")
    for name in tokens.SITES["huggingface"].names:
        monkeypatch.delenv(name, raising=False)
    with hubs.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
    tokens.forget("huggingface")


@pytest.fixture
def root(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret prompt")
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG", pnginfo=info)
    made = folder(
        tmp_path / "cats", **{"a.png": file.getvalue(), "10_x/b.png": png("red"), "10_x/b.txt": "ohwx, caf\u00e9 \U0001f469\u200d\U0001f680", "old.gif": b"GIF89a"}
    )  # fmt: skip
    Journal(made).apply("tag", "Tag", [Change("a.txt", b"ohwx, a cat")], author="wd-vit-tagger-v3")
    Journal(made).apply("edit", "Edit", [Change("c.txt", b"mine")])
    (made / "c.png").write_bytes(png("blue"))
    return made


def uploaded(root, repo=REPO, text=hubs.WRITE, **more):
    tokens.remember("huggingface", text)
    card = dataset_card.draft(root, trigger="ohwx", licence="mit")
    job = dataset_upload.start(dataset_upload.Settings(repo=repo, folder=str(root), card=card, **more))
    job.wait(LIMIT_S)
    told = b"".join(path.read_bytes() for path in job.folder.path.rglob("*") if path.is_file())
    assert text.encode() not in told
    return job


def table(data):
    return {row["file_name"]: row["text"] for row in map(json.loads, data.decode().splitlines())}


def test_an_upload_is_private_whole_and_without_what_images_tell(hub, root):
    job = uploaded(root)
    assert job.state is JobState.COMPLETED, job.result
    made = hub.repositories[REPO]
    assert (made.kind, made.private) == ("dataset", True)
    assert sorted(made.files) == ["10_x/b.png", "README.md", "a.png", "c.png", "metadata.jsonl"]
    assert table(made.files["metadata.jsonl"]) == {"10_x/b.png": "ohwx, caf\u00e9 \U0001f469\u200d\U0001f680", "a.png": "ohwx, a cat", "c.png": "mine"}  # fmt: skip
    assert b"secret" not in made.files["a.png"]
    assert Image.open(io.BytesIO(made.files["a.png"])).getpixel((1, 1)) == Image.open(root / "a.png").getpixel((1, 1))
    assert not (job.folder.path / dataset_upload.COPY).exists()
    assert job.result["outputs"][0].endswith(f"/datasets/{REPO}")
    assert "old.gif is left out" in (job.folder.path / "engine.log").read_text()
    assert os.environ.get("HF_TOKEN") is None


def test_the_card_says_who_wrote_the_captions(root):
    card = dataset_card.draft(root, trigger="ohwx", licence="mit")
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["pretty_name"], front["task_categories"]) == ("mit", "cats", ["text-to-image"])
    assert front["size_categories"] == ["n<1K"]
    assert authors.counted(root) == {"wd-vit-tagger-v3": 1, "user": 1, "": 1}
    for line in ("| `wd-vit-tagger-v3` | 1 |", "| a person | 1 |", "| not known | 1 |", "use `ohwx`"):
        assert line in card
    (root / "a.txt").write_text("changed elsewhere")
    assert authors.counted(root) == {"user": 1, "": 2}
    with pytest.raises(RunError, match="not a licence"):
        dataset_card.draft(root, licence="mine")


def test_a_card_that_is_there_stays_and_a_public_repository_is_refused(hub, root):
    hub.repositories[REPO] = hubs.Repository(True, {"README.md": b"theirs"}, "dataset")
    assert uploaded(root).state is JobState.COMPLETED
    assert hub.repositories[REPO].files["README.md"] == b"theirs"
    uploaded(root, replaces_card=True)
    assert b"ohwx" in hub.repositories[REPO].files["README.md"]
    hub.repositories["mika/seen"] = hubs.Repository(False, {}, "dataset")
    job = uploaded(root, repo="mika/seen")
    assert job.state is JobState.FAILED
    assert "is public" in job.result["diagnosis"]["cause"]
    assert hub.repositories["mika/seen"].files == {}


def test_a_failed_upload_publishes_nothing_and_says_why(hub, root):
    hub.broken = "/commit/"
    assert uploaded(root).state is JobState.FAILED
    assert hub.repositories[REPO].files == {}
    hub.broken = ""
    job = uploaded(root, text=hubs.READ)
    assert "may not write" in job.result["diagnosis"]["cause"]
    with pytest.raises(DownloadError, match="no longer there"):
        dataset_upload.start(dataset_upload.Settings(repo=REPO, folder=str(root / "gone"), card=""))


def test_a_copy_in_the_layout_of_the_hub_comes_back_as_it_was(root, tmp_path):
    target = tmp_path / "copy.zip"
    found = exporting.export(root, target, exporting.Form(layout="hub", card="---\n{}\n---\n"))
    assert (found.images, found.captions) == (4, 3)
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == ["10_x/b.png", "README.md", "a.png", "c.png", "metadata.jsonl", "old.gif"]
    importing.add(tmp_path / "again", [target])
    assert files(tmp_path / "again") == files(root)
    for name in files(root):
        assert (tmp_path / "again" / name).read_bytes() == (root / name).read_bytes()


def test_a_preview_tells_what_would_go_along(root):
    seen = exporting.preview(root)
    assert (seen.images, seen.captions) == (4, 3)
    assert seen.told == (("a.png", "how it was generated"),)
    assert seen.folders == ("10_x",)
    assert seen.kept == ("old.gif",)


def test_a_large_image_is_not_read_into_memory(tmp_path):
    root = folder(tmp_path / "d", **{"a.png": png("red")})
    (root / "b.png").write_bytes(png("blue") + bytes(64 << 20))
    tracemalloc.start()
    for target in ("copy", "copy.zip"):
        exporting.export(root, tmp_path / target)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    assert (tmp_path / "copy" / "b.png").read_bytes() == (root / "b.png").read_bytes()


def test_the_command_line_shows_what_goes_along_before_it_asks(hub, root):
    tokens.remember("huggingface", hubs.WRITE)
    shown = CliRunner().invoke(easel, ["dataset", "upload", str(root), "--repo", REPO], input="n\n")
    assert shown.exit_code == 1
    for words in ("only you", "1 image tells more than its pixels", "how it was generated", "old.gif", "10_x"):
        assert words in " ".join(shown.output.split()), shown.output
    assert hub.repositories == {}
    card = CliRunner().invoke(easel, ["dataset", "upload", str(root), "--show-card", "--trigger", "ohwx"])
    assert "use `ohwx`" in card.output
    done = CliRunner().invoke(easel, ["dataset", "upload", str(root), "--repo", REPO, "--yes", "--json"])
    assert json.loads(done.output)["address"].endswith(f"/datasets/{REPO}"), done.output
    assert "metadata.jsonl" in hub.repositories[REPO].files
