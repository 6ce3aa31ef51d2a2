"""What the user has set is there again when the app is opened again, and only a press on a button empties the form."""

import json
import threading
import time

import pytest

from tests.support.page import button, click, enter, go, on_page, prepare, wait_for
from trainer_core.draft.layers import Source
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.prepare import kept_form
from trainer_core.prepare.kept_form import Form
from trainer_core.prepare.workbench import PLAIN, Workbench
from trainer_ui.apps.lora_trainer import LoraTrainer
from trainer_ui.keeper import Keeper
from trainer_ui.panels.kept import BACK, FRESH, UNDO

APP = LoraTrainer.id
TOKEN = "hf_" + "a1B2" * 9


def mine(app):
    return app.session.bench.state.draft.layers[Source.USER]


def fill(app, settings):
    """Enters the settings as a user does, one after the other."""
    for path, value in settings.items():
        app.session.handler(lambda _, path=path, value=value: app.session.change({path: value}))()


def test_what_was_set_before_any_run_is_there_again_and_one_line_says_so(open_app, home):
    app = open_app()
    fill(app, prepare(home) | {"network.rank": 12, "optimizer.beta1": None})
    app.session.bench.use_profile(PLAIN)
    app.session.show()
    kept = dict(mine(app))
    app.close()
    app = open_app()
    assert mine(app) == kept
    assert app.session.bench.state.plain
    assert on_page(app.kept.widget)
    assert time.strftime("Your settings of %H:") in app.kept.says.value
    assert "are here again" in app.kept.says.value


def test_an_untouched_form_leaves_no_file_and_says_nothing(open_app):
    open_app().close()
    assert not kept_form.kept_in(APP).exists()
    assert not on_page(open_app().kept.widget)


def test_start_afresh_empties_the_form_and_can_be_undone(open_app, home):
    settings = prepare(home) | {"network.rank": 12}
    app = open_app()
    fill(app, settings)
    app.close()
    app = open_app()
    click(app.kept.button)
    assert mine(app).keys() <= {"model.method"}
    assert app.kept.button.description == BACK
    click(app.kept.button)
    assert settings.items() <= mine(app).items()
    assert app.kept.button.description == FRESH
    click(app.kept.button)
    app.close()
    assert mine(open_app()).keys() <= {"model.method"}, "an emptied form stays empty"


def test_after_starting_afresh_the_name_is_a_question_again_and_stays_open(open_app, home):
    settings = prepare(home)
    app = open_app()
    fill(app, settings | {"output.name": "before"})
    app.close()
    app = open_app()
    assert app.output.step.is_folded
    click(app.kept.button)
    assert not app.output.step.is_folded
    for path in ("model.path", "dataset.path", "dataset.trigger"):
        fill(app, {path: settings[path]})
        assert not app.output.step.is_folded, path


def test_a_killed_kernel_loses_at_most_the_last_second(open_app, home):
    app = open_app()
    enter(app.dataset.trigger, "mika")
    wait_for(lambda: kept_form.kept_in(APP).exists())
    assert kept_form.read(kept_form.kept_in(APP)).form.values["dataset.trigger"] == "mika"


def test_many_changes_are_written_once_a_second_and_the_last_one_at_the_end(tmp_path):
    path, said, seen = tmp_path / "form.json", [], set()
    keeper = Keeper(path, said.append, kept_form.keep)
    started = time.monotonic()
    while time.monotonic() - started < 1.5:
        keeper.keep(Form({"network.rank": int(1000 * (time.monotonic() - started)) + 1}))
        if path.exists():
            seen.add(path.read_text())
        time.sleep(0.005)
    assert len(seen) <= 3
    keeper.keep(Form({"network.rank": 77}))
    keeper.close()
    assert kept_form.read(path).form.values == {"network.rank": 77}
    assert not said


def test_a_form_with_which_a_run_was_started_is_that_of_the_run(open_app, home):
    app = open_app()
    fill(app, prepare(home, 2000, steps_per_second=20))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None)
    path = kept_form.kept_in(APP)
    wait_for(lambda: path.exists() and kept_form.read(path).form.run)
    run, started_with = app.session.run, dict(mine(app))
    app.close()
    assert kept_form.read(kept_form.kept_in(APP)).form.run == run.name
    app = open_app()
    assert app.session.run.name == run.name
    assert not on_page(app.kept.widget), "the settings are those of the run, which is in progress"
    assert app.session.values["network.rank"] == run.folder.plan["network"]["rank"]
    enter(app.settings.controls["network.rank"].control, 9)
    app.close()
    app = open_app()
    assert app.session.values["network.rank"] == 9, "what was set after the start is not lost"
    assert on_page(app.kept.widget)
    app.session.run.stop()
    wait_for(lambda: app.session.run.state in FINAL_STATES)
    app.close()
    kept_form.keep(kept_form.kept_in(APP), Form(started_with, run=run.name))
    assert open_app().session.values["output.name"] == started_with["output.name"], "the run has ended"


def test_other_arguments_of_the_cell_win_and_the_form_can_be_brought_back(open_app, home):
    app = open_app({"network.rank": 4})
    fill(app, {"schedule.steps": 77})
    app.close()
    app = open_app({"network.rank": 4})
    assert (app.session.values["network.rank"], app.session.values["schedule.steps"]) == (4, 77)
    app.close()
    app = open_app({"network.rank": 6})
    assert app.session.values["network.rank"] == 6
    assert app.session.values["schedule.steps"] != 77
    assert app.kept.button.description == BACK
    click(app.kept.button)
    assert (app.session.values["network.rank"], app.session.values["schedule.steps"]) == (4, 77)


def test_a_token_is_never_written(open_app, home):
    app = open_app()
    native = {"kohya": {"huggingface_token": TOKEN, "lowram": True}}
    fill(app, {"sampling.prompts": (f"a cat {TOKEN}",), "network.rank": 3, "native": native})
    app.close()
    files = [path for path in (home / "forms").iterdir() if path.is_file()]
    assert files
    assert all(TOKEN not in path.read_text() for path in files)
    app = open_app()
    assert mine(app)["native"] == {"kohya": {"lowram": True}}
    assert "native.kohya.huggingface_token, sampling.prompts" in app.kept.says.value.replace(
        "sampling.prompts, native.kohya.huggingface_token", "native.kohya.huggingface_token, sampling.prompts"
    )


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 1}', '{"version": 99, "values": {}}', "\x00\xff", "[" * 100_000],
)
def test_a_damaged_file_is_kept_aside_and_said(open_app, content):
    path = kept_form.kept_in(APP)
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="latin-1")
    app = open_app()
    assert "their file is damaged" in app.kept.says.value
    assert not on_page(app.kept.button)
    assert path.with_name(f"{path.name}.damaged").read_text(encoding="latin-1") == content
    assert mine(app).keys() <= {"model.method"}


def test_what_a_setting_no_longer_accepts_is_said_and_the_rest_comes_back(open_app):
    path = kept_form.kept_in(APP)
    kept_form.keep(path, Form({"network.rank": 12}, profile="gone"))
    data = json.loads(path.read_text())
    data["values"] |= {"network.old": 5, "schedule.steps": "many", "optimizer.learning_rate": float("nan")}
    path.write_text(json.dumps(data))
    app = open_app()
    assert mine(app)["network.rank"] == 12
    assert mine(app).keys() <= {"model.method", "network.rank"}
    said = app.kept.says.value
    assert "network.old" in said
    assert "It was 5." in said
    assert "many" in said
    assert "The profile gone is no longer there." in said


def test_of_two_kernels_the_last_one_wins_as_a_whole(home, opening):
    one, other = (opening(LoraTrainer, Workbench(engine="rehearsal")) for _ in range(2))
    fill(one, {"network.rank": 5, "network.alpha": 5.0})
    fill(other, {"network.rank": 7, "schedule.steps": 70})
    one.kept.close()
    other.kept.close()
    kept = kept_form.read(kept_form.kept_in(APP)).form.values
    assert kept in (
        {"network.rank": 5, "network.alpha": 5.0},
        {"network.rank": 7, "schedule.steps": 70},
    )


def test_writing_from_many_threads_leaves_a_whole_file(tmp_path):
    path = tmp_path / "form.json"
    forms = [Form({"network.rank": number, "output.name": "x" * 5000}) for number in range(1, 9)]
    threads = [threading.Thread(target=kept_form.keep, args=(path, form)) for form in forms for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept_form.read(path).form in forms


def test_values_recalled_for_a_subject_stay_recalled(open_app, home):
    from trainer_core.prepare import subjects

    subjects.remember("mika", {"network.rank": 8})
    app = open_app()
    fill(app, {"dataset.trigger": "mika", "schedule.steps": 50})
    app.close()
    app = open_app()
    assert app.session.memory.recalled == {"network.rank": 8}


def test_a_home_that_cannot_be_written_is_said_once(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    said = []
    keeper = Keeper(blocked / "form.json", said.append, kept_form.keep)
    for rank in (1, 2):
        keeper.keep(Form({"network.rank": rank}))
        keeper.write()
    keeper.close()
    assert len(said) == 1
    assert "cannot be kept" in said[0]


def test_the_settings_of_a_run_replace_the_form_with_a_sentence_and_an_undo(open_app, home):
    app = open_app(prepare(home, 10, steps_per_second=0))
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None and app.session.run.state in FINAL_STATES)
    fill(app, {"dataset.trigger": "rexdog", "network.rank": 9})
    go(app, "results")
    before = dict(mine(app))
    click(button(app.root, "Train again with changes"))
    assert app.session.values["network.rank"] != 9
    assert on_page(app.kept.widget)
    assert "Settings of trial are here." in app.kept.says.value
    assert app.kept.button.description == UNDO
    click(app.kept.button)
    assert mine(app) == before
    assert "are here again" in app.kept.says.value


def test_starting_afresh_forgets_what_a_pasted_command_chose_and_a_download_that_failed(open_app, hub):
    app = open_app({"model.family": "sdxl"}, engine="")
    app.recipe.profile.pasting.children[0].value = True
    box, panel = app.recipe.profile.paste, app.model.engine
    enter(
        box.text,
        "sdxl_train_network.py --network_module=networks.lora --network_dim=24 --network_args loraplus_lr_ratio=4",
    )
    click(box.look)
    click(box.accept)
    app.session.handler(lambda _: panel.choose("simpletuner"))()
    enter(app.model.path, "nobody/nothing")
    wait_for(lambda: app.model.fetch.state == "failed")
    kept = dict(mine(app))
    assert panel.switched
    assert "native" in kept
    app.session.handler(lambda _: app.kept.start_afresh())()
    state = app.session.bench.state
    assert (state.engine, state.profile, state.preset, state.plain) == (None, None, None, False)
    assert panel.choice.value == ""
    assert "chosen by you" not in panel.widget.children[0].description
    assert panel.switched is None
    assert mine(app).keys() <= {"model.method", "model.family"}, "only what the notebook was opened with"
    assert box.text.value == ""
    assert "taken over" not in box.told.value
    assert not on_page(box.again)
    assert not on_page(app.model.fetch.widget)
    click(app.kept.button)
    assert mine(app) == kept
    assert panel.choice.value == "simpletuner"


def test_starting_afresh_keeps_the_engine_that_the_notebook_was_opened_with(open_app):
    app = open_app(engine="rehearsal")
    app.session.handler(lambda _: app.model.engine.choose("kohya"))()
    app.session.handler(lambda _: app.kept.start_afresh())()
    assert app.session.bench.state.engine.manifest.id == "rehearsal"
