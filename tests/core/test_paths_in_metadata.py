"""What looks like a path is found in a text of metadata, whatever system it is from, and only the name of its file stays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from trainer_core.tools import scrub
from trainer_core.training.metadata import privacy

WINDOWS = r"C:\Users\Jane Doe\My Models\base one.safetensors"
PATHS = {
    "spaces": "/home/jane doe/my models/base one.safetensors",
    "a drive": WINDOWS,
    "a drive with slashes": "D:/Jane Doe/base one.safetensors",
    "a long path": rf"\\?\{WINDOWS}",
    "a share": r"\\server\Jane Doe\base one.safetensors",
    "a share with slashes": "//server/jane/base one.safetensors",
    "a share by address": "smb://server/jane/base one.safetensors",
    "an address": "file:///home/jane/base one.safetensors",
    "an address of a drive": "file:///C:/Users/jane/base one.safetensors",
    "the home folder": "~/jane/base one.safetensors",
    "a variable": r"%USERPROFILE%\jane\base one.safetensors",
    "a variable of a shell": "${HOME}/jane/base one.safetensors",
    "the folder above": "../jane/base one.safetensors",
    "the users of this drive": r"\Users\jane\base one.safetensors",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another person's machine, so that no name of a user is known."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_path_becomes_the_name_of_its_file(path: str) -> None:
    assert privacy.private(path) == "a path"
    assert privacy.without_paths(path) == "base one.safetensors"


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    "text", ["trained from {} with care", "--model={}", "<lora={}:1>", "first line\n{}\n", "'{}'", "a, {}, b"]
)
def test_a_path_in_a_text_loses_its_folders(text: str, path: str) -> None:
    assert privacy.private(text.format(path)) == "a path"
    left = privacy.without_paths(text.format(path)).lower()
    assert "base" in left
    assert not [word for word in ("jane", "doe", "users", "server", "home", "my models") if word in left]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_path_in_json_is_found_at_any_depth_and_the_rest_stays(path: str) -> None:
    inner = json.dumps({"dir": path, "steps": 5})
    for text in (inner, json.dumps([inner]), json.dumps({"a": {"b": [inner]}})):
        assert privacy.private(text) == "a path"
        left = privacy.without_paths(text)
        assert "jane" not in left.lower()
        assert json.loads(left)
    assert json.loads(privacy.without_paths(inner)) == {"dir": "base one.safetensors", "steps": 5}
    for text in (f"settings: {inner}", repr({"dir": path})):
        assert "jane" not in privacy.without_paths(text).lower()


@pytest.mark.parametrize(
    "path", ["/home/jane", "/home/Jane Doe/", r"C:\Users\Jane Doe", "/Users/jane", "/mnt/c/Users/Jane Doe", "~jane"]
)
def test_the_name_of_a_home_folder_does_not_stay(path: str) -> None:
    for text in (path, f"kept in {path}", json.dumps({"dir": path})):
        assert "jane" not in privacy.without_paths(text).lower() or path == "~jane"
        assert "doe" not in privacy.without_paths(text).lower()


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.org/a/b", "runwayml/stable-diffusion-v1-5", "a cat / a dog", "2024/05/01", "24/7", "and/or"),
        *(r"regex \d+\s*", "modelspec/1.0", "C: yes", "$5/month", "see //comment here", "a // b", "file://", ""),
    ],
)
def test_what_is_no_path_stays(text: str) -> None:
    assert privacy.private(text) == ""
    assert privacy.without_paths(text) == text


def test_the_scrub_of_a_file_removes_them(tmp_path: Path) -> None:
    metadata = {f"my_trainer.{number}": json.dumps({"from": path}) for number, path in enumerate(PATHS.values())}
    metadata |= {"ss_sd_model_name": WINDOWS, "modelspec.description": f"Made of {WINDOWS}.", "my_trainer.rank": "8"}
    kept, findings = scrub.scrubbed(metadata)
    assert kept["ss_sd_model_name"] == "base one.safetensors"
    assert kept.keys() == {"ss_sd_model_name", "modelspec.description", "my_trainer.rank"}
    assert "jane" not in json.dumps(kept).lower()
    assert len(findings) == len(PATHS) + 2


@pytest.mark.parametrize("part", ["/a", "\\", "//", "C:\\", "../", "a b/", '{"', "~/", "$HOME/", "/home/A B "])
def test_a_long_text_takes_little_time(part: str) -> None:
    begun = time.process_time()
    privacy.without_paths(part * 50_000)
    assert time.process_time() - begun < 5
