"""`easel doctor` on recorded machines, and on this one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.support import machines
from tests.support.hub_server import serving
from trainer_core import hardware
from trainer_core.doctor import report, tables
from trainer_core.doctor.case import Case
from trainer_core.doctor.checks import eight_bit, engines, folders, network
from trainer_core.doctor.examination import examine
from trainer_core.doctor.finding import Finding, prevents_training
from trainer_core.engines import manifest, registry
from trainer_core.engines.manifest import Upstream
from trainer_core.estimate import gpu_processes
from trainer_core.install import hub_reach, upstream
from trainer_core.probe import Probe


@pytest.fixture
def look(tmp_path, monkeypatch):
    """The findings on a recorded machine."""

    def examined(name: str) -> dict[str, Finding]:
        monkeypatch.setenv("EASEL_HOME", str(tmp_path / f"home of {name}"))
        gpu_processes._answers.clear()
        return {each.id: each for each in examine(Case(machines.probe(name, tmp_path / name)))}

    return examined


@pytest.mark.parametrize("name", machines.names())
def test_what_is_said_about_a_machine(look, name, tmp_path):
    said = report.text(list(look(name).values())).removeprefix(f"{report.heading()}\n")
    path = machines.FOLDER / name / "doctor.txt"
    if os.environ.get("EASEL_GOLDEN") == "write":
        path.write_text(said, "utf-8")
    assert said == path.read_text("utf-8"), f"{path} is another: look whether the change is meant"
    assert str(tmp_path) not in said


@pytest.mark.parametrize(
    ("name", "finding", "state", "said"),
    [
        ("kaggle-t4x2", "gpu.1", "notice", "Train in fp16"),
        ("colab-t4", "platform", "notice", "this folder does not survive"),
        ("runpod-a40", "platform", "good", "survives the end of a session, if the pod has a volume"),
        ("vast-rtx-3090", "platform", "notice", "this folder does not survive"),
        ("p100", "engine.simpletuner", "notice", "2.13.0 for cu126"),
        ("p100-wrong-torch", "kernel.kohya", "problem", "no kernel image"),
        ("rtx-4090", "gpu.memory", "notice", "python (process 99999991, 13.2 GiB)"),
        ("rtx-5090-driver-570", "engine.simpletuner", "notice", "SimpleTuner 4.10.1 cannot run"),
        ("h100", "bitsandbytes.kohya", "good", "25.4%"),
        ("h100", "engine.kohya", "good", "All packages are as pinned"),
        ("wsl2", "system", "good", "WSL2"),
        ("mi210", "gpu.0", "notice", "AMD Instinct MI210"),
        ("rx-7900-xtx", "gpu.0", "notice", "experimental: not run on this hardware yet"),
        ("rx-6700-xt", "engine.kohya", "problem", "no build of torch that it works with has kernels for this card"),
        ("intel-arc", "gpu.0", "unknown", "not known what this architecture can do"),
        ("amd-in-container", "gpu.kfd", "problem", "--device /dev/kfd"),
        ("nvidia-driver-broken", "gpu", "problem", "nvidia-smi fails"),
        ("nvidia-in-container", "gpu", "problem", "--gpus all"),
    ],
)
def test_the_decisive_finding(look, name, finding, state, said):
    found = look(name)[finding]
    assert found.state == state
    assert said in f"{found.title} {found.found} {found.means} {found.fix}"


@pytest.fixture
def case(tmp_path, monkeypatch):
    """A machine without a GPU that is read here, with a network that only the test gives it."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    recorded = machines.probe("cpu", tmp_path / "cpu")
    return lambda **environment: Case(Probe(recorded.root, recorded.search, environment))


def test_pytorchs_index_is_asked_at_the_mirror_that_is_set_and_without_its_password_in_the_finding(case):
    seen = []
    with serving({"/whl/cpu/torch/": b"files"}, seen) as server:
        with_password = server.replace("://", "://mika:s3cret@") + "/whl/"
        [good] = network.torch_index(case(EASEL_TORCH_INDEX=with_password))
        [bad] = network.torch_index(case(EASEL_TORCH_INDEX=f"{server}/other"))
    assert (good.id, good.state) == ("network.torch.cpu", "good")
    assert "s3cret" not in f"{good}"
    assert seen[0][1]["Authorization"].startswith("Basic ")
    assert bad.state == "notice"
    assert "status 404" in bad.found
    assert "EASEL_TORCH_INDEX" in bad.fix
    assert bad.private
    [folder] = network.torch_index(case(UV_OFFLINE="1", UV_FIND_LINKS="/wheels"))
    assert "UV_FIND_LINKS" in folder.found


@pytest.mark.parametrize("git", [True, False])
def test_the_place_of_source_code_that_does_not_answer_is_told_with_what_to_do(case, monkeypatch, git):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    if not git:
        monkeypatch.setattr(upstream.shutil, "which", lambda _: None)
    told = {found.id: found for found in network.sources(case())}
    assert {*told} == {f"network.source.{read.id}" for read in manifest.shipped() if read.has_source}
    found = told["network.source.kohya"]
    assert found.state == "notice"
    assert "https://github.com/kohya-ss/sd-scripts does not answer" in found.found
    assert "--source kohya=FOLDER" in found.fix


def test_training_is_prevented_by_problems_of_all_engines_only(look):
    assert not prevents_training(look("h100").values())
    assert prevents_training(look("kaggle-t4x2").values()), "no engine is installed"
    assert prevents_training(look("p100-wrong-torch").values()), "the only engine cannot compute"
    assert prevents_training(look("nvidia-driver-broken").values())


def test_changed_packages_and_changed_pins_are_noticed(tmp_path, monkeypatch, look):
    look("h100")
    found = machines.install("kohya", "registry", "cuda", "2.10.0+cu128")
    packages = next((found.home / "venv").glob("lib/python3.*/site-packages"))
    next(packages.glob("bitsandbytes-*.dist-info")).rename(packages / "bitsandbytes-0.1.0.dist-info")
    next(packages.glob("lycoris_lora-*.dist-info")).rmdir()
    case = Case(machines.probe("rtx-4090", tmp_path / "again"))
    said = next(engines.engines(case))
    assert said.state == "notice"
    assert "bitsandbytes (0.1.0, pinned " in said.found
    assert "lycoris-lora (missing, pinned " in said.found
    record = found.home / "installed.json"
    record.write_text(record.read_text().replace(found.fingerprint, "0" * 64))
    assert "not those of this release" in next(engines.engines(Case(case.probe))).found


def test_a_build_of_torch_that_was_got_instead_of_the_wanted_one_is_as_pinned(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    machines.install("kohya", "registry", "cpu", "2.10.0+cu128", wanted="cpu")
    found = next(engines.engines(Case(machines.probe("cpu", tmp_path / "m"))))
    assert (found.state, "All packages are as pinned" in found.found) == ("good", True)


def test_an_engine_for_another_device_is_a_problem_of_that_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    machines.install("kohya", "cpu", "cpu", "2.10.0+cpu")
    found = next(engines.engines(Case(machines.probe("rtx-4090", tmp_path / "m"))))
    assert (found.state, found.engine) == ("problem", "kohya")
    assert found.fix == "python installer.py backend install kohya"


def test_the_tables_know_the_architectures_of_every_build_of_torch():
    builds = [build for each in registry.available() for one in each.manifest.environment for build in one.torch]
    known = {name for row in tables.architectures().values() for name in row.architectures}
    assert {name for build in builds for name in build.architectures} <= known
    assert all(row.source for row in tables.architectures().values())
    listed = [name for row in tables.architectures().values() for name in row.architectures]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [("580.65.06", "13"), ("570.124", "12"), ("525.60.13", "12"), ("525.60.12", "11"), ("440.1", "")],
)
def test_a_driver_runs_the_builds_of_its_cuda(driver, cuda):
    assert tables.cuda_of(driver) == cuda


@pytest.mark.parametrize(
    ("record", "state", "said"),
    [
        ({"failure": "It crashed (SIGSEGV)."}, "notice", "crashed"),
        ({"ok": False, "absent": True, "reason": "it is not installed."}, "notice", "not installed, although"),
        (
            {"ok": False, "device": "cuda", "reason": "its native library could not be loaded."},
            "notice",
            "native library",
        ),
        (
            {"ok": True, "device": "cpu", "native": "", "version": "1", "bytes": 1, "full_bytes": 4, "numbers": 10**6},
            "notice",
            "without its native library",
        ),
    ],
)
def test_what_is_not_proved_of_bitsandbytes_is_not_called_good(record, state, said):
    found = eight_bit.finding(registry.get("kohya").manifest, record, {})
    assert found.state == state
    assert said in found.found


def test_another_driver_or_another_gpu_makes_what_was_tried_invalid(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))

    def depends(name, change=lambda root: None):
        root = tmp_path / f"{name} {len(list(tmp_path.iterdir()))}"
        probe = machines.probe(name, root)
        change(root)
        return Case(probe).depends

    def edited(place, old, new):
        def change(root):
            text = (root / place).read_text()
            assert old in text
            (root / place).write_text(text.replace(old, new))

        return change

    smi, node = "usr/bin/nvidia-smi", "sys/class/kfd/kfd/topology/nodes/1/properties"
    first, amd = depends("h100"), depends("mi210")
    assert depends("h100") == first, "free memory and the time of the call do not count"
    assert depends("h100", edited(smi, "81004", "100")) == first
    assert depends("h100", edited(smi, "580.65.06", "580.82.07")) != first
    assert depends("h100", edited(smi, "GPU-00000000", "GPU-11111111")) != first
    assert depends("mi210", edited(node, "7741268452126343234", "1")) != amd
    assert depends("mi210", edited("proc/sys/kernel/osrelease", "6.8.0-60", "6.8.0-71")) != amd


def test_one_disk_with_little_space_is_told_of_once():
    about = {"bytes": 5 << 30, "writable": True, "disk": 1}
    free = {"a": about, "b": about, "c": {**about, "writable": False}, "d": {**about, "disk": 2}}
    paths = {name: Path(f"/disk/{name}") for name in free}
    found = list(folders.folders(Case(Probe(recorded={"free": free, "folders": paths}))))
    assert [(each.title, each.state) for each in found] == [("A, b", "notice"), ("C", "problem"), ("D", "notice")]
    assert "/disk/a and /disk/b, which are on one disk" in found[0].found


@pytest.mark.parametrize("name", ["mi210", "rx-6700-xt", "rx-6800", "rx-7900-xtx"])
def test_programs_of_amd_are_not_needed_and_what_they_say_changes_nothing(name, tmp_path):
    """Name, architecture and memory are from the kernel: so they are the same with broken programs of ROCm, or with none."""
    probe = machines.probe(name, tmp_path)
    before = hardware.amd(probe)
    assert before
    assert all(each.architecture.startswith("gfx") and each.vram_bytes > each.free_vram_bytes > 0 for each in before)
    for program in ("amd-smi", "rocminfo", "rocm-smi"):
        machines.put(tmp_path / "usr/bin" / program, '#!/bin/sh\ntouch "$0.called"; echo gfx000; exit 0\n')
        (tmp_path / "usr/bin" / program).chmod(0o755)
    assert hardware.amd(probe) == before
    assert not list((tmp_path / "usr/bin").glob("*.called"))


def test_a_password_in_an_address_is_no_stack_trace(monkeypatch):
    monkeypatch.setattr(upstream.shutil, "which", lambda _: None)
    assert not hub_reach.answers("http://mika:s3cret@localhost")
    assert not upstream.reachable(Upstream("x"), "https://mika:s3cret@localhost/x")
    assert not upstream.reachable(Upstream("x"), "ssh://mika@localhost/x")


@pytest.mark.parametrize("below", ["", "easel/deeper"])
def test_a_file_and_a_link_to_nowhere_are_no_folders_to_write_to(tmp_path, below):
    (tmp_path / "file").touch()
    (tmp_path / "disk").symlink_to(tmp_path / "not mounted")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ("file", "disk", "loop", "new")
    paths = {name: tmp_path / name / below for name in names}
    found = folders.folders(
        Case(Probe(recorded={"folders": paths, "free": {each: folders._measured(paths[each]) for each in names}}))
    )
    assert {each.title: each.state != "problem" for each in found} == {
        "File": False,
        "Disk": False,
        "Loop": False,
        "New": True,
    }


def test_a_disk_that_does_not_answer_is_told_of_and_not_waited_for(tmp_path, monkeypatch):
    """A network disk whose server is gone: each question to the system about it takes forever."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "gone"))
    monkeypatch.setattr(folders, "ANSWER_S", 1.0)
    go, stat = threading.Event(), os.lstat

    def slow(path, **more):
        if str(path).startswith(str(tmp_path / "gone")) and threading.current_thread().name == "easel-disk":
            go.wait(200)
        return stat(path, **more)

    monkeypatch.setattr(os, "lstat", slow)
    found = {each.id: each for each in folders.folders(Case(Probe()))}
    go.set()
    gone = found["folder.the-cache-of-the-hugging-face-hub"]
    assert (gone.state, "has not answered" in gone.found) == ("problem", True)
    assert found["folder.easel's-files"].state != "problem"
