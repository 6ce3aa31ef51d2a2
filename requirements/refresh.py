"""Write the hashed requirement files of this folder; see its README.md.

python requirements/refresh.py suite                         suite.txt, dev.txt, build.txt and uv.txt, from pyproject.toml
python requirements/refresh.py engine kohya pins.txt         kohya.txt and kohya-torch.txt, from exact pins that were tested
python requirements/refresh.py tool onnx                     onnx.txt, the packages of a tool's environment; also onnx-gpu, captioner
python requirements/refresh.py worker                        worker.txt, what the worker of RunPod needs beside suite.txt
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYPROJECT = HERE.parent / "pyproject.toml"

# The packages on an index of PyTorch builds, and the dependencies of those builds.
TORCH_FAMILY = re.compile(r"(torch|torchvision|torchaudio|torchao|triton|nvidia-.+|cuda-.+)$")
# Where the registry's build of torch needs its CUDA libraries. Source: Requires-Dist of the torch wheels: up to 2.10 they are
# required on Linux x86_64 only (the aarch64 wheel is a CPU build), from 2.13 on every Linux.
CUDA_ONLY = re.compile(r"(triton|nvidia-.+|cuda-.+)$")
CUDA_MARKER = {"simpletuner-4": "sys_platform == 'linux'"}
CUDA_MARKER_BEFORE_2_13 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
PYTHON = {"simpletuner-4": "3.12"}

UV_PIN = "uv==0.13.8"

TOOLS = {
    "onnx": ["onnxruntime", "numpy", "pillow"],
    "onnx-gpu": ["onnxruntime-gpu[cuda,cudnn]", "numpy", "pillow"],
    # The torch of simpletuner-4, whose build for the CPU is the same release.
    "captioner": ["transformers", "torch==2.14.0", "torchvision", "accelerate", "safetensors", "pillow"],
}
"""What the environments of tools are resolved from, by the name of the file."""

WORKER = "runpod>=1.12"
"""1.10 is the first that stops a job which is cancelled. It is installed into the environment of the suite, in the worker's image only."""


def compile_pins(source: Path, target: Path, *options: str) -> None:
    """Write `target`: the requirements of `source`, pinned and hashed, without the name of an index."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
    ]
    command += ["--no-header", "--universal", "--system-certs", *options, "--output-file", str(target), str(source)]
    subprocess.run(command, check=True, env=clean)
    text = target.read_text()
    if "://" in text or "--find-links" in text:
        raise SystemExit(f"{target} names a host: do not commit it.")
    print(f"{target.name}: {len(re.findall(r'^[a-z0-9]', text, re.MULTILINE))} packages")


def engine(name: str, pins: Path) -> None:
    """Write `<name>.txt` and `<name>-torch.txt` from a list of `package==version` lines."""
    lines = [line.strip() for line in pins.read_text().splitlines() if "==" in line]
    marker = CUDA_MARKER.get(name, CUDA_MARKER_BEFORE_2_13)
    halves: dict[str, list[str]] = {"": [], "-torch": []}
    for line in lines:
        package = line.split("==")[0]
        marked = f"{line} ; {marker}" if CUDA_ONLY.match(package) else line
        halves["-torch" if TORCH_FAMILY.match(package) else ""].append(marked)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, wanted in halves.items():
            source = Path(folder, "pins.in")
            source.write_text("\n".join(wanted) + "\n")
            # --no-deps: exactly this list was tested; the engines' own metadata requires versions that do not work together.
            python = ["--python-version", PYTHON.get(name, "3.11")]
            compile_pins(source, HERE / f"{name}{suffix}.txt", "--no-deps", "--no-annotate", *python)


def tool(name: str) -> None:
    """Write `<name>.txt`, and `<name>-torch.txt` if torch is among the packages, resolved from `TOOLS`."""
    with tempfile.TemporaryDirectory() as folder:
        source, whole = Path(folder, "wanted.in"), Path(folder, "whole.txt")
        source.write_text("\n".join(TOOLS[name]) + "\n")
        compile_pins(source, whole, "--no-annotate", "--python-version", "3.11")
        halves = {"": "", "-torch": ""}
        for block in re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", whole.read_text(), re.MULTILINE | re.DOTALL):
            of_torch = "torch" in " ".join(TOOLS[name]) and TORCH_FAMILY.match(block.split("==")[0])
            halves["-torch" if of_torch else ""] += block
        for suffix, text in halves.items():
            if text:
                (HERE / f"{name}{suffix}.txt").write_text(text)


def worker() -> None:
    """Write `worker.txt`: RunPod's library with all that it needs, in the versions of `suite.txt` where both have a package."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "wanted.in")
        source.write_text(WORKER + "\n")
        constraints = ["--constraints", str(HERE / "suite.txt")]
        compile_pins(source, HERE / "worker.txt", "--no-annotate", "--python-version", "3.11", *constraints)


def suite() -> None:
    """Write `suite.txt`, `dev.txt` (the same versions, and the test tools), `build.txt` and `uv.txt`."""
    python = ["--python-version", "3.11"]
    compile_pins(PYPROJECT, HERE / "suite.txt", *python)
    compile_pins(PYPROJECT, HERE / "dev.txt", *python, "--extra", "dev", "--constraints", str(HERE / "suite.txt"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "pins.in")
        # The packages that build Easel itself: the wheel and the editable install.
        source.write_text("hatchling\neditables\n")
        compile_pins(source, HERE / "build.txt", *python, "--constraints", str(HERE / "dev.txt"), "--no-annotate")
        source.write_text(UV_PIN + "\n")
        compile_pins(source, HERE / "uv.txt", "--python-version", "3.8", "--no-annotate")


def main() -> None:
    """Write the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("suite")
    of_engine = parts.add_parser("engine")
    of_engine.add_argument("name")
    of_engine.add_argument("pins", type=Path)
    parts.add_parser("tool").add_argument("name", choices=sorted(TOOLS))
    parts.add_parser("worker")
    options = parser.parse_args()
    if options.part == "suite":
        suite()
    elif options.part == "worker":
        worker()
    elif options.part == "tool":
        tool(options.name)
    else:
        engine(options.name, options.pins)


if __name__ == "__main__":
    main()
