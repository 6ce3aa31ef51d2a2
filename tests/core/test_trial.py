"""The results of a trial are used only where it was made; real trials are in tests/backends."""

import dataclasses
import importlib
import json
import sys

import pytest

from trainer_core import hardware
from trainer_core.engines import registry
from trainer_core.engines.status import Trial
from trainer_core.errors import InstallError
from trainer_core.install import environments, trials
from trainer_core.install.inside import trial
from trainer_core.prepare.workbench import Workbench

RECORDS = {
    "AdamW": {"ok": True, "reason": "", "spelled": "AdamW", "state_bytes_per_parameter": 8.0},
    "Lion": {"ok": True, "reason": "", "spelled": "Lion", "state_bytes_per_parameter": 4.0},
    "Lion8bit": {"ok": False, "reason": "bitsandbytes is not installed.", "spelled": "Lion8bit"},
    "SGD": {"ok": False, "reason": "it needs a GPU.", "spelled": "as an older table had it"},
}
KEPT = {
    "version": "1",
    "torch": "2.9",
    "device": "a processor",
    "optimizers": RECORDS,
    "parts": {"triton": {"ok": False, "reason": "it needs a GPU."}},
}
MACHINE = hardware.Machine((hardware.Accelerator("cpu", "a processor"),), 1 << 34, 1 << 34, 1 << 34, 2, "Linux x86_64")


@pytest.fixture
def kohya(tmp_path, monkeypatch):
    """An installed engine with the records of its trials."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    home = environments.engine_home("kohya")
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "venv" / "bin" / "python").symlink_to(sys.executable)
    about = {"version": "1", "commit": "", "interpreter": "3.11", "torch": "registry", "torch_reason": ""}
    record = {**about, "id": "kohya", "accelerator": "cpu", "origin": "", "fingerprint": "", "installed_at": ""}
    (home / "installed.json").write_text(json.dumps({**record, "details": {"torch": "2.9"}}))
    (home / "trials.json").write_text(json.dumps(KEPT))
    return environments.installed("kohya")


def test_an_optimizer_that_failed_its_trial_is_refused_and_a_fallback_offered(kohya):
    bench = Workbench(MACHINE, engine="kohya")
    bench.set({"model.family": "sdxl", "optimizer.name": "Lion8bit"})
    said = [problem for problem in bench.problems if problem.path == "optimizer.name"]
    assert [problem.severity for problem in said] == ["error"]
    assert "bitsandbytes is not installed" in said[0].message
    assert said[0].fix.changes == {"optimizer.name": "Lion"}
    bench.set(said[0].fix.changes)
    assert not [problem for problem in bench.problems if problem.path == "optimizer.name"]
    assert bench.state.facts.engine("kohya").trials.packages == {"triton": Trial(works=False, reason="it needs a GPU.")}


def test_a_record_of_another_spelling_is_ignored(kohya):
    spelled = registry.get("kohya").manifest.optimizers
    assert set(trials.load(kohya, "a processor", spelled)["optimizers"]) == {"AdamW", "Lion", "Lion8bit"}


@pytest.mark.parametrize("changed", [{"version": "2"}, {"details": {"torch": "2.10"}}, {"details": {}}])
def test_records_of_another_version_or_device_are_ignored(kohya, changed):
    spelled = {"Lion": "Lion"}
    assert trials.load(kohya, "a processor", spelled)["optimizers"]
    nothing = {"optimizers": {}, "parts": {}}
    assert trials.load(dataclasses.replace(kohya, **changed), "a processor", spelled) == nothing
    assert trials.load(kohya, "a new card", spelled) == nothing


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "1", "torch": "2.9", "device": "a processor"}', "\xff"])
def test_a_broken_file_means_that_nothing_was_tried(kohya, text):
    (kohya.home / "trials.json").write_text(text, "latin-1")
    assert trials.load(kohya, "a processor", {"Lion": "Lion"}) == {"optimizers": {}, "parts": {}}


def test_an_untried_optimizer_is_reported_except_the_last_fallback(kohya):
    def said(optimizer):
        bench.set({"optimizer.name": optimizer})
        return [(problem.severity, problem.message) for problem in bench.problems if problem.path == "optimizer.name"]

    (kohya.home / "trials.json").unlink()
    bench = Workbench(MACHINE, engine="kohya")
    bench.set({"model.family": "sdxl"})
    ((severity, message),) = said("Lion8bit")
    assert severity == "info"
    assert "not tried on this machine" in message
    assert "easel backends trial kohya" in message
    assert said("AdamW") == [], "it is the last fallback of all others"


def test_only_an_installed_engine_can_be_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with pytest.raises(InstallError, match="not installed"):
        environments.trial("kohya")


def missing_inside():
    try:
        importlib.import_module("no_such_package.inside")
    except ImportError as error:
        raise ImportError("No such package / in another language") from error


def raising(error):
    def trial():
        raise error

    return trial


@pytest.mark.parametrize(
    ("tried", "device", "sentence"),
    [
        (missing_inside, "cpu", "no_such_package is not installed."),
        (raising(RuntimeError("Found no NVIDIA driver.\nmore")), "cpu", "it needs a GPU."),
        (raising(RuntimeError("CUDA error.\nmore")), "cuda", "it stopped with RuntimeError: CUDA error."),
        (raising(ValueError()), "cpu", "it stopped with ValueError."),
    ],
)
def test_a_failure_is_one_sentence(tried, device, sentence):
    record = trial.attempt(tried, device)
    assert (record["ok"], record["reason"]) == (False, sentence)
