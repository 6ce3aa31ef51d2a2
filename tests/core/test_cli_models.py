"""`easel models` for users and programs: the real command, its exit codes, and only JSON on stdout with --json."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import recorded_headers
from tests.support.downloading import SECRET
from tests.support.misbehaving import running
from trainer_core.cli import download, easel
from trainer_core.cli.models import _kind
from trainer_core.errors import LibraryError
from trainer_core.models.detection import Detection
from trainer_core.models.detection.result import Guess
from trainer_core.models.library import Entry
from trainer_core.models.library.roots import apps

HOSTILE = "<img>[bold red]\x1b[31m"


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Calls `easel` with an empty home folder and without programs of this machine; raises Easel's errors."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for name in ("EASEL_MODEL_FOLDERS", *(name for table in apps().values() for name in table.get("environment", ()))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, code=0):
        done = CliRunner().invoke(easel, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.stdout

    return run


@pytest.fixture
def shelf(tmp_path):
    folder = tmp_path / "person" / "ComfyUI" / "models" / "checkpoints"
    folder.mkdir(parents=True)
    recorded_headers.write("sd15", folder)
    recorded_headers.write("lora-kohya-sd15", folder)
    (folder / f"{HOSTILE}.safetensors").write_text("<!DOCTYPE html>")
    return folder


def test_models_of_other_programs_are_listed_with_their_detection(call, shelf):
    rows = {row["path"]: row for row in json.loads(call("models", "list", "--json"))}
    assert len(rows) == 3
    model = rows[str(shelf / "sd15.safetensors")]
    assert (model["role"], model["family"], model["app"], model["error"]) == ("checkpoint", "sd15", "comfyui", None)
    assert model["size_bytes"] == (shelf / "sd15.safetensors").stat().st_size
    assert "kohya" in model["trainable_by"]
    assert "web page" in rows[str(shelf / f"{HOSTILE}.safetensors")]["error"]
    shown = call("models", "list")
    line = next(line for line in shown.splitlines() if line.endswith(str(shelf / "sd15.safetensors")))
    assert line.split()[:2] == ["checkpoint", "sd15,"]
    assert "web page" in shown
    assert "\x1b" not in shown
    assert "3 of 3 models" in shown


def test_a_guess_by_name_does_not_contradict_the_variants_of_the_header():
    guess = Guess("z_image_turbo", "Z-Image Turbo", "file name", "its name", "turbo", distilled=True)
    seen = Detection("z_image", "diffusion_model", variant="base", guess=guess)
    entry = Entry(Path("/z.safetensors"), 1, 0, seen)
    assert _kind(entry) == "z_image, base or turbo; by its file name Z-Image Turbo"
    assert _kind(replace(entry, found=Detection("flux2", "diffusion_model", variant="dev"))) == "flux2, dev"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--role", "checkpoint"), ["sd15.safetensors"]),
        (("--family", "sd15", "--refresh"), ["lora-kohya-sd15.safetensors", "sd15.safetensors"]),
        (("--role", "vae"), []),
    ],
)
def test_the_list_can_be_filtered(call, shelf, options, names):
    rows = json.loads(call("models", "list", "--json", *options))
    assert sorted(row["path"].rpartition("/")[2] for row in rows) == names


def test_a_folder_can_be_listed_without_being_added(call, shelf, tmp_path):
    (tmp_path / "other").mkdir()
    recorded_headers.write("vae-sd", tmp_path / "other")
    rows = json.loads(call("models", "list", "--folder", tmp_path / "other", "--json"))
    assert [(row["role"], row["app"]) for row in rows] == [("vae", "yours")]
    assert str(tmp_path / "other") not in call("models", "folders", "list")
    with pytest.raises(LibraryError, match="not a folder"):
        call("models", "list", "--folder", tmp_path / "nothing")


def test_models_are_found_by_words(call, shelf):
    rows = json.loads(call("models", "find", "KOHYA", "lora", "--json"))
    assert [row["path"] for row in rows] == [str(shelf / "lora-kohya-sd15.safetensors")]
    assert "0 of 3 models" in call("models", "find", "nothing of that name")


def test_parts_are_listed_with_sources_of_missing_ones(call, shelf, tmp_path):
    model = recorded_headers.write("flux-dev", tmp_path)
    recorded_headers.write("clip-l", shelf)
    found = json.loads(call("models", "parts", model, "--json", code=1))
    assert found["found"] == {"clip_l": str(shelf / "clip-l.safetensors")}
    assert [part["setting"] for part in found["missing"]] == ["t5xxl", "vae"]
    assert {"repo", "file", "families"} == set(found["missing"][0]["sources"][0])
    shown = call("models", "parts", model, code=1)
    assert "t5xxl: missing" in shown
    assert "easel models download hf:" in shown
    assert "needs no companion files" in call("models", "parts", shelf / "sd15.safetensors")


def test_folders_are_added_and_removed(call, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    recorded_headers.write("vae-sd", mine)
    call("models", "folders", "add", mine)
    assert {"path": str(mine), "app": "yours", "because": "added by you"} in json.loads(
        call("models", "folders", "list", "--json")
    )
    assert len(json.loads(call("models", "list", "--json"))) == 1
    with pytest.raises(LibraryError, match="already added"):
        call("models", "folders", "add", mine)
    call("models", "folders", "remove", mine)
    assert json.loads(call("models", "list", "--json")) == []
    assert (mine / "vae-sd.safetensors").is_file()


def test_notices_go_to_stderr(call, shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_MODEL_FOLDERS", str(tmp_path / "gone"))
    assert len(json.loads(call("models", "list", "--json"))) == 3
    done = CliRunner().invoke(easel, ["models", "folders", "list"])
    assert "gone" in done.stderr
    assert "gone" not in done.stdout


def test_a_link_is_checked_and_its_secrets_are_not_printed(call, shelf):
    with running() as server:
        link = server.put("/flux.safetensors", recorded_headers.write("lora-kohya-sd15", shelf.parent).read_bytes())
        for text in (f"{link}?token={SECRET}", f"{link}?X-Signature={SECRET}#{SECRET}"):
            (row,) = json.loads(call("detect", "--json", text))
            assert (row["path"], row["role"], row["error"]) == (link, "lora", None)
            assert "needs no companion files" in call("models", "parts", text)
            assert link in (shown := call("detect", text))
            assert SECRET not in shown
    refused = call("detect", "--json", f"https://user:{SECRET}@127.0.0.1/flux.safetensors?token={SECRET}", code=1)
    assert json.loads(refused)[0]["path"] == "https://127.0.0.1/flux.safetensors"
    assert SECRET not in refused


@pytest.fixture
def interruptible():
    """Restores the default SIGINT handler: a background job ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_a_download_and_a_second_one_does_not_wait_for_a_stalled_server():
    with download.interrupted() as cancel:
        signal.raise_signal(signal.SIGINT)
        assert cancel.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_folder_of_models_with_a_config_file_is_searched(call, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    recorded_headers.write("sd15", folder)
    (folder / "config.json").write_text("{}")
    (row,) = json.loads(call("detect", "--json", folder))
    assert (row["path"], row["family"]) == (str(folder / "sd15.safetensors"), "sd15")


def test_unreadable_files_of_a_folder_are_named(call, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (row,) = json.loads(call("detect", "--json", folder, code=1))
    assert "gone.safetensors cannot be read" in row["error"]
    recorded_headers.write("sd15", folder)
    done = CliRunner().invoke(easel, ["detect", "--json", str(folder)])
    assert [row["error"] for row in json.loads(done.stdout)] == [None]
    assert "gone.safetensors cannot be read" in done.stderr


def test_an_empty_name_is_not_the_current_folder(call):
    (row,) = json.loads(call("detect", "--json", "", code=1))
    assert "name of the model is empty" in row["error"]
