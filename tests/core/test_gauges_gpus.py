"""The figures of GPUs: NVIDIA's library (a stand-in, compiled here), its program, and the files of AMD's driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer_core.events import Gpu
from trainer_core.jobs.gauges import gpus, reader
from trainer_core.jobs.gauges.amd import Amd
from trainer_core.jobs.gauges.gpus import GpuReader
from trainer_core.jobs.gauges.visible import Device, chosen, chosen_amd

SOURCE = Path(__file__).parents[1] / "support/fake_nvml.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
GIB = 1 << 30
needs_compiler = pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="no C compiler")


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A folder with a library that answers as NVIDIA's does, by the file `figures` beside it."""
    folder = tmp_path_factory.mktemp("nvml")
    assert COMPILER
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", target, SOURCE], check=True)
    return folder


def answers(
    environment: dict[str, str], sees_all: bool = True, own: set[int] | None = None, limit_s: float = 20.0
) -> tuple[tuple[Gpu, ...], list[str]]:
    """The figures that a supervisor gets with this environment, and the reader; none if there is no GPU."""
    found = GpuReader({"PATH": "", **environment}, sees_all)
    deadline = time.monotonic() + limit_s
    try:
        while time.monotonic() < deadline and not found._is_useless:
            if found.look(time.monotonic()):
                return found.gpus(time.monotonic(), own or set()), found.lost
            time.sleep(0.02)
        return (), []
    finally:
        found.close()


def says(library: Path, mode: str = "ok", used: tuple[int, int] = (5 * GIB, GIB), pid: int = 4242, own: int = 4 * GIB):
    (library / "figures").write_text(f"{mode} {used[0]} {used[1]} {pid} {own}\n")
    return {"LD_LIBRARY_PATH": str(library)}


@needs_compiler
def test_the_library_of_the_driver_tells_memory_load_temperature_and_power(library):
    (first, second), lost = answers(says(library))
    assert (first.index, first.name, first.memory_bytes, first.total_bytes) == (0, "NVIDIA RTX 4090", 5 * GIB, 24 * GIB)
    assert (first.load_percent, first.temperature_c, first.power_w) == (90, 70, 320.5)
    assert (second.index, second.memory_bytes, second.load_percent) == (1, GIB, 91)
    assert lost == []


@needs_compiler
def test_only_the_gpus_with_the_jobs_processes_are_given_if_the_driver_tells_them(library):
    (only,), _ = answers(says(library), own={4242})
    assert (only.index, only.own_bytes) == (0, 4 * GIB)


@needs_compiler
def test_in_a_container_the_drivers_process_ids_are_not_used(library):
    found, _ = answers(says(library), sees_all=False, own={4242})
    assert [gpu.own_bytes for gpu in found] == [None, None]


@needs_compiler
@pytest.mark.parametrize(
    ("mode", "visible", "expected"),
    [
        ("ok", "1", [1]),
        ("ok", "1,0", [1, 0]),
        ("ok", "0,7,1", [0]),
        ("ok", "GPU-bb", [1]),
        ("ok", "", []),
        ("ok", "-1", []),
        ("mixed", "1", [0, 1]),
        ("mig", "MIG-part", [0]),
        ("ok", "MIG-part", [0]),
        ("none", "0", []),
    ],
)
def test_only_the_gpus_that_the_job_may_use_are_read(library, mode, visible, expected):
    found, _ = answers({**says(library, mode), "CUDA_VISIBLE_DEVICES": visible})
    assert [gpu.index for gpu in found] == expected


@needs_compiler
def test_the_number_of_a_gpu_is_certain_if_the_job_counts_by_the_bus(library):
    environment = {**says(library, "mixed"), "CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    (only,), _ = answers(environment)
    assert only.name == "NVIDIA RTX 3060"


@needs_compiler
def test_a_part_of_a_gpu_has_its_own_memory_and_the_temperature_of_the_whole(library):
    (part,), _ = answers({**says(library, "mig"), "CUDA_VISIBLE_DEVICES": "MIG-part"})
    assert (part.name, part.total_bytes, part.temperature_c) == ("NVIDIA A100 MIG 1g.5gb", 5 * GIB, 70)
    assert (part.load_percent, part.power_w) == (None, None)


@needs_compiler
def test_a_gpu_that_the_driver_has_lost_is_named(library):
    found, lost = answers(says(library, "lost"))
    assert found[0].memory_bytes is None
    assert lost == ["0 (NVIDIA RTX 4090)", "1 (NVIDIA RTX 4090)"]


@needs_compiler
def test_a_driver_that_hangs_delays_no_look_and_no_end(library, monkeypatch):
    found = GpuReader(says(library), sees_all=True)
    deadline = time.monotonic() + 20
    while not found.look(time.monotonic()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    says(library, "hang")
    monkeypatch.setattr(gpus, "SILENCE_S", 0.5)
    slowest, until = 0.0, time.monotonic() + 3.5
    while time.monotonic() < until:
        began = time.monotonic()
        found.look(began)
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.05)
    assert slowest < 0.2
    assert found.is_silent(time.monotonic())
    assert found.gpus(time.monotonic(), set()) == (), "old figures are not shown as if they were new"
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 3


def test_without_a_gpu_the_reader_ends_and_is_not_started_again(tmp_path):
    found, deadline, pids = GpuReader({"PATH": str(tmp_path)}), time.monotonic() + 20, set()
    while not found._is_useless:
        assert time.monotonic() < deadline
        found.look(time.monotonic())
        pids.add(found.pid)
        time.sleep(0.02)
    assert not found.look(time.monotonic())
    assert found.pid == 0
    assert len(pids - {0}) == 1


def test_the_program_of_the_driver_is_asked_if_there_is_no_library(tmp_path):
    program = tmp_path / "nvidia-smi"
    line = "0, NVIDIA RTX 4090, GPU-aaaa, 5120, 24564, 97, 71, 320.50\\n1, Tesla K80, GPU-bbbb, [N/A], 11441, [N/A], 40, [N/A]\\n"
    program.write_text(f"#!/bin/sh\nprintf '{line}'\n")
    program.chmod(0o755)
    first, second = answers({"PATH": f"{tmp_path}:{os.defpath}"})[0]
    assert (first.memory_bytes, first.load_percent, first.power_w) == (5120 << 20, 97, 320.5)
    assert (second.memory_bytes, second.total_bytes, second.temperature_c) == (None, 11441 << 20, 40)


@pytest.mark.parametrize(
    "text", ["", "No devices were found\n", "a, b\n", "x,y,z,1,2,3,4,5\n", '"', "0,n,u,nan?,1,1,1,1\n"]
)
def test_any_output_of_the_program_is_read(text):
    assert all("index" in row for row in reader.read_program(text, None, True))


# AMD


def amd_tree(root: Path) -> Path:
    """The kernel's files of a machine with a processor and two AMD GPUs, the second without an edge sensor."""
    nodes, compute = root / "class/kfd/kfd/topology/nodes", root / "class/kfd/kfd"
    for number, version, render, name in ((0, 0, 0, ""), (1, 110000, 128, "AMD Radeon PRO W7900"), (2, 90402, 129, "")):
        node = nodes / str(number)
        node.mkdir(parents=True)
        properties = {"gfx_target_version": version, "drm_render_minor": render, "unique_id": 0xABC0 + number}
        (node / "properties").write_text("".join(f"{key} {value}\n" for key, value in properties.items()))
        (node / "gpu_id").write_text(f"{5000 + number}\n")
        if version:
            sensors = root / f"class/drm/renderD{render}/device/hwmon/hwmon3"
            sensors.mkdir(parents=True)
            files = {"mem_info_vram_total": 48 * GIB, "mem_info_vram_used": number * GIB, "gpu_busy_percent": 99}
            for file, value in files.items():
                (sensors.parents[1] / file).write_text(f"{value}\n")
            if name:
                (sensors.parents[1] / "product_name").write_text(f"{name}\n")
            (sensors / f"temp{number}_input").write_text("65000\n")
            (sensors / ("power1_average" if number == 1 else "power1_input")).write_text("241000000\n")
    (compute / "proc/777").mkdir(parents=True)
    (compute / "proc/777/vram_5001").write_text(f"{3 * GIB}\n")
    return root


def test_the_kernels_files_tell_the_figures_of_amd_gpus(tmp_path):
    first, second = Amd({}, amd_tree(tmp_path)).figures()
    assert first == {
        "index": 0,
        "name": "AMD Radeon PRO W7900",
        "memory_bytes": GIB,
        "total_bytes": 48 * GIB,
        "load_percent": 99,
        "temperature_c": 65.0,
        "power_w": 241.0,
        "processes": [(777, 3 * GIB)],
    }
    assert (second["index"], second["name"], second["temperature_c"]) == (1, "AMD GPU", 65.0)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HIP_VISIBLE_DEVICES": "1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [1]),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, [1]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-000000000000abc2"}, [1]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_only_the_amd_gpus_that_the_job_may_use_are_read(tmp_path, environment, expected):
    assert [row["index"] for row in Amd(environment, amd_tree(tmp_path)).figures()] == expected


def test_a_machine_without_amd_gpus_has_none(tmp_path):
    with pytest.raises(OSError, match="no AMD GPU"):
        Amd({}, tmp_path)


def test_a_list_of_devices_ends_at_the_first_that_there_is_not():
    devices = [Device(0, "A", "GPU-1a"), Device(1, "A", "GPU-1b")]
    assert chosen(devices, None) == devices
    assert chosen(devices, "1,1,0") == [devices[1], devices[0]]
    assert chosen(devices, "GPU-1") == [], "two devices begin so"
    assert chosen(devices, "nonsense,0") == []
    assert chosen_amd(devices, {}) == devices
