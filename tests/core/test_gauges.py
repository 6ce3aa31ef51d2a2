"""What a job uses while it runs: sampled, written as few events, with its peaks in the result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.played import ended, kill, processes_of, start, until
from trainer_core import events
from trainer_core.events import Gauges, Gpu, Notice
from trainer_core.jobs import processes
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.gauges import watch as watching
from trainer_core.jobs.gauges import wording
from trainer_core.jobs.gauges.peaks import Peaks
from trainer_core.jobs.gauges.tree import ProcessTree
from trainer_core.jobs.gauges.watch import GaugeWatch
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.state import JobState

GIB, MIB = 1 << 30, 1 << 20
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's files")


class Machine:
    """A job folder, and clocks that a test sets."""

    def __init__(self, path: Path) -> None:
        self.now, self.slept = 1000.0, 50.0
        self.folder = JobFolder.create(path, "job")
        self.watch = self.again()

    def again(self) -> GaugeWatch:
        # Without a PATH and a library, no GPU of the real machine is read.
        nothing = {"PATH": "", "CUDA_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": ""}
        journal = Journal(self.folder.events)
        return GaugeWatch(self.folder, journal, nothing, clock=lambda: self.now, suspended=lambda: self.slept)

    def wait(self, seconds: float, every: float = 1.0) -> None:
        for _ in range(round(seconds / every)):
            self.now += every
            self.watch.look({os.getpid()}, ())

    def written(self, kind: type) -> list:
        lines = events.read_lines(self.folder.events.read_bytes())
        return [event for line in lines if isinstance(event := events.from_dict(line), kind)]


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.watch.close()


def test_figures_are_written_at_most_every_ten_seconds_and_rarely_if_they_stay_the_same(machine, monkeypatch):
    monkeypatch.setattr("trainer_core.hardware.memory_bytes", lambda: (32 * GIB, 20 * GIB))
    monkeypatch.setattr(watching, "free_bytes", lambda _: 100 * GIB)
    machine.wait(600)
    calm = machine.written(Gauges)
    assert 8 <= len(calm) <= 20
    assert (calm[-1].memory_total_bytes, calm[-1].disk_free_bytes) == (32 * GIB, 100 * GIB)
    assert calm[-1].memory_bytes > MIB
    free = iter(range(10**6))
    monkeypatch.setattr(watching, "free_bytes", lambda _: next(free) * GIB)
    machine.wait(600)
    assert 55 <= len(machine.written(Gauges)) - len(calm) <= 61


@pytest.mark.parametrize(("seconds", "said"), [(12, None), (720, "12 minutes"), (3 * 3600, "3.0 hours")])
def test_a_suspended_machine_is_told_and_counted(machine, seconds, said):
    machine.wait(5)
    machine.slept += seconds
    machine.wait(1)
    told = [notice.text for notice in machine.written(Notice)]
    assert told == ([f"The machine was suspended for {said}. The job goes on."] if said else [])
    assert machine.watch.as_dict()["suspended_s"] == (seconds if said else 0)


def test_a_disk_that_is_slow_to_take_figures_is_told_once(machine, monkeypatch):
    write = machine.watch._journal.write

    def slow(*happened):
        machine.now += 7 if isinstance(happened[0], Gauges) else 0
        write(*happened)

    monkeypatch.setattr(machine.watch._journal, "write", slow)
    machine.wait(200)
    (notice,) = machine.written(Notice)
    assert "took 7 seconds" in notice.text


def test_a_second_supervisor_keeps_the_peaks_of_the_first(machine):
    before = Gauges((Gpu(0, "A", 9 * GIB), Gpu(1, "A", GIB)), 7 * GIB, disk_free_bytes=3 * GIB, suspended_s=90)
    machine.watch._journal.write(Gauges((Gpu(0, "A", 2 * GIB), Gpu(1, "A", GIB))), before)
    after = machine.again().as_dict()
    assert (after["peak_gpu_memory_bytes"], after["peak_memory_bytes"]) == (7 * GIB, 7 * GIB)
    assert (after["lowest_disk_free_bytes"], after["suspended_s"]) == (3 * GIB, 90)
    assert [gpu["memory_bytes"] for gpu in after["peak_gpus"]] == [9 * GIB, GIB]


@linux_only
def test_a_short_peak_of_a_process_between_two_samples_is_kept():
    hog = "b = b'x' * (300 << 20); del b; print('done', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hog], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # Earlier tests may have left processes of their own.
        others = [each.pid for each in psutil.Process().children(recursive=True) if each.pid != process.pid]
        for pid in others:
            processes.set_apart(pid)
        tree = ProcessTree()
        use = tree.look({process.pid}, (), time.monotonic())
        for pid in others:
            processes.forget(pid)
        assert use.memory_bytes < 150 * MIB
        assert tree.peak_bytes > 300 * MIB
        process.communicate(b"\n")


@linux_only
def test_the_processes_that_a_program_starts_are_counted_and_others_are_not():
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); input(); p.kill()"
    other = subprocess.Popen(["sleep", "60"])
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        tree = ProcessTree()
        processes.set_apart(other.pid)
        tree.look({process.pid}, (), time.monotonic())
        assert {process.pid, child} <= tree.pids
        assert other.pid not in tree.pids
        assert os.getpid() not in tree.pids
        process.communicate(b"\n")
    other.kill()
    other.wait()
    processes.forget(other.pid)


@linux_only
def test_the_cpu_load_is_that_of_the_jobs_processes():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        tree = ProcessTree()
        began = time.monotonic()
        tree.look({process.pid}, (), began)
        time.sleep(0.5)
        tree._next = 0.0
        tree.look({process.pid}, (), time.monotonic())
        process.kill()
    assert tree.cpu_percent is not None
    assert 10 < tree.cpu_percent < 150


def test_the_result_has_the_peaks_and_no_process_of_the_watch_is_left(tmp_path):
    run = ended(tmp_path, steps=400)
    result = run.result
    assert result["peak_memory_bytes"] > 5 * MIB
    assert result["lowest_disk_free_bytes"] is None or result["lowest_disk_free_bytes"] > 0
    assert {"peak_gpus", "peak_swap_bytes", "peak_gpu_memory_bytes"} <= set(result)
    until(lambda: processes_of(run) == [])


@linux_only
def test_a_running_job_shows_its_figures_and_its_gpus(tmp_path, monkeypatch):
    """With the driver's program in place of a driver; the supervisor inherits the PATH."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, NVIDIA RTX 4090, GPU-a, 5120, 24564, 97, 71, 320.50'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    run = start(tmp_path, steps=100_000)
    try:
        until(lambda: run.summary.gauges is not None and run.summary.gauges.gpus)
        found = run.summary.gauges
        assert found is not None
        shown = dict(wording.rows(found))
        assert shown["GPU memory"] == "5.0 of 24.0 GiB"
        assert (shown["GPU load"], shown["GPU temperature"]) == ("97 %", "71 °C")
        assert wording.line(found) == "GPU 5.0 of 24.0 GiB, 97 %, 71 °C"
        assert {"RAM used", "RAM free", "Disk free"} <= shown.keys()
    finally:
        assert run.stop() is JobState.CANCELLED
    (gpu,) = run.result["peak_gpus"]
    assert (gpu["name"], gpu["temperature_c"]) == ("NVIDIA RTX 4090", 71)
    until(lambda: processes_of(run) == [])


@linux_only
def test_the_reader_of_the_gpus_ends_after_a_supervisor_that_was_killed(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program, asked = tmp_path / "bin/nvidia-smi", tmp_path / "asked"
    program.write_text(
        f"#!/bin/sh\ncase $1 in *temperature*) echo $PPID > {asked};; esac\necho '0, NVIDIA RTX 4090, GPU-a, 5120, 24564, 97, 71, 320.50'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    run = start(tmp_path, steps=100_000)
    until(lambda: asked.exists() and asked.read_text().strip())
    pid = int(asked.read_text())
    kill(run, "runner.json")
    until(lambda: Identity.of(pid) is None, 30)
    run.stop(0.5)


# The peaks


def test_the_gpu_peak_is_what_was_added_to_the_lowest_use_unless_the_driver_tells_the_jobs_own():
    peaks = Peaks()
    for used in (3, 2, 9, 5):
        peaks.take(Gauges((Gpu(0, "A", used * GIB, temperature_c=60 + used),)))
    assert peaks.gpu_bytes == 7 * GIB
    peaks.take(Gauges((Gpu(0, "A", 5 * GIB, own_bytes=4 * GIB),)))
    assert peaks.gpu_bytes == 4 * GIB
    (gpu,) = peaks.as_dict()["peak_gpus"]
    assert (gpu["memory_bytes"], gpu["own_bytes"], gpu["temperature_c"]) == (9 * GIB, 4 * GIB, 69)


def test_without_a_gpu_there_is_no_gpu_peak():
    assert Peaks().as_dict()["peak_gpu_memory_bytes"] is None


# The event

figure = st.one_of(st.none(), st.integers(0, 2**50), st.floats(0, 1e6))
gpu = st.builds(Gpu, st.integers(0, 63), st.text(max_size=20), figure, figure, figure, figure, figure, figure)


@given(st.builds(Gauges, st.lists(gpu, max_size=4).map(tuple), figure, figure, figure, figure, figure, figure, figure))
def test_figures_come_back_as_they_were_written(gauges):
    assert events.from_dict(json.loads(json.dumps(events.to_dict(gauges)))) == gauges


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["gpus", "memory_bytes", "cpu_percent", "disk_free_bytes", "x"]), junk),
    st.lists(junk),
)
def test_any_line_of_another_program_is_read_without_an_error(data, gpus):
    for line in (data, {**data, "gpus": gpus}):
        found = events.from_dict({"kind": "gauges", **line})
        assert isinstance(found, Gauges)
        assert all(text.isprintable() for row in wording.rows(found) for text in row)


def test_several_gpus_are_told_apart_and_nothing_unknown_is_shown():
    two = Gauges((Gpu(0, "A", GIB, None, 24 * GIB), Gpu(3, "A", None, None, None, 50.0)))
    assert wording.rows(two) == [("GPU 0 memory", "1.0 of 24.0 GiB"), ("GPU 3 load", "50 %")]
    assert wording.line(two) == "GPU 0 1.0 of 24.0 GiB; GPU 3 50 %"
    assert wording.rows(None) == []
    assert wording.rows(Gauges()) == []
    assert wording.line(Gauges(memory_bytes=200 * MIB)) == "RAM 200 MiB"
