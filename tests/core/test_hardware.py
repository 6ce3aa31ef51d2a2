"""The hardware of a machine, read from recorded answers and from folders with the kernel's layout."""

import json
import os
from pathlib import Path

import pytest

from trainer_core import hardware
from trainer_core.errors import InstallError
from trainer_core.probe import Probe

MIB = 1024**2
GIB = 1024**3


def put(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_nvidia_smi_is_read_with_unusual_names_and_missing_values():
    text = "NVIDIA H200, 143771, 143000, 9.0, 570.124.06\nCard, the second, [N/A], [N/A], 12.1, 580.65.06\nnonsense\n"
    first, second = hardware.read_nvidia_smi(text)
    assert (first.name, first.vram_bytes, first.architecture, first.driver) == (
        "NVIDIA H200",
        143771 * MIB,
        "9.0",
        "570.124.06",
    )
    assert (second.name, second.vram_bytes, second.architecture) == ("Card, the second", 0, "12.1")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("echo 'Tesla T4, 15360, 15000, 7.5, 550.54.15'", ["Tesla T4"]),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9", []),
        ("exit 0", []),
    ],
    ids=["a card", "driver broken", "no card"],
)
def test_nvidia_smi_is_run(tmp_path, monkeypatch, answer, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert [device.name for device in hardware.nvidia()] == expected


def test_amd_gpus_are_read_from_the_compute_driver(tmp_path):
    nodes, cards = tmp_path / hardware.NODES, tmp_path / hardware.CARDS
    put(nodes / "0/properties", "cpu_cores_count 16\ngfx_target_version 0")
    put(nodes / "1/properties", "cpu_cores_count 0\ngfx_target_version 110000\ndrm_render_minor 129")
    put(nodes / "2/properties", "gfx_target_version 90010\ndrm_render_minor 128\nunique_id 17")
    put(cards / "renderD128/device/mem_info_vram_total", 64 * GIB)
    put(cards / "renderD129/device/mem_info_vram_total", 24 * GIB)
    put(cards / "renderD129/device/mem_info_vram_used", 1 * GIB)
    put(cards / "renderD128/device/product_name", "AMD Instinct MI210")
    first, second = hardware.amd(Probe(tmp_path))
    assert (first.kind, first.architecture, first.vram_bytes, first.free_vram_bytes) == (
        "rocm",
        "gfx1100",
        24 * GIB,
        23 * GIB,
    )
    assert hardware.amd_ids(Probe(tmp_path)) == [0, 17]
    assert (second.architecture, second.name, second.vram_bytes) == ("gfx90a", "AMD Instinct MI210", 64 * GIB)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (32, 20)),
        ({"sys/fs/cgroup/memory.max": "max"}, (32, 20)),
        ({"sys/fs/cgroup/memory.max": 8 * GIB, "sys/fs/cgroup/memory.current": 3 * GIB}, (8, 5)),
        ({"sys/fs/cgroup/memory.max": 30 * GIB, "sys/fs/cgroup/memory.current": GIB}, (30, 20)),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": 2**63 - 4096}, (32, 20)),
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": 4 * GIB,
                "sys/fs/cgroup/memory/memory.usage_in_bytes": GIB,
            },
            (4, 3),
        ),
    ],
    ids=["none", "v2 none", "v2", "v2 roomy", "v1 none", "v1"],
)
def test_the_limit_of_a_container_is_the_available_memory(tmp_path, files, expected):
    put(
        tmp_path / "proc/meminfo",
        f"MemTotal: {32 * MIB} kB\nMemFree: 1 kB\nMemAvailable: {20 * MIB} kB\nHugePages_Total: 0",
    )
    for name, text in files.items():
        put(tmp_path / name, text)
    assert hardware.memory_bytes(Probe(tmp_path)) == tuple(size * GIB for size in expected)


def test_free_space_is_measured_where_a_folder_will_be(tmp_path):
    assert hardware.free_disk_bytes(tmp_path / "not/yet/there") > 0


def test_a_machine_can_be_written_to_a_file_and_read_back(tmp_path):
    seen = hardware.machine(tmp_path)
    assert seen.accelerators[-1].kind == "cpu"
    assert seen.ram_bytes >= seen.free_ram_bytes > 0
    assert seen.disk_bytes > 0
    assert seen.cpus >= 1
    assert hardware.Machine.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen


def test_a_chosen_device_that_is_absent_has_an_empty_record(monkeypatch, tmp_path):
    assert hardware.chosen("cpu").present
    absent = hardware.chosen("rocm")
    assert absent.kind == "rocm"
    if not absent.present:
        assert absent.architecture == absent.driver == ""
    with pytest.raises(InstallError, match="quantum"):
        hardware.chosen("quantum")
