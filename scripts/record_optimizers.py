"""Records what the optimizers of an engine take, in `backends/<id>/optimizers.json`. Run it after an engine's version has changed.

    .venv/bin/python scripts/record_optimizers.py kohya simpletuner

The engine must be installed. Its own Python builds each optimizer as in `easel backends trial`, and nothing is written into it.
"""

from __future__ import annotations

import json
import subprocess
import sys

from trainer_core.child import child_environment
from trainer_core.engines import registry
from trainer_core.files import write_whole
from trainer_core.install import trials
from trainer_core.install.inside import trial
from trainer_core.install.installed import installed

KEPT = ("class", "file", "takes")


def record(name: str) -> None:
    """Writes the record of one engine."""
    table, engine = registry.get(name).manifest, installed(name)
    if engine is None:
        sys.exit(f"{name} is not installed.")
    task = {
        "build": str(table.folder / "try_optimizers.py"),
        "path": str(engine.source) if engine.source else None,
        "limit_s": trials.ITEM_S,
        "items": trials.optimizers_of(table),
    }
    answer = subprocess.run(
        [str(engine.python), "-B", trial.__file__, json.dumps(task)],
        capture_output=True,
        text=True,
        check=True,
        env=child_environment({"HF_HUB_OFFLINE": "1"}),
    )
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    found = {line["tried"][1]: {key: line[key] for key in KEPT} for line in lines if line.get("ok")}
    if missing := table.optimizers.keys() - found.keys():
        sys.exit(f"These optimizers of {name} could not be built here: {', '.join(sorted(missing))}.")
    rows = ",\n".join(f"  {json.dumps(one)}: {json.dumps(found[one])}" for one in table.optimizers)
    head = json.dumps({"version": engine.version})[:-1]
    write_whole(table.folder / "optimizers.json", f'{head}, "optimizers": {{\n{rows}\n}}}}\n')
    print(f"{name}: {len(found)} optimizers.")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        record(name)
