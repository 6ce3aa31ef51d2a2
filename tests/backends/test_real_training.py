"""Real engines train real LoRAs on this machine, through the same door a user takes: `easel train`.

An engine that is not installed is skipped, and the reason is printed. `python installer.py test` installs what it can.
"""

import json
import sys

import psutil
import pytest
from safetensors import safe_open

from tests.support.real_runs import GIB, wait
from trainer_core import hardware, places
from trainer_core.demo import assets
from trainer_core.demo.dataset import draw_dataset
from trainer_core.events import Progress, Sample, Step
from trainer_core.install import environments
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import controls

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]
STEPS = 6
SAMPLED = (
    *("--sampling-every-steps", "3", "--sampling-width", "64", "--sampling-height", "64"),
    *("--sampling-inference-steps", "2", "--sampling-prompts", "{trigger}, smiling\na castle"),
)
"""The options for samples of two prompts."""


@pytest.fixture(params=["simpletuner", "kohya"])
def engine(request):
    found = environments.installed(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed here (python installer.py backend install {request.param})")
    memory = hardware.machine(places.home())
    if request.param == "kohya" and memory.accelerator.kind == "cpu" and memory.free_ram_bytes < 9 * GIB:
        pytest.skip("sd-scripts needs 9 GiB of free memory on a CPU")
    return request.param


@pytest.fixture
def images(tmp_path):
    draw_dataset(tmp_path / "images")
    return tmp_path / "images"


def alpha(engine):
    """Half the rank, where the engine can write that into its file."""
    return 4.0 if environments.installed(engine).version.startswith("3.") else 2.0


def job(engine, images, folder, steps=STEPS):
    """The options of a training small enough for a CPU."""
    return [
        *("--engine", engine, "--model", assets.make_base(engine), "--dataset", images, "--trigger", "blobbert"),
        *(
            "--name",
            "blob",
            "--output-prefix",
            "cg_",
            "--output",
            folder / "loras",
            "--output-copy-to",
            folder / "comfy",
        ),
        *(
            "--rank",
            "4",
            "--alpha",
            str(alpha(engine)),
            "--resolution",
            "64",
            "--steps",
            str(steps),
            "--learning-rate",
            "1e-3",
        ),
        *(
            "--schedule-scheduler",
            "constant",
            "--memory-mixed-precision",
            "no",
            "--memory-gradient-checkpointing",
            "false",
        ),
        *("--output-save-every-steps", "3"),
    ]


def fingerprint(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def left_over(run):
    """Processes that still belong to the run."""
    marked = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("EASEL_RUN") == str(run.folder.path) and process.status() != psutil.STATUS_ZOMBIE:
                marked.append(process)
        except psutil.Error:
            continue
    return marked


def test_a_lora_is_trained_though_its_starter_is_killed(engine, images, launch, tmp_path):
    before = fingerprint(images)
    run = launch([*job(engine, images, tmp_path), *SAMPLED])
    wait(run, lambda run: run.state in FINAL_STATES)
    assert run.state is JobState.COMPLETED, run.diagnosis
    events, _ = run.events(0)
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, STEPS + 1))
    assert all(event.loss is not None and event.learning_rate for event in events if isinstance(event, Step))
    assert run.result["acceptance"]["ok"]
    assert (run.result["acceptance"]["rank"], run.result["acceptance"]["alpha"]) == (4, alpha(engine))
    made = {(event.step, event.prompt) for event in events if isinstance(event, Sample)}
    assert made == {(step, prompt) for step in (3, 6) for prompt in (0, 1)}
    names = {path.name for path in (tmp_path / "loras").iterdir()}
    assert {"cg_blob.safetensors", "cg_blob-step00000003.safetensors"} <= names
    assert (tmp_path / "comfy" / "cg_blob.safetensors").read_bytes() == (
        tmp_path / "loras" / "cg_blob.safetensors"
    ).read_bytes()
    with safe_open(tmp_path / "loras" / "cg_blob.safetensors", "numpy") as file:
        assert file.metadata()["modelspec.resolution"] == "64x64"
    assert fingerprint(images) == before, "the user's folder is only read"
    assert not left_over(run)
    print(
        f"\n{engine}: {run.result['seconds']:.0f} s, {run.result['peak_memory_bytes'] / GIB:.1f} GiB", file=sys.stderr
    )


def test_a_stopped_training_leaves_no_process_behind(engine, images, launch, tmp_path):
    before = fingerprint(images)
    run = launch(job(engine, images, tmp_path, steps=3000))
    wait(run, lambda run: any(isinstance(event, Progress) and event.step for event in run.events(0)[0]))
    assert run.state is JobState.RUNNING
    assert left_over(run)
    run.stop(grace_s=5)
    assert run.state is JobState.CANCELLED
    assert not left_over(run)
    assert json.loads((run.folder.path / "result.json").read_text())["outputs"] == []
    assert fingerprint(images) == before


def test_a_running_engine_saves_and_samples_when_it_is_asked_or_says_that_it_cannot(engine, images, launch, tmp_path):
    sampling = {"every_steps": 1000, "width": 64, "height": 64, "inference_steps": 2}
    words = [f"--set=sampling.{name}={value}" for name, value in sampling.items()]
    run = launch([*job(engine, images, tmp_path, steps=3000), *words, "--set=output.save_every_steps=1500"])
    if not controls.can(run, "save").possible:
        assert engine == "kohya"
        assert "on request" in controls.can(run, "save").sentence
        return
    wait(run, lambda run: run.summary.step >= 2)
    controls.ask(run, "save")
    wait(run, lambda run: run.summary.checked)
    (saved,) = run.summary.checked.values()
    assert saved.ok, saved.reasons
    controls.ask(run, "sample")
    wait(run, lambda run: run.summary.samples)
    run.stop(grace_s=2)
    assert run.state is JobState.CANCELLED
    assert run.result["newest_good"]["step"] == saved.step
