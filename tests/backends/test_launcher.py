"""accelerate's launcher starts the number of processes in the plan, whatever the user's own `accelerate config` contains."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import engine_plans
from trainer_core.child import child_environment
from trainer_core.engines import launcher, registry
from trainer_core.install import environments

USER_CONFIG = """
compute_environment: LOCAL_MACHINE
distributed_type: 'NO'
num_processes: 1
gpu_ids: '0'
dynamo_config: {dynamo_backend: INDUCTOR}
"""
QUERY = """
import json, sys
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
for words in json.loads(sys.argv[1]):
    seen = _validate_launch_command(launch_command_parser().parse_args([*words, "train.py"]))[0]
    print(json.dumps({name: getattr(seen, name) for name in ("num_processes", "multi_gpu", "gpu_ids", "dynamo_backend")}))
"""


def test_the_launcher_ignores_the_users_configuration(tmp_path: Path):
    if (installed := environments.installed("kohya")) is None:
        pytest.skip("kohya is not installed here, so its launcher cannot be run")
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text(USER_CONFIG)
    launch = {"num_processes": 2}
    (file := tmp_path / "launch.json").write_text(launcher.config(launch, "bf16"))
    words = launcher.command(installed.python, launch, file)[3:]
    queries = [list(words), [word for word in words if not word.startswith("--config_file")]]
    done = subprocess.run(
        [str(installed.python), "-c", QUERY, json.dumps(queries)],
        capture_output=True,
        text=True,
        env=child_environment({"HF_HOME": str(tmp_path)}),
        check=True,
    )
    with_file, without_file = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert with_file == {"num_processes": 2, "multi_gpu": True, "gpu_ids": "all", "dynamo_backend": "no"}
    assert not without_file["multi_gpu"], "without the file, one process would train instead of two"
    assert without_file["dynamo_backend"] == "INDUCTOR"


def test_the_default_is_one_process():
    table = json.loads(launcher.config({"num_cpu_threads_per_process": 2}, "no"))
    assert (table["num_processes"], table["distributed_type"], table["mixed_precision"]) == (1, "NO", "no")


@pytest.mark.parametrize(
    ("launch", "cards", "setting"),
    [
        ({"num_processes": 2}, 1, "num_processes"),
        ({"num_processes": 0}, 1, "num_processes"),
        ({"num_processes": 2}, 0, "num_processes"),
        ({"multi_gpu": True}, 2, "multi_gpu"),
        ({"multi_gpu": True, "use_fsdp": True, "num_processes": 2}, 2, "multi_gpu"),
        ({"num_processes": 2, "gpu_ids": "1"}, 2, "gpu_ids"),
        ({"num_processes": 2, "multi_gpu": True}, 2, None),
        ({"num_processes": 2, "gpu_ids": "0,1"}, 2, None),
        ({"num_cpu_threads_per_process": 2}, 0, None),
    ],
)
@pytest.mark.parametrize("engine", ["kohya", "simpletuner"])
def test_launch_settings_that_the_launcher_refuses_or_changes_cause_a_problem(
    engine: str, launch: dict[str, Any], cards: int, setting: str | None
):
    machine = engine_plans.machine(*[engine_plans.CARD] * cards)
    found = launcher.check(engine, engine_plans.plan("sdxl"), launch, machine)
    paths = [problem.path for problem in found if problem.severity != "info"]
    assert paths == ([f"native.{engine}.launch.{setting}"] if setting else [])


@pytest.mark.parametrize("engine", ["kohya", "simpletuner"])
def test_what_several_processes_mean_for_batch_and_steps_is_said(engine: str):
    plan = engine_plans.plan(
        "sdxl",
        schedule__steps=1001,
        schedule__batch_size=2,
        schedule__gradient_accumulation=3,
        native={engine: {"launch": {"num_processes": 2}}},
    )
    found = engine_plans.problems(registry.get(engine), plan, engine_plans.CARD, engine_plans.CARD)
    (said,) = [problem.message for problem in found if problem.path == f"native.{engine}.launch.num_processes"]
    assert "12 images in a step instead of 6" in said
    assert "1001 steps are then 12012 images" in said
    assert "501 steps are enough" in said
