"""The tool that loads a network with diffusers' own loader: what it refuses, and what it says of a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import recorded_headers
from trainer_core import places
from trainer_core.cli import easel
from trainer_core.engines import registry
from trainer_core.errors import EaselError, InstallError
from trainer_core.install.installed import installed
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.state import JobState
from trainer_core.tools import check_loading
from trainer_core.tools.check_loading import Report, Settings, words

ROLES = Path(__file__).parents[1] / "data" / "roles"


def written(tmp_path: Path, name: str) -> Path:
    tensors = dict(recorded_headers._leaves(json.loads((ROLES / f"{name}.json").read_text())["tensors"]))
    return recorded_headers.write_file(tmp_path / f"{name}.safetensors", tensors)


def test_what_cannot_be_checked_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    with pytest.raises(EaselError, match="HunyuanImagePipeline cannot load networks"):
        check_loading.start(Settings(file=str(written(tmp_path, "lora-kohya-hunyuan-image"))))
    with pytest.raises(EaselError, match="no configuration of this family"):
        check_loading.start(Settings(file=str(written(tmp_path, "lora-peft-wan"))))
    with pytest.raises(InstallError, match="No installed engine has an environment"):
        check_loading.start(Settings(file=str(written(tmp_path, "lora-kohya-sdxl"))))
    assert not places.jobs().exists()


@pytest.mark.parametrize(
    ("report", "is_loaded", "said"),
    [
        (Report("1", loaded={"unet": {"a": 0.5, "b": 0.5}}), True, "changes 2 layers"),
        (Report("1", error="ValueError: no"), False, "does not load this file: ValueError: no"),
        (Report("1"), False, "loads nothing of this file"),
        (
            Report("1", loaded={"unet": {"a": 1.0}}, unexpected=("b.lora_A",)),
            False,
            "no layer for 1 names, such as b.lora_A",
        ),
    ],
)
def test_a_report_becomes_sentences(report: Report, is_loaded: bool, said: str) -> None:
    assert report.is_loaded is is_loaded
    assert said in " ".join(words(report, 2))


def test_a_report_of_another_shape_is_no_answer(tmp_path: Path) -> None:
    folder = JobFolder.create(tmp_path, "check-loading")
    folder.log.write_text("Traceback\nModuleNotFoundError: No module named 'peft'\n")
    assert check_loading.report_of(folder) is None
    assert check_loading.judge(folder, 1).state is JobState.FAILED
    folder.write("report.json", {"loaded": [1], "warnings": "x", "error": "\x1b[31mno"})
    found = check_loading.report_of(folder)
    assert found is not None
    assert (found.layers, found.warnings) == (0, ())
    assert "\x1b" not in found.error


@pytest.mark.backend
@pytest.mark.parametrize(("name", "scale", "code"), [("lora-kohya-sdxl", "0.", 0), ("lora-lycoris-flux-lokr", "", 1)])
def test_the_real_loader_gives_an_answer(tmp_path: Path, name: str, scale: str, code: int) -> None:
    engines = (installed(engine.manifest.id) for engine in registry.available())
    if not any(found and check_loading.has_packages(found) for found in engines):
        pytest.skip("no installed engine has diffusers and PEFT")
    done = CliRunner().invoke(easel, ["tools", "check-loading", str(written(tmp_path, name)), "--json"])
    assert done.exit_code == code, done.output
    report = json.loads(done.stdout)
    assert bool(report["diffusers"]["loaded"]) is (code == 0)
    assert scale in " ".join(report["words"])
