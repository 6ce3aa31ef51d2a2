"""How long a notebook takes to show its first widget, and how much memory its kernel uses, with several real kernels.

Usage: python benchmarks/kernel_start.py [--times 5]
Goal: import and first widget within 1.0 s, at most 150 MB with ipykernel, no torch.

The kernels share a bytecode folder that is empty at first. So the first kernel compiles every module, like the first start
after an installation, and is reported separately. CPU time is that of the thread that makes the app; a busy machine changes it least.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).resolve().parents[1]
GOAL_S, GOAL_MB = 1.0, 150
CELL = """
import time; begun, begun_cpu = time.perf_counter(), time.thread_time()
from trainer_ui.apps import lora_trainer
imported, imported_cpu = time.perf_counter(), time.thread_time()
lora_trainer()
shown, shown_cpu = time.perf_counter(), time.thread_time()
import json, sys
rss_kb = int(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1])
heavy = [name for name in ('torch', 'diffusers', 'transformers', 'tensorboard', 'numpy') if name in sys.modules]
print(json.dumps({
    "import_s": imported - begun, "first_widget_s": shown - begun,
    "import_cpu_s": imported_cpu - begun_cpu, "first_widget_cpu_s": shown_cpu - begun_cpu,
    "rss_mb": rss_kb / 1000, "heavy": heavy,
}))
"""


def measure(home: str) -> dict:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EASEL_HOME": home, "PYTHONPYCACHEPREFIX": f"{home}/bytecode"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    manager, client = start_new_kernel(kernel_name="python3", env=environment, startup_timeout=60)
    try:
        printed: list[str] = []

        def collect(message: dict) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            if message["msg_type"] == "error":
                raise SystemExit("\n".join(message["content"]["traceback"]))

        client.execute_interactive(CELL, timeout=60, output_hook=collect)
        return json.loads("".join(printed).strip().splitlines()[-1])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as home:
        first, *found = [measure(home) for _ in range(times + 1)]
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {times} new kernels after the first one"
    )
    for name in ("import_s", "import_cpu_s", "first_widget_s", "first_widget_cpu_s", "rss_mb"):
        values = [one[name] for one in found]
        print(
            f"{name:18} median {statistics.median(values):7.3f}   worst {max(values):7.3f}   first kernel {first[name]:7.3f}"
        )
    heavy = sorted({name for one in found for name in one["heavy"]})
    print(f"heavy modules loaded: {', '.join(heavy) or 'none'}")
    slow = statistics.median(one["first_widget_s"] for one in found) > GOAL_S
    large = max(one["rss_mb"] for one in found) > GOAL_MB
    return 1 if slow or large or "torch" in heavy else 0


if __name__ == "__main__":
    sys.exit(main())
