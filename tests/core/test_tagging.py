"""Tagging as a job: each family gets the input it expects, results are kept, and nothing is tagged twice."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import taggers as tiny
from trainer_core.captioning import fetching, labels, preprocessing, progress, storage, taggers, tagging
from trainer_core.errors import DatasetError
from trainer_core.jobs.state import JobState

LIMIT_S = 60
COLOUR = (51, 255, 102)


@pytest.fixture
def home(tmp_path, monkeypatch):
    installed = tiny.environment()
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    tiny.in_home(tmp_path / "home", installed)
    return tmp_path / "home"


@pytest.fixture
def images(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    return root


def ran(root: Path, model: str, folder: Path, **more):
    job = tagging.start(tagging.Settings(dataset=str(root), model=model, folder=str(folder), **more))
    job.wait(LIMIT_S)
    return job


def values(found):
    return {each.name: each.value for each in found}


@pytest.mark.parametrize("model", list(taggers.taggers()))
def test_each_family_gets_the_channels_scale_padding_and_layout_that_it_expects(
    model, home, images, tmp_path, monkeypatch
):
    """A swap of red and blue, a division by 255, or another padding gives other probabilities."""
    row, folder = taggers.get(model), tiny.write(model, tmp_path / "model")
    Image.new("RGB", (16, 16), COLOUR).save(images / "square.png")
    Image.new("RGB", (8, 16), COLOUR).save(images / "tall.png")
    clear = Image.new("RGBA", (16, 16), (*COLOUR, 0))
    clear.save(images / "clear.png")
    settings = tagging.Settings(dataset=str(images), model=model, folder=str(folder))
    # The program of the job, without its supervisor.
    monkeypatch.chdir(tmp_path)
    tagging.run(settings)
    found = tagging.known(settings)

    def shares(path, colour):
        wanted = tiny.expected(row, *(each / 255 for each in colour))
        assert {name: values(found[path])[name] for name in wanted if wanted[name] >= 0.05} == pytest.approx(
            {name: value for name, value in wanted.items() if value >= 0.05}, abs=0.02
        )

    shares("square.png", COLOUR)
    shares("clear.png", (255, 255, 255))
    background = row.preparation.background
    padded = [(one + other) / 2 for one, other in zip(COLOUR, background, strict=True)]
    shares("tall.png", padded if row.preparation.fit == "pad" else COLOUR)
    edge = 1 / (
        1 + np.exp(tiny.FACTOR / 2 - tiny.FACTOR * (background[0] if row.preparation.fit == "pad" else COLOUR[0]) / 255)
    )
    # The image is in the middle of the square, so its left edge is background.
    assert values(found["tall.png"]).get("left_edge", 0) == pytest.approx(edge if edge >= 0.05 else 0, abs=0.02)
    assert found["square.png"][0].value == max(values(found["square.png"]).values())
    assert {each.category for each in found["square.png"]} >= {"general", "character"}


def test_an_image_that_is_stored_rotated_is_tagged_upright(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    image = Image.new("RGB", (16, 16), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 16, 2))
    exif = Image.Exif()
    exif[0x0112] = 8  # the top of the stored image is the left edge of the shown one
    image.save(images / "rotated.png", exif=exif)
    image.save(images / "plain.png")
    ran(images, "wd-vit-tagger-v3", folder)
    found = tagging.known(tagging.Settings(dataset=str(images), model="wd-vit-tagger-v3", folder=str(folder)))
    assert values(found["rotated.png"])["left_edge"] > 0.9
    assert values(found["plain.png"])["left_edge"] < 0.3


def test_nothing_is_tagged_twice_and_a_renamed_image_keeps_its_tags(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    for number in range(5):
        Image.new("RGB", (8, 8), (50 * number, 0, 0)).save(images / f"{number}.png")
    ran(images, "wd-vit-tagger-v3", folder)
    database = sqlite3.connect(storage.place())
    before = database.execute("SELECT sha256, time FROM tags ORDER BY sha256").fetchall()
    (images / "0.png").rename(images / "renamed.png")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(images / "new.png")
    job = ran(images, "wd-vit-tagger-v3", folder)
    after = database.execute("SELECT sha256, time FROM tags ORDER BY sha256").fetchall()
    assert set(before) < set(after)
    assert len(after) == 6
    settings = tagging.Settings(dataset=str(images), model="wd-vit-tagger-v3", folder=str(folder))
    assert set(tagging.known(settings)) == {"1.png", "2.png", "3.png", "4.png", "new.png", "renamed.png"}
    assert job.state is JobState.COMPLETED
    assert job.summary.step == job.summary.total == 6


def test_probabilities_below_the_least_are_not_kept(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(images / "red.png")
    ran(images, "wd-vit-tagger-v3", folder)
    found = tagging.known(tagging.Settings(dataset=str(images), model="wd-vit-tagger-v3", folder=str(folder)))
    assert "green_eyes" not in values(found["red.png"])
    assert min(values(found["red.png"]).values()) >= 0.05


def test_a_damaged_image_is_named_and_the_others_are_tagged(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    for number in range(3):
        Image.new("RGB", (64, 64), (50 * number, 0, 0)).save(images / f"{number}.png")
    whole = (images / "0.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "page.jpg").write_text("<html>")
    job = ran(images, "wd-vit-tagger-v3", folder)
    assert job.state is JobState.COMPLETED
    assert {path for path, _ in progress.failures(job.folder)} == {"cut.png", "page.jpg"}
    assert "2 images were left out" in job.result["notices"][0]
    assert job.summary.step == 3


def test_it_says_where_it_runs_and_how_long_the_rest_takes(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(images / f"{number}.png")
    job = ran(images, "wd-vit-tagger-v3", folder)
    assert "Running on the CPU: about 1 s for 3 more images." in (job.folder.path / "engine.log").read_text()


@pytest.mark.parametrize("wrong", ["layout", "labels", "output", "no model"])
def test_a_model_that_does_not_fit_its_row_is_refused_with_a_reason(wrong, home, images, tmp_path):
    folder = tmp_path / "model"
    Image.new("RGB", (8, 8)).save(images / "0.png")
    model = "cl-tagger-1-02" if wrong == "layout" else "pixai-tagger-v0-9"
    row = taggers.get(model)
    tiny.write(model, folder)
    if wrong == "layout":
        tiny.write("wd-vit-tagger-v3", tmp_path / "other")
        (tmp_path / "other" / "model.onnx").replace(folder / row.model)
    elif wrong == "output":
        tiny.write("camie-tagger-initial", tmp_path / "other")
        (tmp_path / "other" / taggers.get("camie-tagger-initial").model).replace(folder / row.model)
    elif wrong == "labels":
        with (folder / row.labels).open("a") as file:
            file.write("99,one_more,0,1\n")
    else:
        (folder / row.model).write_bytes(b"<html>not a model</html>")
    job = ran(images, model, folder)
    assert job.state is JobState.FAILED
    told = job.result["diagnosis"]["cause"]
    wanted = {
        "layout": "NCHW",
        "labels": "tags, but its list has",
        "output": "no output",
        "no model": "cannot run this model",
    }
    assert wanted[wrong] in told


def test_a_stopped_job_keeps_what_it_has_done_and_the_next_one_goes_on(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    pixels = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(pixels.integers(0, 255, (900, 900, 3), "uint8")).save(
            images / f"{number:02}.png", compress_level=1
        )
    job = tagging.start(tagging.Settings(dataset=str(images), model="wd-vit-tagger-v3", folder=str(folder)))
    until = time.monotonic() + LIMIT_S
    while job.summary.step < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert job.stop() is JobState.CANCELLED
    settings = tagging.Settings(dataset=str(images), model="wd-vit-tagger-v3", folder=str(folder))
    done = len(tagging.known(settings))
    assert 3 <= done < 60
    again = ran(images, "wd-vit-tagger-v3", folder)
    assert again.state is JobState.COMPLETED
    assert len(tagging.known(settings)) == 60
    said = (again.folder.path / "engine.log").read_text()
    assert f"Tagged {done} of 60" in said


def test_a_worker_that_is_killed_is_started_again(home, images, tmp_path):
    import psutil

    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    pixels = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(pixels.integers(0, 255, (900, 900, 3), "uint8")).save(
            images / f"{number:02}.png", compress_level=1
        )
    job = tagging.start(tagging.Settings(dataset=str(images), model="wd-vit-tagger-v3", folder=str(folder)))
    until = time.monotonic() + LIMIT_S
    while job.summary.step < 3 and time.monotonic() < until:
        time.sleep(0.02)
    mine = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(job.folder.path) in word and word.endswith("task.json") for word in process.info["cmdline"] or ())
    ]
    assert len(mine) == 1
    os.kill(mine[0].pid, 9)
    assert job.wait(LIMIT_S) is JobState.COMPLETED
    assert job.summary.step == 40
    assert "is started again" in (job.folder.path / "engine.log").read_text()


def test_the_dataset_is_not_changed_by_tagging(home, images, tmp_path):
    folder = tiny.write("wd-vit-tagger-v3", tmp_path / "model")
    Image.new("RGB", (8, 8)).save(images / "0.png")
    ran(images, "wd-vit-tagger-v3", folder)
    assert [path.name for path in images.rglob("*")] == ["0.png"]


def test_a_damaged_cache_is_set_aside(tmp_path):
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database" * 100)
    kept = storage.Storage(path)
    kept.keep_tags("a", "m", [(0, 0.5)])
    assert kept.tagged(["a"], "m") == {"a"}
    assert (tmp_path / "cache.sqlite.damaged").exists()


def test_an_image_that_was_changed_is_another_image_also_with_the_same_size(tmp_path):
    kept = storage.Storage(tmp_path / "cache.sqlite")
    path = tmp_path / "image.png"
    path.write_bytes(b"one")
    first = kept.identity(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert kept.identity(path) != first
    assert kept.identity(tmp_path / "missing.png") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tag_id,name\n1,a\n",
        "{}",
        "[1, 2]",
        '{"0": {"tag": "a"}}',
        '{"-1": {"tag": "a", "category": "General"}}',
        "\0",
    ],
)
@pytest.mark.parametrize("model", ["wd-vit-tagger-v3", "cl-tagger-1-02", "camie-tagger-v2"])
def test_a_list_of_tags_that_is_wrong_is_refused(model, text, tmp_path):
    path = tmp_path / "labels"
    path.write_text(text)
    with pytest.raises(DatasetError):
        labels.read(path, taggers.get(model))


def test_a_tag_cannot_become_two_and_carries_no_control_characters(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text('tag_id,name,category\n1,"one, two\nthree\x1b[31m",0\n2,b,77\n')
    found = labels.read(path, taggers.get("wd-vit-tagger-v3"))
    assert [each.category for each in found] == ["general", ""]
    assert not set(found[0].name) & set(",\n\x1b")


@pytest.mark.parametrize(
    "stage",
    [
        {"type": "rotate"},
        {"type": "resize", "size": 448},
        {"type": "resize", "size": [448, 224]},
        {"type": "resize", "size": [448, 448], "interpolation": "cubist"},
        {"type": "center_crop", "size": [224, 224]},
        {"type": "normalize", "mean": [0, 0, 0], "std": [1, 0, 1]},
        {"type": "normalize", "mean": [0], "std": [1]},
        {"size": 3},
    ],
)
def test_a_preparation_that_easel_does_not_do_is_refused(stage, tmp_path):
    path = tmp_path / "preprocess.json"
    path.write_text(json.dumps({"stages": [{"type": "convert_rgb"}, stage]}))
    with pytest.raises(DatasetError, match="PixAI"):
        preprocessing.read(path, taggers.get("pixai-tagger-v0-9"))


def test_what_the_model_file_says_of_its_input_takes_precedence(tmp_path):
    path = tmp_path / "preprocess.json"
    stages = [
        {"type": "pad_to_size", "size": [384, 384], "background_color": "black", "interpolation": "bilinear"},
        {"type": "normalize", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]},
    ]
    path.write_text(json.dumps({"stages": stages}))
    found = preprocessing.read(path, taggers.get("pixai-tagger-v0-9"))
    assert (found.side, found.fit, found.background, found.resample) == (384, "pad", (0, 0, 0), "bilinear")
    assert (found.mean, found.deviation) == ((0.1, 0.2, 0.3), (1, 2, 3))


def test_each_row_can_be_fetched_by_its_id():
    for row in taggers.taggers().values():
        assert fetching.row_of(row.id) is row
        assert row.terms
        assert set(row.categories.values()) <= set(taggers.CATEGORIES)
        assert set(row.thresholds) <= set(row.categories.values())
