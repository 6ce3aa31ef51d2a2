"""The finetuning trainer: its methods, what is asked for each, and what it shares with the LoRA trainer."""

import time

import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.support import engine_plans, recorded_headers, trained_models
from tests.support.histories import shown
from tests.support.page import enter, inside, on_page, prepare, unfold, wait_for
from trainer_core import places
from trainer_core.catalog import methods
from trainer_core.engines import registry
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.plan import fields
from trainer_core.prepare.workbench import Workbench
from trainer_core.training.run import list_runs
from trainer_ui.answers import open_questions
from trainer_ui.apps.finetuning_trainer import FinetuningTrainer
from trainer_ui.panels.settings import FINETUNING, has_panel

NETWORK_ONLY = {path for path in fields.all_fields() if path.startswith("network.")} - {"network.train_text_encoder"}


@pytest.fixture
def open_finetuning(opening):
    def open_one(settings=None, engine="rehearsal", machine=None, profile=""):
        return opening(FinetuningTrainer, Workbench(machine, engine), settings, profile)

    return open_one


@pytest.fixture
def model(home):
    """A small model that the rehearsal engine can copy."""
    path = home / "models" / "tiny.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(trained_models.sd15(), path)
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "mika"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (number * 40, 90, 90)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("mika, a cat")
    return folder


def header(name, home):
    """A file with the header of a real model, and no weights."""
    home.mkdir(parents=True, exist_ok=True)
    return recorded_headers.write(name, home)


def card(app, method):
    return app.recipe.profile.uses.buttons[method]


def choose(app, method):
    enter(card(app, method), True)


def shown_settings(app):
    unfold(app.model.step, app.output.step, app.samples.step, app.memory.step)
    for widget in inside(app.root):
        if "easel-fold" in getattr(widget, "_dom_classes", ()):
            enter(widget, True)
    return {path for path, one in app.settings.controls.items() if on_page(one.widget)}


def test_it_opens_with_four_questions_and_three_methods_and_nothing_is_chosen(open_finetuning):
    app = open_finetuning()
    assert len(open_questions(app.session)) == 4
    assert app.session.values["model.method"] == "full"
    assert [button.value for button in app.recipe.profile.uses.buttons.values()] == [False] * 3
    for method, words in {
        "full": "few hundred images",
        "dreambooth": "3 to 5 images",
        "textual_inversion": "few kB",
    }.items():
        assert words in card(app, method).description
    assert "easel-begun" not in app.root._dom_classes


def test_choosing_a_method_answers_the_recipe_and_takes_its_profile_when_the_model_is_known(open_finetuning, model):
    app = open_finetuning()
    choose(app, "dreambooth")
    assert "a recipe" not in open_questions(app.session)
    assert "Dreambooth" not in app.session.message
    app.session.change({"model.path": str(model)})
    app.session.show()
    assert app.session.bench.state.profile.id == "sd15-dreambooth"
    assert app.session.values["network.train_text_encoder"] is True
    choose(app, "textual_inversion")
    assert app.session.bench.state.profile.id == "sd15-textual-inversion"
    assert app.session.values["model.method"] == "textual_inversion"
    assert [name for name in app.recipe.profile.uses.buttons if card(app, name).value] == ["textual_inversion"]
    offered = [name for _, name in app.recipe.profile.choice.options]
    assert "sd15-character" not in offered
    assert "sd15-finetune" not in offered


def test_the_user_chooses_what_to_make_before_anything_is_ready(open_finetuning, model, images):
    app = open_finetuning({"model.path": str(model), "dataset.path": str(images), "dataset.trigger": "mika"})
    assert "Still missing: a recipe." in app.launch.state.value
    assert "easel-mark-open" in app.recipe.step.head.value
    app.launch.start.click()
    assert app.session.run is None
    assert app.session.message == "Not started. Choose first what you want to make."
    choose(app, "dreambooth")
    assert "<b>Ready" in app.launch.state.value
    assert "easel-mark-open" not in app.recipe.step.head.value


def test_far_too_few_images_for_a_method_are_told_with_both_numbers(open_finetuning, model, images):
    app = open_finetuning({"model.path": str(model), "dataset.path": str(images), "dataset.trigger": "mika"})
    choose(app, "full")
    (told,) = [one for one in app.session.problems if "usually takes" in one.message]
    assert told.severity == "warning"
    assert "a few hundred images or more, and this dataset has 3" in told.message
    choose(app, "textual_inversion")
    assert not [one for one in app.session.problems if "usually takes" in one.message]


def test_a_card_says_before_a_model_is_chosen_for_which_models_it_is(open_finetuning):
    app = open_finetuning(engine="")
    assert "Only for Stable Diffusion 1.5 and Stable Diffusion 2" in card(app, "dreambooth").description
    trained = {
        family
        for engine in registry.available()
        for family, claim in engine.manifest.families.items()
        if "full" in claim.methods
    }
    assert f"and {len(trained) - 3} more" in card(app, "full").description


@pytest.mark.parametrize("method", ["full", "dreambooth", "textual_inversion"])
@pytest.mark.parametrize("engine", ["kohya", "rehearsal"])
def test_no_setting_of_a_network_is_shown_and_each_method_has_its_own(open_finetuning, home, method, engine):
    app = open_finetuning({"model.path": str(header("sd15", home))}, engine)
    choose(app, method)
    shown = shown_settings(app)
    assert not shown & NETWORK_ONLY
    assert "model.method" not in shown
    assert "memory.fp8_base" not in shown
    trains_model = method != "textual_inversion"
    assert ("network.train_text_encoder" in shown) == trains_model
    assert ({"embedding.init_word", "embedding.vectors"} <= shown) != trains_model
    assert {"schedule.steps", "optimizer.learning_rate", "output.save_precision"} <= shown


def test_the_lora_trainer_shows_no_setting_of_finetuning(open_app, home):
    app = open_app(prepare(home), engine="kohya")
    shown = shown_settings(app)
    assert not {path for path in shown if path.startswith("embedding.")}
    assert not shown & {"memory.fused_backward", "model.method"}
    assert {name for _, name in app.recipe.profile.choice.options}.isdisjoint({"sd15-finetune", "sd15-dreambooth"})


def test_every_setting_in_front_is_a_setting_and_is_in_no_group(open_finetuning):
    app = open_finetuning()
    assert set(FINETUNING) <= set(fields.all_fields())
    assert not any(has_panel(fields.all_fields()[path]) for path in FINETUNING)
    grouped = {field.path for members in app.settings._members.values() for field in members}
    assert not grouped & set(FINETUNING)


def test_a_method_that_the_engine_lacks_for_the_model_is_disabled_with_the_reason(open_finetuning, home):
    app = open_finetuning({"model.path": str(header("sdxl", home))}, "")
    assert card(app, "dreambooth").disabled
    assert "It is possible with Stable Diffusion 1.5" in card(app, "dreambooth").description
    assert not card(app, "full").disabled
    app.session.change({"model.path": str(header("sd15", home))})
    app.session.show()
    assert not card(app, "dreambooth").disabled


def test_the_cards_and_the_bar_say_how_large_and_how_much_memory(open_finetuning, home, images):
    settings = {"model.path": str(header("sd15", home)), "dataset.path": str(images)}
    app = open_finetuning(settings, "kohya", engine_plans.machine(engine_plans.CARD), "sd15-finetune")
    assert "GPU memory: " in card(app, "full").description
    assert "File: 2.13 GB" in card(app, "full").description
    assert " kB" in card(app, "textual_inversion").description
    bar = app.launch.figures.value
    assert "2.13 GB" in bar
    assert "GB with all checkpoints" in bar


def test_memory_presets_of_the_lora_trainer_are_not_offered_and_fused_backward_is(open_finetuning, home):
    app = open_finetuning({"model.path": str(header("sdxl", home))}, "kohya")
    unfold(app.memory.step)
    offered = {name for _, name in app.memory.choice.choice.options}
    assert "finetune-sdxl-24" in offered
    assert not offered & {"sdxl-24", "low-memory"}
    with app.session.lock:
        app.session.bench.use_preset("finetune-sdxl-24")
    app.session.show()
    assert app.session.values["memory.fused_backward"] is True


def test_no_fix_turns_it_into_a_lora_training(open_finetuning, home):
    app = open_finetuning({"model.path": str(header("sdxl", home)), "model.method": "dreambooth"}, "kohya")
    found = [problem for problem in app.session.problems if problem.path == "model.method"]
    assert len(found) == 1
    assert found[0].fix is None


def run_to_the_end(app):
    app.launch.start.click()
    deadline = time.monotonic() + 180
    while app.session.run is None or app.session.run.state not in FINAL_STATES:
        assert time.monotonic() < deadline, (app.session.message, app.session.run and app.session.run.summary)
        assert "Not started" not in app.session.message, app.session.message
        time.sleep(0.05)
    return app.session.run


@pytest.mark.parametrize("method", ["full", "dreambooth", "textual_inversion"])
def test_a_training_of_each_method_is_accepted_and_is_in_the_history_of_both_apps(
    open_finetuning, open_app, model, images, method
):
    app = open_finetuning({"model.path": str(model), "dataset.path": str(images), "dataset.trigger": "mika"})
    choose(app, method)
    values = {
        "schedule.steps": 8,
        "schedule.warmup_steps": 0,
        "output.save_every_steps": 4,
        "sampling.every_steps": 0,
        "output.name": "mika_v1",
    }
    app.session.change({**values, "native": {"rehearsal": {"steps_per_second": 0}}})
    app.session.show()
    run = run_to_the_end(app)
    assert run.state is JobState.COMPLETED, run.diagnosis
    assert run.folder.plan["model"]["method"] == method
    assert run.result["acceptance"]["ok"]
    assert (places.outputs() / "mika_v1.safetensors").is_file()
    other = open_app()
    assert other.session.run is None, "the LoRA trainer does not open with a run of the other app"
    history = shown(other)
    title = methods.shipped()[method].title
    wait_for(lambda: [row["profile"] for row in history.table.content["rows"] if row.get("name") == "mika_v1"])
    (kind,) = [row["profile"] for row in history.table.content["rows"] if row.get("name") == "mika_v1"]
    assert kind.startswith(title)
    assert [run.folder.path.name for run in list_runs(places.runs())]


def test_the_apps_do_not_take_over_runs_of_each_other(open_finetuning, open_app, model, images):
    app = open_finetuning({"model.path": str(model), "dataset.path": str(images), "dataset.trigger": "mika"})
    choose(app, "full")
    app.session.change(
        {
            "schedule.steps": 4,
            "schedule.warmup_steps": 0,
            "sampling.every_steps": 0,
            "native": {"rehearsal": {"steps_per_second": 0}},
        }
    )
    app.session.show()
    run = run_to_the_end(app)
    other = open_app()
    other.session.handler(lambda _: other.session.bench.begin_from(run))()
    assert "Full finetuning" in other.session.message
    assert "Finetuning_Trainer.ipynb" in other.session.message
    assert other.session.values["model.method"] == "lora"
    assert other.lock.path != app.lock.path


def test_an_app_that_is_opened_again_shows_the_run_in_progress_of_its_own_methods(
    open_finetuning, open_app, model, images
):
    app = open_finetuning({"model.path": str(model), "dataset.path": str(images), "dataset.trigger": "mika"})
    choose(app, "full")
    values = {"schedule.steps": 5000, "schedule.warmup_steps": 0, "sampling.every_steps": 0}
    app.session.change({**values, "native": {"rehearsal": {"steps_per_second": 5}}})
    app.session.show()
    app.launch.start.click()
    deadline = time.monotonic() + 180
    while app.session.run is None:
        assert time.monotonic() < deadline, app.session.message
        time.sleep(0.05)
    run = app.session.run
    try:
        assert open_app().session.run is None
        again = open_finetuning()
        assert again.session.run is not None
        assert again.session.run.folder.path == run.folder.path
        assert again.session.values["model.method"] == "full"
    finally:
        run.stop(grace_s=1)


def test_dreambooth_has_the_class_images_beside_the_images_and_says_what_they_cost(
    open_finetuning, model, images, tmp_path
):
    dogs = tmp_path / "dogs"
    dogs.mkdir()
    Image.new("RGB", (512, 512)).save(dogs / "1.png")
    app = open_finetuning({"model.path": str(model), "dataset.path": str(images), "dataset.trigger": "mika"})
    choose(app, "dreambooth")
    unfold(app.dataset.step)
    control = app.settings.controls["dataset.class_path"]
    assert on_page(control.widget)
    enter(control.control, str(dogs))
    app.session.show()
    caption = app.settings.controls["dataset.class_caption"]
    assert on_page(caption.widget)
    enter(caption.control, "a dog")
    assert control.note == "An epoch has 3 class images beside 3 of the subject, so it takes twice the steps."
    choose(app, "textual_inversion")
    app.session.reset("dataset.class_path")
    app.session.show()
    assert not on_page(control.widget)
