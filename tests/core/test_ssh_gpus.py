"""The GPUs of a machine that ssh reaches: asked of the driver's program, and read from a planted sysfs.

A real sshd on loopback answers, with a user of its own (`tests/support/sshd.py`).
"""

import contextlib
import json

import pytest

from tests.support import sshd, sysfs
from trainer_core.cli import main

AMD = {
    "class/kfd/kfd/topology/nodes/0/properties": "simd_count 0\ngfx_target_version 0",
    "class/kfd/kfd/topology/nodes/10/properties": "gfx_target_version 110000\ndrm_render_minor 129",
    "class/kfd/kfd/topology/nodes/2/properties": "gfx_target_version 90010\ndrm_render_minor 128",
    "class/drm/renderD128/device/product_name": "AMD Instinct MI210",
    "class/drm/renderD128/device/mem_info_vram_total": "68702699520",
    "class/drm/renderD128/device/mem_info_vram_used": "268435456",
}
INTEL = {"drivers/xe/0000:03:00.0/tile0/physical_vram_size_bytes": "0x00000003fa000000"}


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


def checked(there, *more, capsys):
    """What the check of the machine prints."""
    with contextlib.suppress(SystemExit):
        main(["remote", "machine", "check", there.address, "--identity", str(there.key), *more])
    return capsys.readouterr().out


def test_check_reads_the_gpus_of_the_machine(there, capsys):
    with there.forced(f"PATH={there.programs_with_a_gpu()}:$PATH; export PATH"):
        out = checked(there, "--json", capsys=capsys)
    (gpu,) = json.loads(out)["gpus"]
    assert (gpu["name"], gpu["driver"], gpu["vram_bytes"]) == ("NVIDIA RTX A5000", "550.54", 24564 << 20)


def test_check_finds_amd_and_intel_gpus_in_sysfs_and_says_that_they_are_untried(there, capsys):
    with sysfs.planted(there.base, {**AMD, **INTEL}):
        out = checked(there, "--json", capsys=capsys)
        shown = checked(there, capsys=capsys)
    found = json.loads(out)
    assert [(gpu["kind"], gpu["name"], gpu["vram_bytes"], gpu["architecture"]) for gpu in found["gpus"]] == [
        ("rocm", "AMD Instinct MI210", 68702699520, "gfx90a"),
        ("rocm", "AMD gfx1100", 0, "gfx1100"),
        ("xpu", "Intel GPU at 0000:03:00.0", 0, ""),
    ]
    assert found["gpus"][0]["free_vram_bytes"] == 68702699520 - 268435456
    assert [sum(f"not run on {maker} GPUs yet" in note for note in found["notes"]) for maker in ("AMD", "Intel")] == [
        1,
        1,
    ]
    assert any("/dev/kfd" in note for note in found["notes"]), "the machine of this test has no such device"
    assert "AMD Instinct MI210 (64" in shown
    assert "AMD gfx1100, Intel" in shown
    out = checked(there, "--json", capsys=capsys)
    assert any("No GPU was found that an engine can use" in note for note in json.loads(out)["notes"])
