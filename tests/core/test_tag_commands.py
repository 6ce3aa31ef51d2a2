"""`easel dataset tag`, `caption` and `taggers`, and the fetching of a tagger, as a person types them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.support import chat_server, easel_program, hub_server
from tests.support import taggers as tiny
from tests.support.chat_server import FINE, MODEL, QUESTION
from trainer_core.captioning import taggers
from trainer_core.curation import authors
from trainer_core.curation.journal import Journal

TAGGER = "wd-vit-tagger-v3"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def easel(*words: object, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EASEL_HOME": str(home), **variables}
    return easel_program.easel(*words, environment=environment)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path):
    found = tmp_path / "images"
    found.mkdir()
    for number, name in enumerate(("red", "mine")):
        Image.new("RGB", (8, 8), (255, 0, number)).save(found / f"{name}.png")
    (found / "mine.txt").write_text("written by hand")
    return found


def test_tags_are_shown_then_written_then_taken_back(root, home, tmp_path):
    tiny.in_home(home, tiny.environment())
    model = ("--model", TAGGER, "--model-folder", tiny.write(TAGGER, tmp_path / "model"))
    shown = easel("dataset", "tag", root, *model, "--json", "--threshold", "0.5", home=home)
    found = json.loads(shown.stdout)
    assert (shown.returncode, found["tagged"], found["edit"]) == (0, 2, None)
    assert found["counts"] == {"empty": 1, "machine": 1, "all": 2}
    assert not (root / "red.txt").exists()
    again = json.loads(easel("dataset", "tag", root, *model, "--json", home=home).stdout)
    assert again["job"] is None
    options = ("--apply", "--trigger", "ohwx", "--without", "^_^", "--threshold", "character=no")
    written = easel("dataset", "tag", root, *model, *options, home=home)
    assert written.returncode == 0, written.stdout + written.stderr
    assert "1 file." in written.stdout
    assert "1 other caption stays" in written.stdout
    assert (root / "red.txt").read_text() == "ohwx, brown hair, left edge"
    assert (root / "mine.txt").read_text() == "written by hand"
    assert authors.of(root) == {"red.txt": TAGGER}
    assert easel("dataset", "undo", root, home=home).returncode == 0
    assert not (root / "red.txt").exists()


def test_problems_before_the_start_exit_with_3_and_name_the_command(root, home):
    found = easel("dataset", "tag", root, "--json", home=home)
    assert found.returncode == 3
    problems = json.loads(found.stdout)["problems"]
    assert {each["fix"]["command"] for each in problems} == {"easel tools fetch-captioner --model wd-swinv2-tagger-v3"}
    assert easel("dataset", "tag", root, "--model", "typo", home=home).returncode in (2, 3)
    wrong = easel("dataset", "tag", root, "--threshold", "much", home=home)
    assert wrong.returncode in (2, 3)
    assert not (home / "jobs").exists()


def test_captions_of_an_endpoint_are_shown_and_written(root, home):
    with chat_server.running() as server:
        server.wanted["mine"] = ["refusal"]
        words = (
            "--endpoint",
            server.url,
            "--model",
            MODEL,
            "--question",
            QUESTION,
            "--for",
            "style",
            "--trigger",
            "style_16",
        )
        listed = easel("dataset", "caption", "--endpoint", server.url, "--models", home=home)
        assert listed.stdout.split() == [MODEL, "other-vl"]
        assert server.asked == []
        shown = json.loads(easel("dataset", "caption", root, *words, "--json", home=home).stdout)
        assert shown["marks"] == {"refusal": 1}
        assert list(shown["marked"]) == ["mine.png"]
        written = easel("dataset", "caption", root, *words, "--apply", "--write", "all", home=home)
    assert written.returncode == 0, written.stdout + written.stderr
    assert "mine.png is not written: the model refuses." in written.stdout
    assert (root / "red.txt").read_text() == FINE.rstrip(".") + ", style_16"
    assert (root / "mine.txt").read_text() == "written by hand"
    assert sorted(server.asked) == ["mine", "red"]
    assert Journal(root).edits()[-1].author == f"endpoint {MODEL}"


def test_another_machine_gets_images_only_after_its_host_was_typed(root, home):
    found = easel("dataset", "caption", root, "--endpoint", "captions.example.com", "--model", "m", home=home)
    assert found.returncode == 3
    assert "they are sent to captions.example.com" in found.stdout
    assert "--send-to captions.example.com" in found.stdout


def test_the_list_of_taggers_tells_their_terms(home):
    rows = json.loads(easel("dataset", "taggers", "--json", home=home).stdout)
    assert {TAGGER, "florence-2-base"} <= {row["model"] for row in rows}
    assert all(row["terms"] and not row["is_here"] for row in rows)


def test_one_command_fetches_a_tagger_and_its_files_are_checked(home, tmp_path):
    tiny.in_home(home, tiny.environment())
    folder = tiny.write(TAGGER, tmp_path / "model")
    row, commit = taggers.get(TAGGER), "0" * 40
    files = {name: (folder / name).read_bytes() for name in row.files}
    listed = [
        {"rfilename": name, "size": len(data), "lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 1}}
        for name, data in files.items()
    ]
    about = json.dumps({"id": row.repository, "sha": commit, "siblings": listed}).encode()
    served = {f"/{row.repository}/resolve/{commit}/{name}": data for name, data in files.items()}
    served[f"/api/models/{row.repository}?blobs=true"] = about
    with hub_server.serving(served) as address:
        found = easel("tools", "fetch-captioner", "--model", TAGGER, "--json", home=home, HF_ENDPOINT=address)
    assert found.returncode == 0, found.stdout + found.stderr
    where = Path(json.loads(found.stdout)["path"])
    assert {name: (where / name).read_bytes() for name in row.files} == files
    assert home in where.parents
    served[f"/{row.repository}/resolve/{commit}/model.onnx"] = b"x" * len(files["model.onnx"])
    other = tmp_path / "other"
    tiny.in_home(other, tiny.environment())
    with hub_server.serving(served) as address:
        broken = easel("tools", "fetch-captioner", "--model", TAGGER, home=other, HF_ENDPOINT=address)
    assert broken.returncode == 1
    assert "is not the file that was published" in broken.stderr + broken.stdout
    assert not list((other / "models").rglob("model.onnx"))
