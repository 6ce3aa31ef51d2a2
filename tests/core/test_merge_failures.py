"""A merge that goes wrong: damaged models, programs that are killed, and full disks leave no file under its name."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.support import commands, recorded_headers, small_models
from tests.support.checkout import ROOT
from tests.support.small_models import Arrays
from trainer_core.errors import HeaderError, WeightsError
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.tools import merge
from trainer_core.tools.merge import Settings
from trainer_core.weights import writing

DENOISER = "model.diffusion_model."


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


def pair(name: str = "sd15") -> tuple[Arrays, Arrays]:
    first = small_models.arrays(name, 1)
    return first, small_models.near(first, 2)


def files(folder: Path, *models: Arrays) -> tuple[str, ...]:
    return tuple(
        str(small_models.write(folder / f"{letter}.safetensors", model))
        for letter, model in zip("abc", models, strict=False)
    )


def settings(folder: Path, *models: Arrays, **more: object) -> Settings:
    return Settings(models=files(folder, *models), target=str(folder / "made.safetensors"), **more)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_a_number_that_is_none_is_said_and_no_file_made(tmp_path, bad, kind):
    a, b = (({name: value.astype(kind) for name, value in model.items()}) for model in pair())
    name = DENOISER + "out.2.weight"
    b[name].reshape(-1)[3] = bad
    with pytest.raises(WeightsError, match="not finite") as found:
        merge.run(settings(tmp_path, a, b), lambda _: None)
    assert name in found.value.message
    assert "b.safetensors is damaged" in found.value.message
    assert "a.safetensors" not in found.value.message
    assert "Check in Model_Converter" in found.value.hint
    assert {path.name for path in tmp_path.iterdir()} <= {"a.safetensors", "b.safetensors", "easel"}


def test_a_number_that_is_too_large_for_the_dtype_is_said(tmp_path):
    a, b = (({name: value.astype(np.float32) for name, value in model.items()}) for model in pair())
    a[DENOISER + "out.2.weight"].reshape(-1)[0] = 2e5
    with pytest.raises(WeightsError, match="too large for F16"):
        merge.run(settings(tmp_path, a, b, dtype="fp16"), lambda _: None)


def test_the_outlook_says_that_the_result_is_in_fp8_because_a_is(tmp_path):
    a, b = pair()
    name = DENOISER + "out.2.weight"
    a[name] = a[name].astype(ml_dtypes.float8_e4m3fn)
    chosen = settings(tmp_path, a, b)
    assert any("written in fp8 as A" in note for note in merge.outlook(chosen).notes)
    assert not any("fp8" in note for note in merge.outlook(settings(tmp_path, a, b, dtype="bf16")).notes)
    assert not any("fp8" in note for note in merge.outlook(settings(tmp_path, b, a)).notes)


@pytest.mark.parametrize(
    ("target", "said"), [("easel", "is a folder"), ("new.ckpt", "has the ending .ckpt"), ("no/", "ends with a slash")]
)
def test_a_target_that_can_be_no_safetensors_file_is_refused(tmp_path, target, said):
    (tmp_path / "easel").mkdir(exist_ok=True)
    files_ = files(tmp_path, *pair())
    with pytest.raises(WeightsError, match=said):
        merge.outlook(Settings(models=files_, target=f"{tmp_path}/{target}"))
    assert merge.outlook(Settings(models=files_, target=f"{tmp_path}/v1.5")).target.name == "v1.5.safetensors"


def test_a_cut_or_changed_file_is_refused(tmp_path):
    a, b = pair()
    chosen = settings(tmp_path, a, b)
    path = Path(chosen.models[1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises((HeaderError, WeightsError)):
        merge.run(chosen, lambda _: None)
    path.write_bytes(whole)

    def touched(line: str) -> None:
        if line == "Writing":
            os.utime(path, (1, 1))

    with pytest.raises(WeightsError, match="changed while it was read"):
        merge.run(chosen, touched)
    assert not (tmp_path / "made.safetensors").exists()


def until(check, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def large(folder: Path) -> tuple[str, ...]:
    """Two models in which some tensors are large holes, so that the writing takes a second."""
    layout = {name: ("F16", shape) for name, shape in small_models.shapes("sd15").items()}
    layout |= dict.fromkeys([name for name in layout if name.endswith("ff.net.2.weight")][:3], ("F16", (8192, 4096)))
    return tuple(str(recorded_headers.write_file(folder / f"{letter}.safetensors", layout)) for letter in "ab")


@pytest.mark.parametrize("every", [False, True])
def test_of_a_job_that_is_killed_the_sentence_is_true_and_nothing_is_left(tmp_path, every):
    target, part = tmp_path / "made.safetensors", tmp_path / ".made.safetensors.easel-part"
    chosen = Settings(models=large(tmp_path), target=str(target))
    job = merge.start(chosen)
    until(lambda: part.exists() and part.stat().st_size > 1 << 20)
    commands.kill(job, *(("runner.json", "wrapper.json", "engine.json") if every else ("engine.json",)))
    if every:
        until(lambda: job.state is JobState.LOST)
        recover([job])
    until(lambda: job.result is not None)
    until(lambda: not part.exists())
    assert job.state is (JobState.LOST if every else JobState.FAILED)
    assert job.diagnosis is not None
    assert ("supervisor" if every else "was killed before the file was complete") in job.diagnosis.cause
    assert "again" in job.diagnosis.advice
    assert not target.exists()
    again = merge.start(chosen)
    until(lambda: again.state in FINAL_STATES)
    assert again.state is JobState.COMPLETED
    assert target.exists()


def test_the_space_that_an_unfinished_file_takes_counts_as_free_for_the_next_one(tmp_path, monkeypatch):
    chosen = settings(tmp_path, *pair())
    size = merge.outlook(chosen).size_bytes
    free = size + writing.reserve_bytes(size)
    monkeypatch.setattr(writing, "free_disk_bytes", lambda _: free - 1000)
    with pytest.raises(WeightsError, match="Free some space"):
        merge.outlook(chosen)
    writing.part_of(Path(chosen.target)).write_bytes(bytes(1000))
    assert merge.outlook(chosen).size_bytes == size


def test_the_unfinished_file_of_a_job_that_runs_stays(tmp_path):
    target = tmp_path / "new.safetensors"
    sink = writing.File(target)
    writing.discard_part(target)
    assert sink.part.exists()
    sink.close()
    writing.part_of(target).write_bytes(b"left")
    writing.discard_part(target)
    assert not sink.part.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_killed_leaves_no_file_under_its_name_and_can_be_repeated(tmp_path, number):
    target = tmp_path / "made.safetensors"
    chosen = {"models": large(tmp_path), "target": str(target)}
    (tmp_path / "settings.json").write_text(json.dumps(chosen))
    child = subprocess.Popen((sys.executable, "-m", "trainer_core.tools.merge"), cwd=tmp_path, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    part = tmp_path / ".made.safetensors.easel-part"
    until(lambda: part.exists() and part.stat().st_size > 1 << 20)
    child.send_signal(number)
    child.wait(60)
    assert not target.exists()
    assert part.exists() is (number == signal.SIGKILL)
    small = files(tmp_path, *pair())
    merge.run(Settings(models=small, target=str(target)), lambda _: None)
    assert target.exists()
    assert not part.exists()


def test_the_same_file_as_two_models_is_said_before_the_start(tmp_path):
    a, b = pair()
    one = settings(tmp_path, a, b)
    same = dataclasses.replace(one, models=(one.models[0], one.models[0]))
    assert merge.outlook(same).doubt == "A and B are the same file."
    assert merge.outlook(same).notes[0] == "A and B are the same file."
    (tmp_path / "link.safetensors").symlink_to(one.models[0])
    assert merge.outlook(dataclasses.replace(one, models=(one.models[0], str(tmp_path / "link.safetensors")))).doubt
    assert not merge.outlook(one).doubt
