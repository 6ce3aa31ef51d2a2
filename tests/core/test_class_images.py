"""Class images from the plan to the run: they are read, staged beside the images, given to the engine, and staged again when a run continues."""

import tomllib
from pathlib import PurePosixPath

import pytest
from PIL import Image

from tests.support import kohya_plans, played
from trainer_core.datasets.scan import scan
from trainer_core.engines import registry
from trainer_core.prepare import image_folders
from trainer_core.prepare.workbench import Workbench
from trainer_core.training import resume
from trainer_core.training.run import Run

KOHYA = registry.get("kohya")
DATASET = PurePosixPath("engine/dataset.toml")


def folder(path, many, *captions):
    path.mkdir(parents=True)
    for number in range(many):
        Image.new("RGB", (64, 64), (number * 20, 90, 90)).save(path / f"{number}.png")
    for number, text in enumerate(captions):
        (path / f"{number}.txt").write_text(text)
    return path


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return folder(tmp_path / "mika", 3, "mika", "mika", "mika"), folder(tmp_path / "dogs", 2, "a big dog")


def rendered(method, **values):
    plan = kohya_plans.full_plan("sd15", method, **values)
    job = KOHYA.render(plan, kohya_plans.place())
    config = tomllib.loads(job.files[PurePosixPath("engine/config.toml")])
    return tomllib.loads(job.files[DATASET])["datasets"][0]["subsets"], config["training"]


def test_sd_scripts_gets_them_as_regularisation_images_with_their_weight():
    given = {"dataset__class_path": "/dogs", "dataset__class_caption": "a dog", "dataset__class_repeats": 2}
    (own, others), training = rendered("dreambooth", **given, dataset__class_weight=0.5, dataset__keep_tokens=1)
    assert "is_reg" not in own
    assert others["is_reg"] is True
    assert others["image_dir"] == str(kohya_plans.place().class_images) != own["image_dir"]
    assert (others["num_repeats"], others["class_tokens"]) == (2, "a dog")
    assert "keep_tokens" not in others
    assert training["prior_loss_weight"] == 0.5


@pytest.mark.parametrize("method", ["full", "textual_inversion"])
def test_other_methods_never_get_them(method):
    subsets, training = rendered(method, dataset__class_path="/dogs")
    assert len(subsets) == 1
    assert "prior_loss_weight" not in training


def test_they_are_read_and_counted_and_a_wrong_folder_is_reported(folders):
    images, dogs = folders
    bench = Workbench(engine="rehearsal")
    bench.set({"model.family": "sd15", "dataset.path": str(images), "dataset.class_path": str(dogs)})
    found = bench.state.facts.dataset
    assert [len(found.images), len(found.class_sizes)] == [3, 2]
    said = {problem.message for problem in bench.problems if problem.path.startswith("dataset.class")}
    assert "1 of 2 class images have no caption. Write what they show, such as: a dog." in said
    bench.set({"dataset.class_caption": "a dog"})
    said = [problem.message for problem in bench.problems if problem.path.startswith("dataset.class")]
    assert not any("caption" in sentence for sentence in said)
    assert said[-1:] == ["An epoch has 3 class images beside 3 of the subject, so it takes twice the steps."]
    bench.set({"dataset.class_path": str(dogs / "nowhere")})
    assert any(problem.path == "dataset.class_path" and problem.severity == "error" for problem in bench.problems)


def test_an_engine_that_cannot_train_them_says_so(folders):
    images, dogs = folders
    bench = Workbench(engine="simpletuner")
    values = {"model.family": "sdxl", "model.method": "full", "dataset.path": str(images)}
    bench.set({**values, "dataset.class_path": str(dogs)})
    said = [problem for problem in bench.problems if problem.path == "dataset.class_path"]
    assert [problem.severity for problem in said] == ["warning"]
    assert "it is for LoRA" in said[0].message
    bench.set({"dataset.class_path": "", "dataset.subsets": ({"path": str(dogs), "kind": "regularisation"},)})
    said = [problem for problem in bench.problems if problem.path == "dataset.subsets"]
    assert ["trains no regularisation images" in problem.message for problem in said] == [True]
    bench.set(said[0].fix.changes)
    assert not [problem for problem in bench.problems if problem.path == "dataset.subsets"]


def test_a_run_and_one_that_continues_it_have_them_in_a_folder_of_their_own(folders, tmp_path):
    images, dogs = folders
    engine = registry.get("rehearsal")
    read = scan(images, engine.manifest.dataset, trigger="mika")
    read = type(read)(**{**vars(read), "class_images": scan(dogs, engine.manifest.dataset)})
    plan = played.job(tmp_path, steps=40, output={"keep_states": 1}, ending="crash", at=30)
    values = {"path": str(images), "class_path": str(dogs), "class_caption": "a dog", "trigger": "mika"}
    plan = plan.model_copy(update={"dataset": plan.dataset.model_copy(update=values)})
    plan = plan.model_copy(update={"output": plan.output.model_copy(update={"save_every_steps": 10})})
    run = Run.prepare(plan, engine, read, folder=tmp_path / "runs")
    staged = sorted(path.name for path in run.folder.class_images.iterdir())
    assert staged == ["1-0.png", "1-0.txt", "2-1.png", "2-1.txt"]
    assert (run.folder.class_images / "1-0.txt").read_text() == "a big dog\n"
    assert (run.folder.class_images / "2-1.txt").read_text() == "a dog\n"
    assert len(list(run.folder.dataset.glob("*.png"))) == 3
    run.launch()
    run.wait(played.LIMIT_S)
    again = resume.start(resume.propose(run))
    assert sorted(path.name for path in again.folder.class_images.iterdir()) == staged
    assert len(list(dogs.iterdir())) == 3, "nothing is written beside the user's images"


def test_class_images_that_are_repeated_say_what_for(folders):
    own, dogs = folders
    found = Workbench(engine="kohya")
    found.set({"model.family": "sd15", "model.method": "dreambooth", "dataset.path": str(own), "dataset.repeats": 5})
    found.set({"dataset.class_path": str(dogs), "dataset.class_caption": "a dog"})
    (_, of_class) = image_folders.parts(found.state)
    assert of_class.sum == "2 class images, repeated to 15 to match the subject"
