"""What each image folder of a job trains, for people and programs: the same numbers as the estimate and the engine have."""

import json
from fractions import Fraction

import pytest
from click.testing import CliRunner
from PIL import Image

from trainer_core.cli import easel
from trainer_core.curation import selections
from trainer_core.errors import PlanError
from trainer_core.plan import fields, subsets
from trainer_core.prepare import image_folders, length
from trainer_core.prepare.workbench import Workbench


def folder(path, many, caption="", side=256):
    path.mkdir(parents=True)
    for number in range(many):
        Image.new("RGB", (side, side), (number * 20, 90, 90)).save(path / f"{number}.png")
        if caption and number:
            (path / f"{number}.txt").write_text(caption)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    folder(tmp_path / "mika", 6, "mika")
    folder(tmp_path / "10_red coat", 2)
    folder(tmp_path / "women", 3)
    folder(tmp_path / "masks", 2)
    return tmp_path


def bench(place, engine="kohya", **values):
    found = Workbench(engine=engine)
    found.set({"model.family": "sdxl", "dataset.path": str(place / "mika"), "dataset.trigger": "mika"})
    found.set({path.replace("__", "."): value for path, value in values.items()})
    return found


def three(place):
    return (
        {"path": str(place / "10_red coat"), "repeats": 10, "masks": str(place / "masks")},
        {"path": str(place / "women"), "kind": "regularisation", "caption": "a woman"},
    )


def test_each_folder_says_what_it_trains_and_together_they_are_the_steps_of_an_epoch(place):
    selections.keep(place / "mika", "best", ["1.png", "2.png", "3.png", "4.png"])
    found = bench(place, dataset__subsets=three(place), dataset__selection="best", dataset__validation_share=0.25)
    first, second, third = image_folders.parts(found.state, found.problems)
    assert (first.images, first.held_out, first.captions, first.used) == (3, 1, 3, 3)
    assert first.selections == {"best": 4}
    assert first.notes == ("selection best", "1 held out")
    assert (second.title, second.images, second.masks, second.used) == ("10_red coat", 1, 1, 10)
    assert third.folder.is_regularisation
    assert third.notes[0] == "class images"
    total = first.used + second.used + third.used
    assert f"= {total} images." in image_folders.epoch(found.state, (first, second, third))
    assert length.steps_of_epoch(found.state) is not None


def test_used_images_are_the_steps_of_an_epoch_with_one_image_a_step(place):
    for engine in ("kohya", "simpletuner"):
        found = bench(place, engine, dataset__subsets=({"path": str(place / "10_red coat"), "repeats": 10},))
        parts = image_folders.parts(found.state, ())
        assert [part.used for part in parts] == [6, 20]
        assert length.steps_of_epoch(found.state) == Fraction(26)


def test_changes_of_the_list_leave_the_other_folders_as_they_are(place):
    found = bench(place, dataset__subsets=three(place))
    before = found.state.draft.values[subsets.LIST]
    found.set(image_folders.copied(found.state, 0))
    found.set(image_folders.changed(found.state, 1, "resolution", 512))
    assert found.state.draft.values[subsets.LIST] == (before[0], {**before[0], "resolution": 512}, before[1])
    found.set(image_folders.removed(found.state, 1))
    assert found.state.draft.values[subsets.LIST] == before
    found.set(image_folders.added(found.state, [image_folders.entry(f'"{place / "3_hat"}"')], 0))
    assert found.state.draft.values[subsets.LIST][0] == {"path": str(place / "3_hat"), "repeats": 3, "caption": "hat"}
    for wrong in (
        lambda: image_folders.removed(found.state, 9),
        lambda: image_folders.copied(found.state, -1),
        lambda: image_folders.changed(found.state, 0, "index", 3),
        lambda: image_folders.changed(found.state, 0, "repeats", "three"),
        lambda: image_folders.changed(found.state, 0, "path", ""),
        lambda: image_folders.added(found.state, [{"path": "/x"}] * 64),
    ):
        with pytest.raises(PlanError):
            wrong()


def test_everything_that_a_folder_can_have_is_described_and_offered_only_where_it_has_an_effect(place):
    assert list(fields.folder_fields()) == list(subsets.Subset.model_fields)
    assert all(one.doc and one.title for one in fields.folder_fields().values())
    offered = {engine: set(image_folders.offered(bench(place, engine).state)) for engine in ("kohya", "simpletuner")}
    assert {"alpha_masks", "caption_choices", "validation_share"} <= offered["kohya"] - offered["simpletuner"]
    assert {"repeats", "resolution", "kind", "masks"} <= offered["kohya"] & offered["simpletuner"]
    full = bench(place, model__method="full")
    assert "kind" not in image_folders.offered(full.state)


def test_a_selection_file_that_is_damaged_has_no_selections(place):
    file = selections.contents.own_folder(place / "mika") / "selections.json"
    for text in ("{", "[]", '{"selections": 3}', '{"selections": {"a": 3}}'):
        file.write_text(text)
        assert bench(place).state.facts.dataset.selections == {}


def test_the_command_line_prints_the_folders_and_their_numbers(place):
    told = json.dumps(three(place))
    arguments = ["plan", "--dataset", str(place / "mika"), "--trigger", "mika", "--set", "model.family=sdxl"]
    shown = CliRunner().invoke(easel, [*arguments, "--set", f"dataset.subsets={told}", "--json"])
    found = json.loads(shown.output)["image_folders"]
    assert [(one["kind"], one["images"], one["repeats"]) for one in found] == [
        ("images", 6, found[0]["repeats"]),
        ("images", 2, 10),
        ("regularisation", 3, 1),
    ]
    plain = CliRunner().invoke(easel, [*arguments, "--set", f"dataset.subsets={told}"]).output
    assert "--- image folders" in plain
    assert "10_red coat" in plain
    assert "--- image folders" not in CliRunner().invoke(easel, arguments).output
