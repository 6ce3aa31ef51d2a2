"""`easel dataset list`, `score`, `select`, `check`, `stats` and `dedupe` in a terminal: what is in a dataset, and what is worth a look."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from tests.support.scenes import drawn
from tests.support.scenes import natural as scene
from trainer_core.cli import easel
from trainer_core.errors import DatasetError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    place = tmp_path / "images"
    place.mkdir()
    scene(1, (600, 400)).save(place / "good.png")
    scene(2, (400, 600)).filter(ImageFilter.GaussianBlur(9)).save(place / "soft.png")
    scene(3, (1200, 200)).save(place / "wide.png")
    (place / "good.txt").write_text("a bridge, fog, sks")
    (place / "soft.txt").write_text("a tree, oil painting, sks")
    return place


def run(*arguments):
    return CliRunner().invoke(easel, ["dataset", *map(str, arguments)], catch_exceptions=False)


def told(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.output) if "--json" in arguments else done.output


def test_images_are_listed_by_a_filter_and_in_an_order(folder):
    found = told("list", folder, "--filter", "tag:sks", "--sort", "mp", "--descending", "--json")
    assert [one["path"] for one in found["images"]] == ["good.png", "soft.png"]
    assert found["total"] == 3
    assert found["images"][0]["caption"] == "a bridge, fog, sks"
    assert found["images"][0]["scores"] == {}
    told("score", folder)
    found = told("list", folder, "--filter", "score.blur:<3", "--json")
    assert [one["path"] for one in found["images"]] == ["soft.png"]
    assert "1 of 3 images fits." in told("list", folder, "--filter", "is:uncaptioned")


def test_a_filter_that_is_not_understood_says_where(folder):
    with pytest.raises(DatasetError, match="character 1") as error:
        run("list", folder, "--filter", "colour:red")
    assert "caption:" in error.value.hint


def test_a_selection_that_a_dataset_does_not_have_is_a_mistake(folder):
    told("select", folder, "--filter", "tag:sks", "--save", "mine")
    for arguments in (
        ("list", folder, "--filter", "in:nope"),
        ("select", folder, "--filter", "in:nope", "--save", "x"),
    ):
        with pytest.raises(DatasetError, match="no selection 'nope'") as error:
            run(*arguments)
        assert error.value.hint == "There are: mine."


def test_the_fields_of_a_filter_are_listed():
    assert "score.blur:" in told("list", "--fields")
    assert {"name": "tags", "help": "tags of the caption", "example": "tags:>=13", "values": []} in told("list", "--fields", "--json")["fields"]  # fmt: skip


def test_the_quality_is_measured_and_thresholds_can_be_moved(folder):
    assert "Blurred: no part of it is sharp" in told("score", folder)
    found = told("score", folder, "--json")
    assert found["images"]["soft.png"]["findings"] == {"blurred": "found"}
    assert found["counts"]["blurred"]["found"] == 1
    assert told("score", folder, "--threshold", "blurred=1000", "--json")["counts"]["blurred"]["found"] == 3
    assert run("score", folder, "--threshold", "nice=1").exit_code == 2
    assert run("score", folder, "--threshold", "blurred=x").exit_code == 2
    for value in ("blurred=nan", "blurred=inf", "blurred=-inf", "blurred=-1", "dark=300", "barred=1.5", "soft=2"):
        with pytest.raises(DatasetError, match=r"The threshold of .* cannot be") as error:
            run("score", folder, "--threshold", value)
        assert "is a number: " in error.value.hint
    assert run("score", folder, "--threshold", "soft=-2").exit_code == 0
    assert "log" in told("score", "--measures")
    assert len(told("score", "--measures", "--json")["findings"]) == 8


def test_what_cannot_be_read_of_the_selections_is_said(folder):
    file = folder / ".easel" / "selections.json"
    note = "selections.json is damaged: it is not JSON."
    for arguments in (("list", folder), ("select", folder), ("select", folder, "--filter", "", "--save", "all")):
        file.parent.mkdir(exist_ok=True)
        file.write_text("{")
        assert note in told(*arguments)
        file.write_text("{")
        assert told(*arguments, "--json")["notes"] == [note]
    assert told("select", folder, "--json")["notes"] == []


def test_selections_are_kept_and_rejected_images_set_aside(folder):
    told("select", folder, "--filter", "tag:sks", "--save", "mine")
    told("select", folder, "--filter", "name:soft*", "--choose", "reject")
    told("select", folder, "--rename", "mine", "best")
    found = told("select", folder, "--json")
    assert found["selections"] == {"best": ["good.png", "soft.png"]}
    assert found["choices"] == {"soft.png": "reject"}
    assert [one["path"] for one in told("list", folder, "--filter", "in:best is:reject", "--json")["images"]] == [
        "soft.png"
    ]
    assert "images_rejected" in told("select", folder, "--set-aside")
    assert not (folder / "soft.png").exists()
    assert (folder.with_name("images_rejected") / "soft.txt").read_text() == "a tree, oil painting, sks"
    assert told("select", folder, "--json")["gone"] == ["soft.png"]
    told("undo", folder)
    assert (folder / "soft.png").exists()
    told("select", folder, "--filter", "", "--choose", "undecided")
    told("select", folder, "--remove", "best")
    assert "There are no selections." in told("select", folder)
    assert run("select", folder, "--save", "mine").exit_code == 2
    assert run("select", folder, "--filter", "x").exit_code == 2


def test_the_check_names_images_worth_a_look_and_captions_for_a_style(folder):
    said = told("check", folder, "--trigger", "sks", "--style")
    assert "1 image (soft.png): no part of it is sharp." in said
    assert "1 image (soft.png): the caption names brushwork or technique: oil painting." in said
    found = told("check", folder, "--trigger", "sks", "--style", "--json")
    assert found["quality"] == {"soft.png": {"blurred": "found"}}
    assert [one["path"] for one in found["style"]] == ["soft.png"]
    told("edit", folder, "--for-style", "--trigger", "sks")
    assert (folder / "soft.txt").read_text() == "a tree, sks"
    assert (folder / "good.txt").read_text() == "a bridge, fog, sks"
    assert told("check", folder, "--trigger", "sks", "--style", "--json")["style"] == []


def test_a_second_check_reads_no_image_again(folder, monkeypatch):
    first = told("check", folder, "--json")
    loaded = []
    monkeypatch.setattr(Image.Image, "load", loaded.append)
    assert told("check", folder, "--json") == first
    assert loaded == []


def test_the_figures_name_what_is_cropped_and_what_falls_off(folder):
    (folder / "wide.txt").write_text(", ".join(f"tag{number}" for number in range(40)))
    found = told("stats", folder, "--resolution", 512, "--json")
    worst = found["placements"][0]
    assert (worst["name"], worst["bucket"], worst["lost"] > 0.2) == ("wide.png", [1024, 256], True)
    assert found["too_long"]["wide.png"]["tag"] == "tag21"
    said = told("stats", folder, "--resolution", 512)
    assert "1 caption is longer than 75 tokens" in said
    assert "Tokens are estimated" in said
    assert "wide.png" in said
    flux = told("stats", folder, "--family", "flux", "--json")
    assert flux["token_limit"] == 512
    assert "estimated from the words" in flux["tokens_are"]


def test_crops_are_asked_about(folder):
    drawn(5).save(folder / "whole.png")
    drawn(5).crop((30, 20, 460, 345)).save(folder / "part.png")
    assert "Is part.png a part of whole.png (about " in told("dedupe", folder, "--crops")
    assert [one["path"] for one in told("dedupe", folder, "--crops", "--move-out", "--json")["crops"]] == ["part.png"]
    assert (folder / "part.png").exists()
    assert "part.png" not in told("dedupe", folder)
