"""Several image folders from the plan to the run: read, checked, counted, staged, continued, and never published."""

import json
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from tests.support import engine_plans, played
from trainer_core.datasets import holding_out, selected
from trainer_core.datasets.scan import scan
from trainer_core.engines import batches, registry
from trainer_core.errors import DatasetError
from trainer_core.estimate import estimate
from trainer_core.plan import fields, subsets
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare.image_folders import held_out
from trainer_core.prepare.workbench import Workbench
from trainer_core.training import image_folders, resume
from trainer_core.training.metadata.shared import shared
from trainer_core.training.run import Run

KOHYA = registry.get("kohya")


def folder(path: Path, many: int, *, caption: str = "", side: int = 256) -> Path:
    path.mkdir(parents=True)
    for number in range(many):
        Image.new("RGB", (side, side), (number * 20, 90, 90)).save(path / f"{number}.png")
        if caption:
            (path / f"{number}.txt").write_text(caption)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    folder(tmp_path / "mika", 3, caption="mika")
    folder(tmp_path / "10_red coat", 2)
    return tmp_path


def bench(place, engine="kohya", **values):
    found = Workbench(engine=engine)
    found.set({"model.family": "sdxl", "dataset.path": str(place / "mika"), "dataset.trigger": "mika"})
    found.set({path.replace("__", "."): value for path, value in values.items()})
    return found


def said(found, path="dataset.subsets", severity="error"):
    return [problem.message for problem in found.problems if (problem.path, problem.severity) == (path, severity)]


def test_a_line_of_text_is_a_folder_and_its_name_says_repeats_and_caption(place):
    value, problem = fields.from_text("dataset.subsets", f"{place / '10_red coat'}\n/images/01_day")
    assert problem == ""
    assert value == (
        {"path": str(place / "10_red coat"), "repeats": 10, "caption": "red coat"},
        {"path": "/images/01_day"},
    )
    assert fields.from_text("dataset.subsets", fields.to_text("dataset.subsets", value)) == (value, "")
    more = ({"path": "/a", "keep_tokens": 2},)
    assert fields.from_text("dataset.subsets", fields.to_text("dataset.subsets", more)) == (more, "")
    for wrong in ("[", '[{"path": ""}]', '[{"path": "/a", "repeat": 2}]', '[{"repeats": 2}]', "[3]"):
        assert fields.from_text("dataset.subsets", wrong)[1], wrong


def test_a_plan_file_has_them_as_tables_and_other_settings_as_what_they_leave_out():
    plan = TrainingPlan.model_validate(
        tomllib.loads(
            """
            [dataset]
            path = "/a"
            trigger = "mika"
            repeats = 4
            keep_tokens = 1
            masks = "/masks"
            [[dataset.subsets]]
            path = "/b"
            resolution = 1024
            [[dataset.subsets]]
            path = "/c"
            kind = "regularisation"
            """
        )
    )
    first, second, third = plan.folders
    assert (second.repeats, second.keep_tokens, second.resolution, second.caption) == (4, 1, 1024, "mika")
    assert (first.masks, second.masks) == ("/masks", ""), "masks are those of one folder"
    assert (third.is_regularisation, third.repeats, third.keep_tokens, third.caption) == (True, 1, 0, "")
    assert TrainingPlan.model_validate(plan.model_dump(exclude_none=True)) == plan
    full = plan.model_copy(update={"model": plan.model.model_copy(update={"method": "full"})})
    assert len(full.folders) == 2, "this method trains no class images"


def test_every_folder_is_read_and_counted(place):
    table = {"path": str(place / "10_red coat"), "repeats": 10, "caption": "red coat"}
    found = bench(place, dataset__subsets=(table,))
    images = found.state.facts.dataset
    assert {name: len(each.images) for name, each in images.folders.items()} == {"dataset": 3, "subset_2": 2}
    plan = found.state.draft.sketch()
    assert batches.steps_of_epoch(plan, images.sizes, KOHYA.manifest, (), images.more_sizes) == Fraction(23)
    assert estimate(plan, found.state.facts, manifest=KOHYA.manifest).epochs == plan.schedule.steps / 23
    assert not said(found)


def test_a_folder_of_a_larger_size_needs_more_memory_and_time(place):
    def needs(**table):
        found = bench(place, dataset__subsets=({"path": str(place / "10_red coat"), **table},), dataset__resolution=512)
        return estimate(found.state.draft.sketch(), found.state.facts, manifest=KOHYA.manifest)

    small, large = needs(), needs(resolution=1024)
    assert large.ram_gib > small.ram_gib or large.vram_gib > small.vram_gib
    assert large.seconds > small.seconds


def test_measuring_held_out_images_takes_time(place):
    def seconds(**values):
        found = bench(place, dataset__validation_share=0.4, **values)
        return estimate(found.state.draft.sketch(), found.state.facts, manifest=KOHYA.manifest).seconds[1]

    assert seconds(dataset__validate_every=1) > 1.3 * seconds(dataset__validate_every=500)
    assert seconds() > seconds(dataset__validate_every=500), "after each epoch, which has two steps here"


def test_class_images_without_a_caption_can_take_the_name_of_their_folder(place):
    folder(place / "big_dogs", 2)
    found = bench(
        place,
        dataset__subsets=({"path": str(place / "big_dogs"), "kind": "regularisation"},),
        model__method="dreambooth",
    )
    (problem,) = [each for each in found.problems if "have no caption" in each.message]
    assert "its field Default caption" in problem.message
    found.set(problem.fix.changes)
    assert found.state.draft.values["dataset.subsets"][0]["caption"] == "big dogs"
    assert not [each for each in found.problems if "have no caption" in each.message]


def test_the_held_out_images_of_all_folders_are_counted(place):
    found = bench(
        place,
        dataset__subsets=({"path": str(place / "10_red coat"), "caption": "red", "validation_share": 0.5},),
        dataset__validation_share=0.34,
    )
    assert held_out(found.state).startswith("2 images held out, 3 trained.")
    assert found.state.facts.dataset.summary == "3 files in the folder: 2 will be trained, 1 held out."


def test_a_share_of_more_than_one_is_a_number_of_percent(place):
    found = bench(place, dataset__validation_share=34)
    assert found.state.draft.values["dataset.validation_share"] == 0.34
    assert held_out(found.state).startswith("1 image held out, 2 trained. A share of 0.34 is 34 %.")
    assert subsets.Subset(path="/b", validation_share=50).validation_share == 0.5
    assert subsets.Subset(path="/b", validation_share=1).validation_share == 1, "all of them"


def test_a_wrong_folder_is_named_and_can_be_left_out(place):
    tables = ({"path": str(place / "nowhere")}, {"path": str(place / "10_red coat")})
    found = bench(place, dataset__subsets=tables)
    (message,) = said(found)
    assert message.startswith("Image folder 2 (nowhere): ")
    (problem,) = [each for each in found.problems if each.message == message]
    found.set(problem.fix.changes)
    assert found.state.draft.values["dataset.subsets"] == ({"path": str(place / "10_red coat")},)
    assert not said(found)


def test_a_rule_for_one_folder_is_applied_to_each_and_its_fix_changes_that_folder(place):
    tables = ({"path": str(place / "10_red coat"), "shuffle_captions": True},)
    found = bench(place, dataset__subsets=tables, memory__cache_text_encoder=True)
    assert any("tags cannot be shuffled" in message for message in said(found, "memory.cache_text_encoder"))
    found = bench(
        place, "simpletuner", schedule__batch_size=3, dataset__subsets=({"path": str(place / "10_red coat")},)
    )
    (message,) = said(found)
    assert "An optimizer step uses 3 images" in message
    (problem,) = [each for each in found.problems if each.message == message]
    assert problem.fix.changes["dataset.subsets"][0]["repeats"] == 2
    found.set(problem.fix.changes)
    assert not said(found)


def test_an_engine_says_what_it_does_not_have(place):
    path = str(place / "10_red coat")
    table = {"path": path, "alpha_masks": True, "caption_choices": True, "flip": True, "validation_share": 0.5}
    told = said(bench(place, "simpletuner", dataset__subsets=(table,)), severity="warning")
    assert [word for word in ("alpha_masks", "caption_choices", "flip") if any(word in each for each in told)]
    assert "cannot measure the loss of held-out images" in " ".join(
        said(bench(place, "simpletuner", dataset__subsets=(table,)))
    )
    fine = bench(place, model__family="sd15", model__method="full", dataset__subsets=({"path": path, "masks": path},))
    assert any("reads no mask files" in message for message in said(fine))


def test_a_selection_trains_only_its_images_and_names_those_that_are_gone(place):
    (place / "mika" / ".easel").mkdir()
    file = place / "mika" / ".easel" / "selections.json"
    file.write_text(json.dumps({"selections": {"best": ["1.png", "gone.png", "../10_red coat/0.png"], "none": []}}))
    found = bench(place, dataset__selection="best")
    assert [image.name for image in found.state.facts.dataset.images] == ["1.png"]
    assert any("gone.png" in message for message in said(found, "dataset.selection", "warning"))
    found.set({"dataset.selection": "worst"})
    assert any('no selection "worst". It has: best, none' in message for message in said(found, "dataset.selection"))
    for damaged in ("", "[]", '{"selections": []}', '{"selections": {"best": 3}}', "\x00", "[" * 100_000):
        file.write_text(damaged)
        with pytest.raises(DatasetError):
            selected.images(place / "mika", "best")


def test_masks_are_found_checked_and_staged_with_the_images(place):
    masks = place / "masks"
    masks.mkdir()
    Image.new("L", (256, 256), 255).save(masks / "0_mask.png")
    Image.new("L", (100, 256), 0).save(masks / "1.png")
    found = bench(place, dataset__masks=str(masks))
    (message,) = said(found, "dataset.masks")
    assert "1 image (1.png) do not have the size" in message
    Image.new("L", (256, 256), 0).save(masks / "1.png")
    found.set({"dataset.masks": str(masks)})
    assert said(found, "dataset.masks", "info") == [
        "There is no mask for 1 image (2.png): these images are trained whole."
    ]
    run = played_folder(place)
    image_folders.stage(found.state.facts.dataset, run, found.state.draft.sketch())
    shown = {path.name: Image.open(path).getpixel((3, 3)) for path in (run.path / "dataset_masks").iterdir()}
    assert shown == {"1-0.png": (255,) * 3, "2-1.png": (0,) * 3, "3-2.png": (255,) * 3}
    found.set({"dataset.masks": str(place / "nowhere")})
    assert said(found, "dataset.masks")[0].startswith("The folder of masks")
    assert len(found.state.facts.dataset.images) == 3, "the images are known although the masks are not"


def played_folder(place):
    from trainer_core.training.folder import RunFolder

    return RunFolder.create(place / "runs", "one")


def test_the_same_images_are_held_out_each_time_and_an_added_one_exchanges_none(place):
    root = folder(place / "many", 20, caption="mika")
    rules = KOHYA.manifest.dataset
    names = {image.name for image in holding_out.held_out(scan(root, rules, trigger="mika"), 0.25).validation.images}
    assert len(names) == 5
    (root / "new.png").write_bytes((root / "0.png").read_bytes())
    again = holding_out.held_out(scan(root, rules, trigger="mika"), 0.25)
    assert len(names & {image.name for image in again.validation.images}) >= 4
    assert {image.name for image in again.images}.isdisjoint(image.name for image in again.validation.images)
    whole = holding_out.held_out(scan(root, rules, trigger="mika"), 1.0)
    assert (len(whole.images), len(whole.validation.images)) == (0, 21)
    one = folder(place / "one", 1, caption="mika")
    assert holding_out.held_out(scan(one, rules, trigger="mika"), 0.5).validation is None


def test_sub_folders_in_kohyas_layout_are_all_trained_by_one_fix(place):
    root = place / "layout"
    for name, many in (("5_mika", 2), ("2_tom", 3), ("3_woman", 1)):
        folder(root / name, many)
    found = bench(place, dataset__path=str(root))
    fix = next(problem.fix for problem in found.problems if problem.path == "dataset.path" and problem.fix)
    assert fix.label == "Train its 3 folders, each with its own repeats"
    found.set(fix.changes)
    plan = found.state.draft.sketch()
    assert [(Path(each.path).name, each.repeats, each.is_regularisation) for each in plan.folders] == [
        ("2_tom", 2, False),
        ("3_woman", 3, True),
        ("5_mika", 5, False),
    ]
    assert not [
        problem for problem in found.problems if problem.severity == "error" and problem.path.startswith("dataset")
    ]


def test_a_run_and_one_that_continues_it_have_every_folder_and_captions(place, tmp_path):
    engine = registry.get("rehearsal")
    table = {"path": str(place / "10_red coat"), "repeats": 10, "caption": "red coat"}
    found = bench(place, "rehearsal", dataset__subsets=(table, {"path": str(place / "mika"), "kind": "regularisation"}))
    plan = played.job(tmp_path, steps=40, output={"keep_states": 1}, ending="crash", at=30)
    plan = plan.model_copy(update={"dataset": found.state.draft.sketch().dataset})
    plan = plan.model_copy(update={"output": plan.output.model_copy(update={"save_every_steps": 10})})
    run = Run.prepare(plan, engine, found.state.facts.dataset, folder=tmp_path / "runs")
    assert [path.name for path in run.folder.staged] == ["dataset", "subset_2", "subset_3"]
    assert (run.folder.path / "subset_2" / "1-0.txt").read_text() == "red coat\n"
    assert run.folder.versions["images"] == 5, "class images are not counted as images of the subject"
    run.launch()
    run.wait(played.LIMIT_S)
    again = resume.start(resume.propose(run))
    assert [path.name for path in again.folder.staged] == ["dataset", "subset_2", "subset_3"]
    assert (again.folder.path / "subset_2" / "1-0.txt").read_text() == "red coat\n"
    assert sorted(path.name for path in (place / "10_red coat").iterdir()) == ["0.png", "1.png"]


def test_the_metadata_of_a_result_have_names_of_folders_and_no_paths():
    plan = engine_plans.plan(
        "sdxl", dataset__subsets=({"path": "/home/anna/secret place/red", "masks": "/home/anna/masks"},)
    )
    text = json.dumps(shared(plan.model_dump(exclude_none=True)))
    assert "anna" not in text
    assert shared(plan.model_dump())["dataset"]["subsets"] == [{"path": "red", "masks": "masks"}]
    for damaged in ("/home/anna", ["/home/anna"], 3):
        tables = {"dataset": {"subsets": damaged}}
        assert "anna" not in json.dumps(shared(tables))


def test_the_captions_of_a_file_for_all_are_those_of_each_folder(place):
    plan = engine_plans.plan("sd15", model__method="full", dataset__subsets=({"path": "/b"},))
    captions = {"1-a.png": "mika", "subset_2/1-b.png": "red"}
    where = engine_plans.place(captions=captions)
    files = {str(name): text for name, text in KOHYA.render(plan, where).files.items()}
    assert json.loads(files["engine/captions.json"]) == {"1-a.png": {"caption": "mika"}}
    assert json.loads(files["engine/captions_subset_2.json"]) == {"1-b.png": {"caption": "red"}}


def test_every_key_of_a_folder_is_read_by_the_engines_or_reported(place):
    """As the contract does for settings: a key that changes nothing must be said."""
    others = {
        "kind": "regularisation", "repeats": 3, "resolution": 1024, "caption_extension": ".cap", "shuffle_captions": True,
        "keep_tokens": 2, "caption_dropout": 0.5, "tag_dropout": 0.5, "caption_choices": True, "flip": True,
        "alpha_masks": True, "masks": "/m", "validation_share": 0.5, "caption": "x", "selection": "best",
    }  # fmt: skip
    # Control images are only for models that edit images; the contract tests them there.
    assert {*others, "path", *subsets.CONTROLS} == set(subsets.Subset.model_fields)
    by_easel = {"caption", "caption_extension", "selection"}
    for engine in (KOHYA, registry.get("simpletuner")):
        for key in others.keys() - by_easel:
            base, changed = (
                engine_plans.plan(
                    "sdxl", dataset__shuffle_captions=key == "keep_tokens", dataset__subsets=({"path": "/b", **own},)
                )
                for own in ({}, {key: others[key]})
            )
            where = engine_plans.place()
            files = [engine.render(plan, where).files for plan in (base, changed)]
            told = [
                [each.message for each in engine.problems(plan, engine_plans.machine(), registry_status())]
                for plan in (base, changed)
            ]
            is_claimed = key != "validation_share" or engine is KOHYA
            assert files[0] != files[1] or told[0] != told[1] or not is_claimed, (engine.manifest.id, key)


def registry_status():
    from trainer_core.engines.status import NOT_KNOWN

    return NOT_KNOWN
