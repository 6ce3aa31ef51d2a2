"""Reads exports with the schedulers' own packages, each in an environment of its own: `python export_tools.py TOOL FILE`.

The Python of each is named by an environment variable; see `PYTHONS`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import Any

PYTHONS = {"skypilot": "EASEL_SKYPILOT_PYTHON", "dstack": "EASEL_DSTACK_PYTHON", "ray": "EASEL_RAY_PYTHON"}


def of_skypilot(file: Path) -> dict[str, Any]:
    task = importlib.import_module("sky.task").Task.from_yaml(str(file))
    names = importlib.import_module("sky.utils.gpu_names").CANONICAL_GPU_NAMES
    # Read as text: to import it needs RunPod's package.
    runpod = Path(importlib.import_module("sky.catalog").__file__ or "").parent / "data_fetchers" / "fetch_runpod.py"
    common = importlib.import_module("sky.catalog").get_common_gpus()
    resources = [each.accelerators for each in task.resources]
    return {
        "name": task.name,
        "setup": task.setup,
        "run": task.run,
        "mounts": task.file_mounts,
        "gpus": {name: count for each in resources if each for name, count in each.items()},
        "disk": [each.disk_size for each in task.resources],
        "secrets": [ref.name for ref in task._managed_secret_refs],
        "known": sorted(
            {*names, *common, *re.findall(r"^    '([\w-]+)': \{$", runpod.read_text("utf-8"), re.MULTILINE)}
        ),
    }


def of_dstack(file: Path) -> dict[str, Any]:
    yaml = importlib.import_module("yaml")
    read = importlib.import_module("dstack._internal.core.models.configurations").parse_run_configuration
    found = read(yaml.safe_load(file.read_text("utf-8")))
    known = importlib.import_module("gpuhunt._internal.constraints").KNOWN_NVIDIA_GPUS
    valid = importlib.import_module("dstack._internal.core.services").is_valid_dstack_resource_name
    return {
        "name": found.name,
        "is_valid": valid(found.name),
        "commands": found.commands,
        "files": [[each.local_path, each.path] for each in found.files],
        "variables": sorted(found.env.root),
        "gpus": found.resources.gpu.name,
        "count": found.resources.gpu.count.min,
        "known": [[each.name, each.memory] for each in known],
    }


def of_ray(_: Path) -> dict[str, Any]:
    found = importlib.import_module("ray.util.accelerators.accelerators")
    return {"known": [value for value in vars(found).values() if isinstance(value, str)]}


if __name__ == "__main__":
    tool = sys.argv[1]
    said = {"skypilot": of_skypilot, "dstack": of_dstack, "ray": of_ray}[tool](Path(sys.argv[2]))
    print(json.dumps({**said, "version": importlib.metadata.version(tool)}))
