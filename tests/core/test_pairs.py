"""Pairs of images for models that edit images: matched by name, checked, staged under the names of their images, and rendered."""

import json
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backends.simpletuner.problems import recorded, unknown_keys
from tests.support import engine_plans
from trainer_core import estimate
from trainer_core.cli import easel
from trainer_core.datasets import pairs
from trainer_core.datasets.stage import stage
from trainer_core.draft.checks import Case, controls
from trainer_core.engines import contract, registry, trainable
from trainer_core.engines.claim import Cell, Controls, FamilyClaim, read_claims
from trainer_core.engines.controls_contract import dropped_controls
from trainer_core.engines.status import NOT_KNOWN, EngineStatus
from trainer_core.errors import BackendError, DatasetError, RunError
from trainer_core.models.detection import Detection
from trainer_core.prepare import image_folders
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import blocking
from trainer_core.remote.runs import outgoing
from trainer_core.training import checks
from trainer_core.training.prompts import of_plan

SIMPLETUNER = registry.get("simpletuner")
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0."), min_size=1, max_size=8)


def draw(path: Path, size: tuple[int, int] = (96, 96), colour: str = "teal", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    for name in ("a", "b", "day/c"):
        draw(tmp_path / "after" / f"{name}.png")
        (tmp_path / "after" / f"{name}.txt").write_text(f"make it {name}")
        draw(tmp_path / "before" / f"{name.upper()}.jpg", colour="gray")
        draw(tmp_path / "pose" / f"{name}.png", colour="red")
    return tmp_path


def bench(place: Path, **values: object) -> Workbench:
    found = Workbench(engine="simpletuner")
    found.set({"model.family": "flux", "dataset.path": str(place / "after"), "dataset.controls": str(place / "before")})
    found.set({path.replace("__", "."): value for path, value in values.items()})
    return found


def said(found: Workbench, path: str = "dataset.controls") -> list[tuple[str, str]]:
    return [(each.severity, each.message) for each in found.state.facts.dataset.problems if each.path == path]


# ---- names ----
@given(
    st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=12, unique_by=lambda parts: "/".join(parts).casefold())
)
def test_each_image_finds_the_control_of_its_name_and_no_other(names):
    targets = [PurePosixPath(*parts).with_name(f"{parts[-1]}.png") for parts in names]
    controls_of = {each: each.with_suffix(".jpg") for each in targets}
    found = pairs.match(targets, list(controls_of.values()))
    keys = {pairs._key(each) for each in targets}
    assert set(found.of) == set(targets)
    assert not found.unused
    if len(keys) == len(targets):
        assert found.of == controls_of
        assert not found.same
    without = pairs.match(targets[1:], list(controls_of.values()))
    assert all(pairs._key(each) == pairs._key(targets[0]) for each in without.unused)


def test_an_ending_a_case_and_a_unicode_form_make_no_difference_and_a_folder_does():
    found = pairs.match(
        [PurePosixPath("Caf\u00e9.PNG"), PurePosixPath("day/a.v2.png"), PurePosixPath("b.png")],
        [PurePosixPath("cafe\u0301.jpg"), PurePosixPath("day/a.v2.webp"), PurePosixPath("night/b.png")],
    )
    assert {str(target): str(control) for target, control in found.of.items()} == {
        "Caf\u00e9.PNG": "cafe\u0301.jpg",
        "day/a.v2.png": "day/a.v2.webp",
    }
    assert found.unused == (PurePosixPath("night/b.png"),)


# ---- what is read of a dataset ----
def test_images_whose_names_differ_only_in_case_have_their_own_control_images():
    both = [PurePosixPath("A.png"), PurePosixPath("a.png")]
    assert pairs.match(both, reversed(both)) == pairs.Matched({each: each for each in both})
    assert pairs.match(both, both[1:]).of == {both[1]: both[1]}, "that of another image is not taken"
    assert pairs.match(both[:1], both).same == (tuple(both),)


def test_long_names_that_differ_only_at_their_ends_have_their_own_control_images(place):
    for number in (1, 2):
        draw(place / "after" / f"{'a prompt ' * 24}{number}.png")
        draw(place / "before" / f"{'a prompt ' * 24}{number}.png", colour="gray")
    dataset = bench(place).state.facts.dataset
    assert len({image.name for image in dataset.images}) == 5
    for image in dataset.images:
        assert dataset.controls[0][image.name].path.stem.casefold() == image.path.stem


def test_images_are_matched_with_several_control_folders_in_their_order(place):
    dataset = bench(place, dataset__controls_2=str(place / "pose")).state.facts.dataset
    assert [{name: each.name for name, each in found.items()} for found in dataset.controls] == [
        {"a.png": "A.jpg", "b.png": "B.jpg", "day/c.png": "DAY/C.jpg"},
        {"a.png": "a.png", "b.png": "b.png", "day/c.png": "day/c.png"},
    ]
    assert not said(bench(place))
    assert image_folders.parts(bench(place).state)[0].notes == ("3 pairs",)


def test_an_image_without_a_control_image_stops_and_can_be_left_out(place):
    (place / "before" / "A.jpg").unlink()
    (place / "before" / "B.jpg").write_bytes(b"\x89PNG\r\n no image")
    draw(place / "before" / "other.png")
    found = bench(place)
    dataset = found.state.facts.dataset
    assert (dataset.unpaired, dataset.unused) == (("a.png", "b.png"), ("other.png",))
    messages = said(found)
    assert [severity for severity, _ in messages] == ["warning", "warning", "error"]
    assert [("B.jpg" in text, "other.png" in text, "a.png" in text) for _, text in messages] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    fix = next(each.fix for each in dataset.problems if each.severity == "error")
    found.set(fix.changes)
    assert [image.name for image in found.state.facts.dataset.images] == ["day/c.png"]
    assert not blocking(found.state.facts.dataset.problems)


@pytest.mark.parametrize(
    ("folder", "words"),
    [("gone", "does not exist"), ("after", "what it has to generate"), ("others", "no image with the name")],
)
def test_a_folder_that_has_no_control_images_is_refused_and_can_be_left_out(place, folder, words):
    draw(place / "others" / "x.png")
    found = bench(place, dataset__controls=str(place / folder))
    (problem,) = blocking([each for each in found.state.facts.dataset.problems if each.path == "dataset.controls"])
    assert words in problem.message
    assert problem.fix.changes == {"dataset.controls": ""}


def test_two_control_images_of_one_image_are_refused(place):
    draw(place / "before" / "a.webp")
    assert "Several control images have the name of one image: A.jpg and a.webp" in said(bench(place))[0][1]


def test_control_images_in_a_folder_of_the_dataset_are_not_trained(place):
    draw(place / "after" / "start" / "a.png")
    draw(place / "after" / "start" / "b.png")
    draw(place / "after" / "start" / "day" / "c.png")
    found = bench(place, dataset__controls=str(place / "after" / "start"))
    dataset = found.state.facts.dataset
    assert [image.name for image in dataset.images] == ["a.png", "b.png", "day/c.png"]
    assert not said(found)
    # And a dataset that is a folder among the control images is none of them.
    around = bench(place, dataset__path=str(place / "after" / "start"), dataset__controls=str(place / "after"))
    assert [each.path.parent.name for each in around.state.facts.dataset.controls[0].values()] == [
        "after",
        "after",
        "day",
    ]
    assert around.state.facts.dataset.unused == ()


def test_each_further_folder_has_its_own_control_images(place):
    rows = ({"path": str(place / "pose"), "controls": str(place / "before")},)
    found = bench(place, dataset__subsets=rows, dataset__controls=str(place / "pose"))
    first, second = image_folders.parts(found.state)
    assert (first.pairs, second.pairs) == (3, 3)
    found.set({"dataset.subsets": ({"path": str(place / "pose")},)})
    assert found.state.draft.sketch().folders[1].controls_given == {}


# ---- rules ----
def problems(place: Path, variant: str, **values: object) -> list:
    found = bench(place, **values).state
    facts = replace(found.facts, detection=Detection("flux", "checkpoint", variant))
    case = Case(found.draft.sketch(), facts, SIMPLETUNER)
    return [*controls.controls_suit_the_model(case), *controls.controls_are_good(case)]


def test_an_edit_model_needs_control_images_and_finds_those_in_the_dataset(place):
    draw(place / "after" / "control" / "a.png")
    (problem,) = problems(place, "kontext", dataset__controls="", dataset__resolution=128)
    assert (problem.path, problem.severity) == ("dataset.controls", "error")
    assert problem.fix.changes == {"dataset.controls": str(place / "after" / "control")}
    assert problem.fix.label == "Use control"


def test_a_model_that_is_shown_none_gets_none(place):
    (problem,) = problems(place, "dev", dataset__resolution=128, dataset__controls_2=str(place / "pose"))
    assert problem.message == "SimpleTuner shows this model no control images. It shows them to this variant: kontext."
    assert problem.fix.changes == {"dataset.controls": "", "dataset.controls_2": ""}


def test_an_instruction_has_no_trigger_word_unless_the_user_gives_one(place):
    def of_trigger(**values: object) -> list[str]:
        return [each.message for each in bench(place, **values).problems if "trigger word" in each.message]

    with_pairs, without = {"dataset__controls": str(place / "before")}, {"dataset__controls": ""}
    # With control images, and with an edit model of which they are not chosen yet.
    assert of_trigger(**with_pairs) == of_trigger(**without, model__variant="kontext") == []
    assert any("no word turns the result on" in each for each in of_trigger(**without, model__variant="dev"))
    assert any("not in the caption" in each for each in of_trigger(**with_pairs, dataset__trigger="mika"))
    (place / "after" / "a.txt").unlink()
    found = [each for each in bench(place).problems if "what the edit does" in each.message]
    assert [(each.severity, each.path) for each in found] == [("error", "dataset.path")]


def test_class_images_of_an_edit_model_are_refused(place):
    (problem,) = problems(place, "kontext", dataset__resolution=128, dataset__class_path=str(place / "pose"))
    assert (problem.path, problem.fix.changes) == ("dataset.class_path", {"dataset.class_path": ""})


def test_held_out_images_of_a_further_folder_are_refused_and_the_fix_holds_none_out(place):
    rows = ({"path": str(place / "pose"), "controls": str(place / "before")},)
    more = {"dataset__subsets": rows, "dataset__validation_share": 0.5}
    said = problems(place, "kontext", dataset__resolution=128, **more)
    assert [each.path for each in said] == ["dataset.validation_share", "dataset.subsets"]
    assert said[1].fix.changes["dataset.subsets"][0]["validation_share"] == 0.0


def test_control_images_of_another_shape_are_refused_where_the_engine_cuts_both_alike(place):
    draw(place / "before" / "A.jpg", (96, 64))
    draw(place / "before" / "B.jpg", (48, 48))
    (problem,) = problems(place, "kontext", dataset__resolution=64)
    assert problem.severity == "error"
    assert "another aspect ratio: 1 image (a.png)" in problem.message


def test_what_a_claim_allows_depends_on_the_variant():
    cell = Cell(controls={"kontext": Controls(most=2, least=1)})
    assert (cell.controls_of("kontext").least, cell.controls_of("dev").most, cell.controls_of(None)) == (
        1,
        0,
        Controls(most=2),
    )
    usual = Cell(controls={"": Controls(most=4)})
    assert usual.controls_of("klein").most == 4


def test_a_misspelt_key_of_a_claim_is_refused():
    row = {"methods": ["lora"], "controls": {"edit": {"most": 3, "leats": 1}}}
    with pytest.raises(BackendError, match="leats"):
        read_claims({"flux": row}, Cell, "backend.toml")


def test_an_edit_model_can_be_trained_where_an_engine_claims_it():
    found = Detection("flux", "checkpoint", "kontext", layout="pipeline", apart="It is FLUX.1 Kontext.")
    assert trainable.why_not(found, SIMPLETUNER.manifest) == ""
    assert trainable.why_not(replace(found, variant="fill"), SIMPLETUNER.manifest) == "It is FLUX.1 Kontext."
    # One row makes an edit variant of another family trainable, too.
    qwen = replace(found, family="qwen_image", variant="edit-2511")
    for controls_of, is_trained in (({}, False), ({"edit-2511": Controls(most=3, least=1)}, True)):
        claim = FamilyClaim("qwen_image", {"lora": Cell(controls=controls_of)})
        manifest = replace(SIMPLETUNER.manifest, families={"qwen_image": claim}, refused={})
        assert (trainable.why_not(qwen, manifest) == "") == is_trained


# ---- a run ----
def test_control_images_are_staged_under_the_names_of_their_images_and_are_not_changed(place):
    draw(place / "before" / "A.jpg", (64, 96), exif=_turned())
    before = {path: path.read_bytes() for path in (place / "before").rglob("*.jpg")}
    dataset = bench(place).state.facts.dataset
    stage(dataset, place / "run" / "dataset", controls=[place / "run" / "dataset_controls_1"])
    names = sorted(path.name for path in (place / "run" / "dataset").glob("*.png"))
    staged = sorted((place / "run" / "dataset_controls_1").iterdir())
    assert [path.name for path in staged] == names
    assert staged[1].readlink() == (place / "before" / "B.jpg").resolve()
    with Image.open(staged[0]) as upright:
        assert upright.size == (96, 64)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("what", ["nothing", "a link to itself", "a pipe"])
def test_a_control_image_that_became_something_else_stops_before_the_run(place, what):
    for name in ("A.jpg", "B.jpg"):
        draw(place / "before" / name, (64, 96), exif=_turned() if name == "A.jpg" else b"")
    dataset = bench(place).state.facts.dataset
    for number, name in enumerate(("A.jpg", "B.jpg")):
        changed = place / "before" / name
        whole = changed.rename(place / "kept.jpg")
        if what == "a link to itself":
            changed.symlink_to(changed.name)
        elif what == "a pipe":
            os.mkfifo(changed)
        with pytest.raises(DatasetError, match="was removed after the folder was checked"):
            stage(dataset, place / f"run{number}", controls=[place / f"run{number}_controls_1"])
        changed.unlink(missing_ok=True)
        whole.rename(changed)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_simpletuner_is_told_of_each_control_folder_and_of_all_of_them_at_once(place):
    both = {"dataset__controls": "/before", "dataset__controls_2": "/pose", "dataset__masks": "/masks"}
    spec = SIMPLETUNER.render(engine_plans.plan("flux", **both), engine_plans.place())
    files = {path.name: json.loads(text) for path, text in spec.files.items() if path.suffix == ".json"}
    images, *shown, _ = files["multidatabackend.json"]
    assert images["conditioning_data"] == ["images-masks", "images-controls-1", "images-controls-2"]
    assert [each["id"] for each in shown] == images["conditioning_data"]
    assert [each["conditioning_type"] for each in shown] == ["mask", "reference_strict", "reference_strict"]
    assert [Path(each["instance_data_dir"]).name for each in shown[1:]] == ["dataset_controls_1", "dataset_controls_2"]
    assert len({each["cache_dir_vae"] for each in (images, *shown[1:])}) == 3
    config = files["config.json"]
    assert (config["model_flavour"], config["conditioning_multidataset_sampling"]) == ("kontext", "combined")
    assert unknown_keys(spec.files, recorded("4.10.1")) == []
    plain = SIMPLETUNER.render(engine_plans.plan("flux"), engine_plans.place())
    assert '"dev"' in plain.files[PurePosixPath("engine/config.json")]


def test_control_images_are_not_offered_with_simpletuner_3():
    plan = engine_plans.plan("sdxl", dataset__controls="/before")
    for version, is_refused in (("3.1.6", True), ("4.10.1", False)):
        said = SIMPLETUNER.problems(plan, engine_plans.machine(), EngineStatus(True, version))
        assert any("has not tried masks, control images" in each.message for each in said) == is_refused


def test_a_trainer_elsewhere_gets_the_control_images_of_the_images_it_trains(place):
    draw(place / "before" / "other.png")
    found = bench(place).state
    (place / "run").mkdir()
    outgoing.write(place / "run", found.draft.sketch(), found.facts.dataset)
    listed = json.loads(next((place / "run").rglob(outgoing.FILE)).read_text())
    assert listed["dataset.controls"] == ["A.jpg", "B.jpg", "DAY/C.jpg"]


def test_the_estimate_counts_what_the_model_is_shown(place):
    found = bench(place, dataset__resolution=512)
    facts = replace(found.state.facts, machine=engine_plans.machine(engine_plans.CARD))
    with_one = estimate.estimate(found.state.draft.sketch(), facts, manifest=SIMPLETUNER.manifest)
    found.set({"dataset.controls": ""})
    plain = estimate.estimate(found.state.draft.sketch(), facts, manifest=SIMPLETUNER.manifest)
    assert with_one.disk_gib > plain.disk_gib
    assert with_one.vram_gib[1] > plain.vram_gib[1]


def test_prompts_are_not_said_of_samples_that_are_made_of_pairs():
    sampling = {"prompt": "a cat"}
    assert of_plan({"sampling": sampling, "dataset": {}})[0].text == "a cat"
    for dataset in ({"controls": "/before"}, {"subsets": [{"path": "/more", "controls": "/before"}]}):
        assert of_plan({"sampling": sampling, "dataset": dataset}) == ()
    both = {"dataset__controls": "/before", "sampling__every_steps": 5}
    said = SIMPLETUNER.problems(engine_plans.plan("flux", **both), engine_plans.machine(), NOT_KNOWN)
    assert "samples of 4 pairs" in next(each.message for each in said if each.path == "sampling.prompt")


def test_nothing_is_written_into_folders_of_control_images(place):
    inside = str(place / "before" / "made")
    (wrong,) = (each for each in bench(place, output__folder=inside).problems if each.path == "output.folder")
    assert wrong.severity == "error"
    assert "never writes" in wrong.message
    further = {"path": str(place / "after"), "controls": str(place / "before")}
    plan = bench(place, output__folder=inside, dataset__controls="", dataset__subsets=[further]).state.draft.sketch()
    with pytest.raises(RunError, match="never writes"):
        checks.check(plan, registry.get("rehearsal"))


def test_the_contract_finds_an_engine_that_drops_control_images():
    """The rehearsal engine plays a training, and reads no images: were it to claim control images, it would drop them."""
    rehearsal = registry.get("rehearsal")
    family, claim = next(iter(rehearsal.manifest.families.items()))
    method, cell = next(iter(claim.methods.items()))
    claiming = {**claim.methods, method: replace(cell, controls={"": Controls(most=2)})}
    manifest = replace(rehearsal.manifest, families={family: replace(claim, methods=claiming)})
    other = SimpleNamespace(manifest=manifest, problems=lambda *_: (), render=rehearsal.render, parse=rehearsal.parse)
    plan = contract.plan_of(other, family, method)
    assert len(list(dropped_controls(other, plan, contract.place(), contract.MACHINE))) == 2
    assert not list(dropped_controls(SIMPLETUNER, engine_plans.plan("flux"), contract.place(), contract.MACHINE))


# ---- command line ----
def test_the_check_of_a_dataset_shows_its_pairs(place):
    (place / "before" / "A.jpg").unlink()
    command = ["dataset", "check", str(place / "after"), "--engine", "simpletuner", "--controls", str(place / "before")]
    shown = CliRunner().invoke(easel, command)
    assert shown.exit_code == 3
    assert "2 pairs of images:\n  B.jpg -> b.png: make it b\n  DAY/C.jpg -> day/c.png: make it day/c\n" in shown.output
    told = json.loads(CliRunner().invoke(easel, [*command, "--json"]).output)
    assert told["pairs"][0] == {"image": "b.png", "controls": ["B.jpg"], "caption": "make it b"}
    assert told["unpaired"] == ["a.png"]
