"""accelerate's launcher starts as many processes as the plan says, whatever the person's own `accelerate config` says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.backends import engine_plans
from trainer_core import environments, launcher
from trainer_core.child import child_environment

OWN = """
compute_environment: LOCAL_MACHINE
distributed_type: 'NO'
num_processes: 1
gpu_ids: '0'
dynamo_config: {dynamo_backend: INDUCTOR}
"""
ASK = """
import json, sys
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
for words in json.loads(sys.argv[1]):
    seen = _validate_launch_command(launch_command_parser().parse_args([*words, "train.py"]))[0]
    print(json.dumps({name: getattr(seen, name) for name in ("num_processes", "multi_gpu", "gpu_ids", "dynamo_backend")}))
"""


def test_the_launcher_itself_takes_nothing_from_elsewhere(tmp_path: Path):
    if (installed := environments.installed("kohya")) is None:
        pytest.skip("kohya is not installed here, so its launcher cannot be asked")
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").write_text(OWN)
    spread = {"num_processes": 2}
    (file := tmp_path / "launch.json").write_text(launcher.config(spread, "bf16"))
    words = launcher.command(installed.python, spread, file)[3:]
    questions = [list(words), [word for word in words if not word.startswith("--config_file")]]
    done = subprocess.run(
        [str(installed.python), "-c", ASK, json.dumps(questions)],
        capture_output=True,
        text=True,
        env=child_environment({"HF_HOME": str(tmp_path)}),
        check=True,
    )
    given, left_alone = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert given == {"num_processes": 2, "multi_gpu": True, "gpu_ids": "all", "dynamo_backend": "no"}
    assert not left_alone["multi_gpu"], "without it one process would train, and the plan says two"
    assert left_alone["dynamo_backend"] == "INDUCTOR"


def test_one_process_trains_unless_more_are_asked_for():
    told = json.loads(launcher.config({"num_cpu_threads_per_process": 2}, "no"))
    assert (told["num_processes"], told["distributed_type"], told["mixed_precision"]) == (1, "NO", "no")


@pytest.mark.parametrize(
    ("launch", "cards", "at"),
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
def test_what_the_launcher_would_stop_at_or_do_otherwise_is_said(
    engine: str, launch: dict[str, Any], cards: int, at: str | None
):
    machine = engine_plans.machine(*[engine_plans.CARD] * cards)
    said = [problem.path for problem in launcher.check(engine, launch, machine)]
    assert said == ([f"native.{engine}.launch.{at}"] if at else [])
