"""The command line for users and programs: real processes, the rehearsal engine, exit codes and JSON."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support import easel_program, recorded_headers
from tests.support.played import until
from trainer_core.plan import fields

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=alert(1)>[bold red]\x1b[31m"


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A recorded SD1.5 model and three captioned images."""
    folder = tmp_path_factory.mktemp("cli")
    recorded_headers.write("sd15", folder)
    (folder / "images").mkdir()
    for index in range(3):
        Image.new("RGB", (512, 512), (index * 60, 80, 90)).save(folder / "images" / f"{index}.png")
        (folder / "images" / f"{index}.txt").write_text("elena, " + HOSTILE)
    return folder


@pytest.fixture
def easel(tmp_path):
    """Calls `easel` with its own home folder."""

    def call(*arguments, check=None):
        environment = {**os.environ, "EASEL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        done = easel_program.easel(*arguments, environment=environment, cwd=tmp_path)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    return call


@pytest.fixture
def job(shared, tmp_path):
    """Options of a small job with the rehearsal engine."""
    return [
        *("--model", shared / "sd15.safetensors", "--dataset", shared / "images", "--trigger", "elena"),
        *("--name", "elena", "--output", tmp_path / "out", "--steps", "12", "--engine", "rehearsal"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_utf8_whatever_names_contain(shared, tmp_path, encoding):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff caf\xe9 \xc3\xa9"))
    shutil.copytree(shared / "images", folder)
    (folder / "2.txt").unlink()
    (folder / os.fsdecode(b"\xfe.png")).write_bytes((folder / "0.png").read_bytes())
    shutil.copy(shared / "sd15.safetensors", model := folder / os.fsdecode(b"\xfe.safetensors"))
    environment = {**os.environ, "EASEL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    environment |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for arguments in (
        ("dataset", "check", folder),
        ("detect", model),
        ("models", "list", "--folder", folder),
        ("plan", "--model", model, "--dataset", folder, "--name", "x", "--trigger", "elena", "--engine", "rehearsal"),
    ):
        command = [sys.executable, "-m", "trainer_core.cli", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, check=False, timeout=120)
        assert json.loads(done.stdout.decode("utf-8")), done.stderr
        assert b"Traceback" not in done.stderr


def test_detect_recognises_a_file_and_exits_1_for_a_file_that_is_no_model(easel, shared, tmp_path):
    page = tmp_path / "page.safetensors"
    page.write_text("<!DOCTYPE html>")
    done = easel("detect", "--json", shared / "sd15.safetensors", page, check=1)
    model, other = json.loads(done.stdout)
    assert (model["family"], model["role"], model["error"]) == ("sd15", "checkpoint", None)
    assert model["trainable_by"] == ["kohya"]
    assert "web page" in other["error"]


def test_detect_names_all_variants_that_no_header_tells_apart(easel, tmp_path):
    named = {"z-image": "base or turbo", "flux-dev": "dev"}
    for name, kinds in named.items():
        found = easel("detect", recorded_headers.write(name, tmp_path), check=0).stdout
        assert f"diffusion model, {kinds}, " in found
    kontext = (tmp_path / "flux-dev.safetensors").rename(tmp_path / "flux1-kontext.safetensors")
    assert "diffusion model, dev or kontext, " in easel("detect", kontext, check=0).stdout


def test_a_folder_without_images_is_a_problem(easel, tmp_path):
    (tmp_path / "empty").mkdir()
    done = easel("dataset", "check", tmp_path / "empty", "--json", check=3)
    assert any(problem["severity"] == "error" for problem in json.loads(done.stdout)["problems"])


def test_a_plan_has_every_value_and_its_source(easel, job):
    done = easel("plan", *job, "--profile", "sd15-character", "--steps", "2000", "--rank", "4", "--json", check=0)
    data = json.loads(done.stdout)
    assert set(data) == {"values", "problems", "files", "command", "steps", "estimate", "image_folders"}
    assert data["values"]["network.rank"] == {"value": 4, "source": "USER"}
    assert data["values"]["schedule.min_snr_gamma"]["source"] == "PROFILE"
    assert data["values"]["schedule.seed"]["source"] == "DEFAULT"
    assert data["files"]
    assert data["command"]
    numbers = {
        "steps",
        "epochs",
        "seconds",
        "vram_gib",
        "ram_gib",
        "disk_gib",
        "states_gib",
        "lora_mib",
        "samples",
        "sampling_s",
        "basis",
    }
    numbers |= {"is_time_known", "is_size_usual"}
    assert set(data["estimate"]) == numbers
    assert data["estimate"]["epochs"] > 0


def test_a_plan_as_json_has_a_fixed_shape(easel, job):
    data = json.loads(easel("plan", *job, "--name", "a/b", "--trigger", "girl", "--json", check=3).stdout)
    assert set(data) == {"values", "problems", "files", "command", "steps", "estimate", "image_folders"}
    assert set(data["values"]) == set(fields.all_fields())
    assert all(set(row) == {"value", "source"} for row in data["values"].values())
    assert all(set(problem) == {"path", "severity", "message", "fix"} for problem in data["problems"])
    fixes = {problem["path"]: problem["fix"] for problem in data["problems"]}
    assert fixes["dataset.trigger"] is None
    assert set(fixes["output.name"]) == {"label", "changes"}


@pytest.mark.parametrize("word", ["", "none"])
def test_none_clears_an_optional_setting_which_is_null_in_json(easel, job, tmp_path, word):
    (tmp_path / "plan.toml").write_text("[optimizer]\nbeta1 = 0.8\nbias_correction = true\n")
    cleared = [f"--set=optimizer.beta1={word}", f"--optimizer-bias-correction={word}", "--optimizer-beta2", "0.99"]
    values = json.loads(easel("plan", tmp_path / "plan.toml", *job, *cleared, "--json", check=0).stdout)["values"]
    assert values["optimizer.beta1"] == {"value": None, "source": "USER"}
    assert values["optimizer.bias_correction"]["value"] is None
    assert values["optimizer.beta2"]["value"] == 0.99
    assert values["optimizer.epsilon"] == {"value": None, "source": "DEFAULT"}


def test_a_printed_plan_leaves_out_settings_that_do_not_apply_unless_they_are_set(easel, job):
    shown = easel("plan", *job, "--set", "optimizer.momentum=0.5", "--optimizer-beta1", "0.8", check=0).stdout
    rows = {line.split()[0] for line in shown.splitlines() if "." in line.partition(" ")[0]}
    assert {"network.rank", "optimizer.beta1", "optimizer.momentum"} <= rows
    assert not {"network.factor", "embedding.vectors", "optimizer.d_coef", "model.t5xxl"} & rows
    assert "0.999 (default)" in shown


def test_a_printed_plan_says_who_set_each_value(easel, job):
    chosen = ("--profile", "sd15-character", "--preset", "standard-memory", "--steps", "2000", "--rank", "4")
    shown = easel("plan", *job, *chosen, check=0).stdout
    rows = {line.split()[0]: line for line in shown.splitlines() if "." in line.partition(" ")[0]}
    assert rows["network.rank"].rstrip().endswith("you")
    assert "profile sd15-character" in rows["network.alpha"]
    assert "preset standard-memory" in rows["schedule.batch_size"]
    assert "the default" in rows["schedule.seed"]


def test_policies_are_listed_shown_and_override_a_profile(easel, job):
    rows = json.loads(easel("policies", "--json", check=0).stdout)
    assert {"flux-guide", "actor", "style", "style-002"} <= {row["id"] for row in rows}
    shown = json.loads(easel("policies", "actor", "--images", "11", "--json", check=0).stdout)
    assert (shown["values"]["schedule.steps"], shown["values"]["optimizer.learning_rate"]) == (1100, 3e-4)
    assert set(shown["reasons"]) == set(shown["values"])
    values = json.loads(
        easel("plan", *job, "--profile", "sd15-character", "--policy", "repeats-lora-scripts", "--json").stdout
    )["values"]
    assert values["dataset.repeats"] == {"value": 7, "source": "PREFILL"}
    assert "repeats-civitai" in easel("plan", *job, "--policy", "nothing", check=2).stderr


def test_presets_are_listed_and_override_a_profile(easel, job, tmp_path):
    rows = json.loads(easel("presets", "--json", check=0).stdout)
    assert {"id", "families", "vram_gib", "values", "sources", "fits"} <= set(rows[0])
    assert [row["id"] for row in json.loads(easel("presets", "sd15", "--json", check=0).stdout)] == [
        row["id"] for row in rows if not row["families"]
    ]
    both = ["--profile", "sd15-character", "--preset", "standard-memory", "--steps", "2000"]
    values = json.loads(easel("plan", *job, *both, "--json", check=0).stdout)["values"]
    assert values["schedule.batch_size"] == {"value": 2, "source": "PREFILL"}
    assert values["network.rank"]["source"] == "PROFILE"
    (tmp_path / "plan.toml").write_text('preset = "high-memory"\n')
    for more, batch in (([], 4), (["--preset", "low-memory", "--schedule-gradient-accumulation", "3"], 1)):
        done = easel("plan", tmp_path / "plan.toml", *job, *more, "--json", check=0)
        assert json.loads(done.stdout)["values"]["schedule.batch_size"]["value"] == batch
    assert "low-memory" in easel("plan", *job, "--preset", "tiny", check=2).stderr


def test_nested_native_tables_come_from_a_plan_file_and_from_set(easel, job, tmp_path):
    text = "[native.kohya]\nmax_data_loader_n_workers = 1\n[native.kohya.launch]\nnum_cpu_threads_per_process = 1\ndebug = true\n"
    (tmp_path / "plan.toml").write_text(text)
    name = "native.kohya.launch"
    options = [
        *job,
        "--set",
        f"{name}.num_cpu_threads_per_process=2",
        "--set",
        f"{name}.main_process_port=29501",
        "--engine",
        "kohya",
    ]
    data = json.loads(easel("plan", tmp_path / "plan.toml", *options, "--json").stdout)
    launch = {"num_cpu_threads_per_process": 2, "debug": True, "main_process_port": 29501}
    assert data["values"]["native"]["value"] == {"kohya": {"max_data_loader_n_workers": 1, "launch": launch}}
    command = data["command"]
    assert "--num_cpu_threads_per_process=2" in command
    easel("plan", *job, "--set", "native.kohya..x=1", check=2)
    easel("plan", *job, "--set", "native.kohya=1", check=2)


def test_problems_give_exit_code_3_with_their_setting_and_fix(easel, job):
    done = easel("plan", *job, "--name", "a/b", "--json", check=3)
    problem = next(p for p in json.loads(done.stdout)["problems"] if p["path"] == "output.name")
    assert problem["severity"] == "error"
    assert problem["fix"]["changes"] == {"output.name": "a-b"}
    assert "a/b" in easel("train", *job, "--name", "a/b", check=3).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rank", "many"],
        ["--set", "network.rnak=4"],
        ["--set", "nonsense"],
        ["--optimizer-name", "AdamWW"],
        ["nowhere.toml"],
    ],
)
def test_wrong_usage_is_exit_code_2(easel, job, arguments):
    easel("plan", *job, *arguments, check=2)


def test_a_dataset_that_cannot_be_scanned_is_refused_with_its_reason(easel, tmp_path):
    done = easel("plan", "--dataset", tmp_path / "nowhere", "--json", check=3)
    (problem,) = [p for p in json.loads(done.stdout)["problems"] if p["path"] == "dataset.path"]
    assert "does not exist" in problem["message"]


LONG = "a" * 300
NOBODY = "~nobody-of-that-name/x.toml"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "--model", NOBODY], 3),
        (["plan", "--profile", NOBODY], 1),
        (["plan", "--dataset", NOBODY], 3),
        (["plan", "--model", LONG, "--output", LONG, "--set", f"output.copy_to={LONG}"], 3),
        (["runs", "show", LONG], 2),
        (["dataset", "check", LONG], 1),
        (["detect", NOBODY], 1),
    ],
)
def test_unusual_paths_give_an_exit_code_and_no_traceback(easel, arguments, code):
    easel(*arguments, check=code)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[model]\npath = 5", "model.path"),
        ("[model]\nfamily = [1]", "model.family"),
        ("[dataset]\npath = 5", "dataset.path"),
        ('[dataset]\npath = "images"\ntrigger = 5', "dataset.trigger"),
        ('[dataset]\npath = "images"\ncaption_extension = 5', "dataset.caption_extension"),
        ("native = 5", "native"),
        ("[native]\nkohya = 5", "native"),
        ('"\\u001b[31mx" = 5', "\x1b[31mx"),
    ],
)
def test_a_wrong_type_in_a_plan_file_is_a_problem_at_its_setting(easel, shared, tmp_path, text, path):
    (tmp_path / "plan.toml").write_text(text.replace("images", str(shared / "images")))
    done = easel("plan", tmp_path / "plan.toml", "--set", "native.kohya.sdpa=true", "--json", check=3)
    assert path in [problem["path"] for problem in json.loads(done.stdout)["problems"]]
    assert "\x1b" not in easel("plan", tmp_path / "plan.toml").stdout


def test_a_plan_file_that_is_nested_too_deeply_is_wrong_usage(easel, tmp_path):
    (tmp_path / "plan.toml").write_text("a = " + "[" * 5000)
    easel("plan", tmp_path / "plan.toml", check=2)


def test_training_works_with_names_that_are_not_utf8(easel, job, shared, tmp_path):
    images, out = tmp_path / "p\udcff", tmp_path / "o\udcff"
    shutil.copytree(shared / "images", images)
    easel("train", *job, "--dataset", images, "--output", out, check=0)
    assert (out / "elena.safetensors").is_file()


def test_a_lora_that_could_not_be_delivered_is_reported(easel, job, tmp_path):
    (tmp_path / "loras").mkdir()
    name = json.loads(
        easel(
            *("train", *job, "--set", f"output.copy_to={tmp_path / 'loras'}", "--detach", "--json"),
            *("--set", "native.rehearsal.steps_per_second=6"),
            check=0,
        ).stdout
    )["run"]
    (tmp_path / "loras").rmdir()
    (tmp_path / "loras").write_text("a file now")
    assert "could not be copied" in easel("runs", "follow", name, check=0).stdout


def test_a_removed_current_folder_gives_no_traceback(tmp_path):
    (tmp_path / "gone").mkdir()
    script = f"rmdir ../gone; {sys.executable} -m trainer_core.cli plan --model x"
    environment = {**os.environ, "EASEL_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path / "gone", env=environment, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr


def test_every_setting_has_an_option(easel):
    text = easel("train", "--help", check=0).stdout
    for path in fields.all_fields():
        assert "--" + path.replace(".", "-").replace("_", "-") in text
    for name in filter(None, (setting.about.option for setting in fields.all_fields().values())):
        assert name in text
    assert "Only with polynomial." in " ".join(text.split())


def test_train_delivers_a_lora_and_its_plan_file_can_be_trained_again(easel, job, tmp_path):
    done = easel("train", *job, "--set", "native.rehearsal.steps_per_second=100", "--json", check=0)
    data = json.loads(done.stdout)
    assert data["state"] == "COMPLETED"
    assert (tmp_path / "out" / "elena.safetensors").is_file()
    again = easel("train", Path(data["folder"]) / "plan.toml", check=0)
    assert "COMPLETED" in again.stdout
    assert len(list((tmp_path / "out").glob("elena*.safetensors"))) == 2, "the first one is not overwritten"


def test_a_failed_run_is_exit_code_1_with_advice(easel, job):
    done = easel("train", *job, "--set", "native.rehearsal.ending=oom", check=1)
    assert "FAILED" in done.stdout
    assert "what to do" in done.stdout


def test_a_detached_run_is_listed_and_stopped_by_other_commands(easel, job, tmp_path):
    slow = ["--set", "native.rehearsal.steps_per_second=2", "--steps", "500"]
    name = json.loads(easel("train", *job, *slow, "--detach", "--json", check=0).stdout)["run"]
    assert [row["state"] for row in json.loads(easel("runs", "list", "--json", check=0).stdout)] == ["RUNNING"]
    events = tmp_path / "home" / "runs" / name / "events.jsonl"
    until(lambda: '"gauges"' in events.read_text())
    shown = easel("runs", "show", name, check=0).stdout
    assert "RAM used: " in shown
    assert "Disk free: " in shown
    assert json.loads(easel("runs", "show", name, "--json", check=0).stdout)["summary"]["gauges"]["memory_bytes"] > 0
    assert "CANCELLED" in easel("runs", "stop", "last", check=0).stdout
    assert json.loads(easel("runs", "show", name, "--json", check=0).stdout)["state"] == "CANCELLED"
    easel("runs", "show", "no-such-run", check=2)


def test_outside_text_is_shown_as_text(easel, shared, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / f"{HOSTILE}.png").write_bytes(b"<html>")
    (folder / f"{HOSTILE}.safetensors").write_bytes(b"<html>")
    looked = easel("dataset", "check", folder, check=3).stdout
    detected = easel("detect", folder / f"{HOSTILE}.safetensors", check=1).stdout
    for shown in (looked, detected):
        assert "\x1b" not in shown
        assert HOSTILE.replace("\x1b", "\\u001b") in shown, "shown completely, as text: no markup is removed"


def test_the_list_of_engines(easel):
    engines = {row["id"]: row for row in json.loads(easel("backends", "list", "--json", check=0).stdout)}
    assert set(engines) >= {"kohya", "simpletuner"}
    assert "rehearsal" not in engines, "hidden engines are never listed"
    assert "sd15" in engines["simpletuner"]["refused"], "refused families are listed, with the reason"
