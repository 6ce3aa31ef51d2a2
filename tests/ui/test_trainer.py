"""The LoRA trainer without a page: real jobs of an engine that replays a recorded log, and the messages that a page would get."""

import array
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import recorded_headers
from tests.support.page import act, button, click, enter, go, inside, markup, on_page, prepare, unfold, wait_for
from trainer_core import hardware, places
from trainer_core.catalog import presets
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.prepare.workbench import Workbench
from trainer_core.training.run import list_runs
from trainer_ui.apps.lora_trainer import LoraTrainer

ROOT = Path(__file__).parents[2]
EVIL = "<img src=x onerror=\"window.__pwned='ui'\">"


def listen(app):
    """The messages that the page of the monitor would get from now on."""
    heard = []
    app.run.monitor.send = lambda message, buffers=None: heard.append((message, buffers))
    return heard


def hello(app):
    app.run.monitor._handle_custom_msg({"kind": "hello"}, [])


def points(heard):
    """The points that a page has after these messages, by the rules of monitor.js."""
    have = array.array("f")
    for message, buffers in [one for one in heard if one[0]["kind"] == "run"]:
        if message["full"]:
            have = array.array("f")
        if message["run"]:
            assert message["from"] == len(have) // 3
            have.frombytes(buffers[0])
    return list(have[::3])


def status(heard):
    return next(
        (message["status"] for message, _ in reversed(heard) if message["kind"] == "run" and message["run"]), {}
    )


@pytest.fixture
def started(open_app, home):
    """Starts a job with the messages that a page sends, and stops it at the end of the test."""
    apps = []

    def start(steps=40, profile="", **rehearsal):
        app = open_app(prepare(home, steps, **rehearsal), profile)
        apps.append(app)
        app.heard = listen(app)
        click(button(app.root, "Start training"))
        wait_for(lambda: app.session.run is not None or app.session.message)
        assert app.session.run is not None, app.session.message
        return app

    yield start
    for app in apps:
        if app.session.run is not None and app.session.run.state not in FINAL_STATES:
            app.session.run.stop()


def test_missing_settings_are_reported_and_nothing_starts(open_app):
    app = open_app()
    click(button(app.root, "Start training"))
    assert "Not started" in app.message.value
    assert app.session.run is None
    assert {"model.path", "dataset.path", "output.name"} <= {problem.path for problem in app.session.problems}


def test_model_dataset_and_profile_are_chosen_and_explained(open_app, home):
    settings = prepare(home)
    app = open_app(engine="")
    wait_for(lambda: len(app.model.known.options) > 1)
    enter(app.model.known, settings["model.path"])
    assert app.model.path.value == settings["model.path"]
    assert "Stable Diffusion 1" in app.model.says.value
    assert "A single file." in app.model.reasons.value
    assert "Not Stable Diffusion XL" in app.model.reasons.value
    assert "\ninput_blocks.0.0.weight is" in app.model.reasons.value
    enter(app.dataset.path, settings["dataset.path"])
    assert "6 of 6 images have a caption" in app.dataset.counts.value
    assert on_page(app.launch.problems.widget)
    (home / "empty").mkdir()
    enter(app.dataset.path, str(home / "empty"))
    assert "caption" not in app.dataset.counts.value
    enter(app.dataset.path, settings["dataset.path"])
    enter(app.recipe.profile.choice, "sd15-style")
    assert "<b>Rank 64</b> <span>" in app.recipe.profile.values.value, "what it sets, and why"
    assert "[cutedoodle]" in app.recipe.profile.sources.value
    assert app.session.bench.state.draft.source_of("network.rank").name == "PROFILE"
    fold = app.model.engine.widget.children[0]
    enter(fold, True)
    assert "SimpleTuner" in app.model.engine.table.value
    enter(fold, False)


def test_a_fix_is_one_click(open_app, home):
    app = open_app(prepare(home) | {"schedule.warmup_steps": 500})
    problem = next(problem for problem in app.session.problems if problem.path == "schedule.warmup_steps")
    click(button(app.root, problem.fix.label))
    assert app.session.values["schedule.warmup_steps"] == 4
    assert not [problem for problem in app.session.problems if problem.severity == "error"]


def test_a_problem_keeps_its_row(open_app, home):
    app = open_app(prepare(home) | {"schedule.warmup_steps": 500})
    problem = next(problem for problem in app.session.problems if problem.path == "schedule.warmup_steps")
    before = button(app.root, problem.fix.label)
    unfold(app.output.step)
    for name in ("a/b", "c|d", "good"):
        enter(app.settings.controls["output.name"].control, name)
        assert button(app.root, problem.fix.label) is before
    shown = [row for row in app.launch.problems.rows if on_page(row.widget)]
    assert len(shown) == len(app.session.problems)
    for number in range(100):
        enter(app.settings.controls["output.name"].control, f"a/{number}")
    assert len(app.launch.problems.widget.children) < 10


def test_a_run_is_watched_from_its_first_step_to_its_file(started):
    app = started(steps=40, steps_per_second=80)
    wait_for(lambda: status(app.heard).get("state") == "COMPLETED")
    assert points(app.heard) == list(range(1, 41))
    wait_for(lambda: app.watch_bar.bar.content["pill"][0] == "Finished")
    found = {row["label"]: row["text"] for row in status(app.heard)["verdict"]}
    assert Path(found["File"]).is_file()


def test_what_a_running_job_uses_is_shown_in_words(started):
    app = started(steps=100_000, steps_per_second=100)
    wait_for(lambda: status(app.heard).get("gauges"))
    shown = {row["label"]: row["text"] for row in status(app.heard)["gauges"]}
    assert {"RAM used", "RAM free", "Disk free"} <= set(shown)
    assert all(text.endswith(("iB", "cores", "%", "°C", "W")) for text in shown.values())


def test_a_page_says_when_the_job_was_not_heard_for_long(started):
    app = started(steps=100_000, steps_per_second=100)
    folder = app.session.run.folder
    wait_for(lambda: folder.read("heartbeat.json") is not None)
    assert status(app.heard).get("old", "") == ""
    supervisor = folder.read("runner.json")["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        heard = folder.read("heartbeat.json")
        folder.write("heartbeat.json", {**heard, "uptime_s": heard["uptime_s"] - 130, "time": heard["time"] - 130})
        wait_for(lambda: status(app.heard).get("old"))
        assert status(app.heard)["old"] == "Not heard from the job for 2 minutes: what you see may be old."
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_for(lambda: status(app.heard)["old"] == "")


def test_at_most_four_messages_a_second(started):
    began = time.monotonic()
    app = started(steps=400, steps_per_second=200)
    wait_for(lambda: status(app.heard).get("state") == "COMPLETED")
    told = [message for message, _ in app.heard if message["kind"] == "run"]
    assert len(told) <= 4 * (time.monotonic() - began) + 4
    assert points(app.heard) == list(range(1, 401))


def test_a_view_that_opens_late_gets_everything(started):
    app = started(steps=60, steps_per_second=60)
    wait_for(lambda: len(points(app.heard)) > 10)
    before = len(app.heard)
    hello(app)
    wait_for(lambda: any(message["full"] for message, _ in app.heard[before:] if message["kind"] == "run"))
    wait_for(lambda: status(app.heard).get("state") == "COMPLETED")
    assert points(app.heard[before:]) == list(range(1, 61))


def test_stop_stops_and_says_so(started):
    app = started(steps=5000, steps_per_second=20)
    wait_for(lambda: len(points(app.heard)) > 2)
    act(app, "stop")
    wait_for(lambda: status(app.heard).get("state") == "CANCELLED")
    wait_for(lambda: app.watch_bar.bar.content["pill"][0] == "Stopped")


def test_a_run_outlives_a_killed_kernel_and_the_next_one_finds_it(open_app, home):
    settings = prepare(home, steps=3000, steps_per_second=30)
    code = f"""
import time
from trainer_core.prepare.workbench import Workbench
from trainer_ui.apps.lora_trainer import LoraTrainer
app = LoraTrainer(Workbench(engine="rehearsal"), {settings!r})
app.open()
app.launch.start._handle_custom_msg({{"event": "click"}}, [])
while app.session.run is None: time.sleep(.05)
print("started", flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    kernel = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert kernel.stdout is not None
    try:
        assert kernel.stdout.readline().strip() == "started"
    finally:
        kernel.send_signal(signal.SIGKILL)
        kernel.wait()
        kernel.stdout.close()
    app = open_app()
    assert app.session.run is not None
    try:
        heard = listen(app)
        hello(app)
        wait_for(lambda: len(points(heard)) > 20)
        seen = points(heard)
        assert seen == list(range(1, len(seen) + 1))
    finally:
        app.session.run.stop()


def test_ended_runs_stay_in_the_history(started, open_app):
    first = started(steps=10, steps_per_second=100)
    wait_for(lambda: status(first.heard).get("state") == "COMPLETED")
    app = open_app()
    assert app.session.run is None
    go(app, "history")
    name = first.session.run.folder.path.name
    wait_for(lambda: app.history.table.content["rows"])
    assert [row["name"] for row in app.history.table.content["rows"]] == ["trial"]
    heard = listen(app)
    app.history.table._handle_custom_msg({"kind": "open", "run": name}, [])
    click(app.history.card.buttons["watch"])
    wait_for(lambda: status(heard).get("state") == "COMPLETED")
    assert points(heard) == list(range(1, 11))
    assert len(list_runs(places.runs())) == 1


def test_a_failed_run_shows_what_happened(started):
    app = started(steps=40, steps_per_second=100, ending="oom")
    wait_for(lambda: status(app.heard).get("state") == "FAILED")
    labels = [row["label"] for row in status(app.heard)["verdict"]]
    assert "What happened" in labels
    assert "What to do" in labels


def test_no_text_from_outside_becomes_markup(open_app, home, tmp_path):
    settings = prepare(home)
    folder = Path(settings["dataset.path"])
    (folder / "image0.txt").write_text(EVIL)
    (folder / "image1.png").rename(folder / "<img src=x onerror=alert(1)>.png")
    profile = tmp_path / "evil.toml"
    profile.write_text(
        f"id='evil'\ntitle={EVIL!r}\nfamily='sd15'\nmethod='lora'\nuse='style'\nexplanation={EVIL!r}\nsources=[{EVIL!r}]\n".replace(
            "'<img", "'''<img"
        ).replace(">'", ">'''")
    )
    app = open_app(
        settings | {"output.name": EVIL, "dataset.trigger": EVIL, "output.copy_to": f"/{EVIL}"}, profile=str(profile)
    )
    unfold(app.model.step, app.output.step, app.samples.step, app.memory.step)
    for place in ("results", "history"):
        go(app, place)
    for widget in inside(app.root):
        if "easel-fold" in getattr(widget, "_dom_classes", ()):
            enter(widget, True)
    click(app.launch.start)
    assert app.session.bench.state.profile is not None, app.session.message
    assert "&lt;img" in markup(app.root)
    assert "<img" not in markup(app.root)


def test_a_run_that_cannot_be_read_is_reported_once_and_not_followed(started):
    app = started(steps=10, steps_per_second=100)
    wait_for(lambda: status(app.heard).get("state") == "COMPLETED")
    folder = app.session.run.folder.path
    app.jobs.feed.follow(None)
    wait_for(lambda: app.heard[-1][0].get("run") == "")
    (folder / "spec.json").write_text("{}")
    app.jobs.feed.follow(app.session.run)
    wait_for(lambda: app.session.message)
    assert "damaged" in app.session.message
    wait_for(lambda: app.heard[-1][0].get("run") == "")


def test_the_feed_does_not_wait_for_a_slow_handler(started):
    app = started(steps=30, steps_per_second=60)
    with app.session.lock:
        wait_for(lambda: status(app.heard).get("state") == "COMPLETED")
        assert points(app.heard) == list(range(1, 31))


def test_after_a_restart_the_form_shows_the_settings_of_the_running_job(started, open_app):
    app = started(profile="sd15-character", steps=4000, steps_per_second=20)
    paths = [path for path in app.session.values if path not in ("model.family", "model.prediction")]
    asked = {path: (app.session.values[path], app.session.bench.state.draft.source_of(path)) for path in paths}
    app.close()
    again = open_app()
    assert again.session.run.folder.path == app.session.run.folder.path
    draft = again.session.bench.state.draft
    assert {path: (draft.values[path], draft.source_of(path)) for path in paths} == asked, (
        "values and where they come from"
    )


def test_the_model_panel_has_fields_for_the_companion_files(open_app, home):
    app = open_app(prepare(home), engine="kohya")
    assert not on_page(app.model.companions.widget)
    recorded_headers.write("flux-dev", home / "models")
    enter(app.model.path, str(home / "models" / "flux-dev.safetensors"))
    assert on_page(app.model.companions.widget)
    assert [path for path, one in app.model.companions.controls.items() if on_page(one.widget)] == [
        "model.vae",
        "model.clip_l",
        "model.t5xxl",
    ]
    enter(app.model.companions.controls["model.t5xxl"].control, "/nowhere/t5.safetensors")
    assert app.session.values["model.t5xxl"] == "/nowhere/t5.safetensors"
    assert "does not exist" in app.model.companions.controls["model.t5xxl"].note
    enter(app.model.path, str(home / "models" / "sd15.safetensors"))
    assert not on_page(app.model.companions.widget)


def test_a_memory_preset_is_offered_for_the_family_and_is_the_source_of_its_values(open_app, home):
    app = open_app(prepare(home), "sd15-character")
    unfold(app.memory.step)
    choice = app.memory.choice.choice
    assert [name for _, name in choice.options] == ["", *(preset.id for preset in presets.for_family("sd15"))]
    enter(choice, "standard-memory")
    batch = app.settings.controls["schedule.batch_size"]
    assert (batch.control.value, batch.source.description) == (2, "preset")
    assert app.settings.controls["network.rank"].source.description == "profile"
    assert presets.get("standard-memory").sources[0] in app.memory.choice.sources.value
    enter(batch.control, 3)
    assert batch.source.description == "yours"
    enter(choice, "")
    assert app.settings.controls["schedule.gradient_accumulation"].source.description == "default"
    assert batch.control.value == 3


def test_the_preset_for_this_card_is_marked(home):
    device = hardware.Accelerator("cuda", "a card", 16 * 1024**3, 15 * 1024**3, "8.6")
    machine = hardware.Machine((device,), 16 * 1024**3, 8 * 1024**3, 100 * 1024**3, 4, "Linux x86_64")
    home.mkdir(parents=True)
    recorded_headers.write("sdxl", home)
    app = LoraTrainer(Workbench(machine, "rehearsal"), {"model.path": str(home / "sdxl.safetensors")})
    app.open()
    try:
        unfold(app.memory.step)
        marked = [name for title, name in app.memory.choice.choice.options if "this card" in title]
    finally:
        app.close()
    assert marked == ["sdxl-16"]


def test_a_preset_for_another_family_is_removed_with_a_message(open_app, home):
    settings = prepare(home)
    recorded_headers.write("sdxl", home / "models")
    app = open_app({**settings, "model.path": str(home / "models" / "sdxl.safetensors")}, preset="sdxl-16")
    unfold(app.memory.step)
    assert app.memory.choice.choice.value == "sdxl-16"
    enter(app.model.path, settings["model.path"])
    assert app.session.bench.state.preset is None
    assert "was removed" in app.session.message
    assert app.memory.choice.choice.value == ""


def test_an_image_that_is_left_out_at_the_start_is_counted_then(open_app, home):
    """The page reads only the headers of images; the start decodes each of them."""
    settings = prepare(home)
    image = next(Path(settings["dataset.path"]).glob("*.png"))
    image.write_bytes(image.read_bytes()[:-40])
    app = open_app({**settings, "dataset.skip_unreadable": True})
    before = len(app.session.bench.state.facts.dataset.images)
    click(app.launch.start)
    wait_for(lambda: app.session.run is not None and not app.session.starting)
    assert len(app.session.bench.state.facts.dataset.images) == before - 1
