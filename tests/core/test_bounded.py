"""A program that is asked has limits of time and output, and what it started ends with it."""

from __future__ import annotations

import resource
import time

import psutil

from trainer_core import bounded
from trainer_core.probe import HERE


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_what_a_program_started_ends_with_it_when_it_takes_too_long(tmp_path):
    slow = script(tmp_path / "slow", f"sleep 60 &\necho $! > {tmp_path}/pid\nwait")
    assert HERE.ask(slow, limit_s=0.5) == ""
    child = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 5
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(child)


def is_running(number):
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_program_that_prints_without_an_end_is_stopped_at_the_limit(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for endless in (script(tmp_path / "out", "exec yes"), script(tmp_path / "errors", "exec yes >&2")):
        begun = time.monotonic()
        assert HERE.ask(endless, limit_s=30) == ""
        assert time.monotonic() - begun < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_both_outputs_and_the_end_are_told(tmp_path):
    done = bounded.run([script(tmp_path / "both", "echo said; echo more >&2; exit 3")], 10)
    assert done == bounded.Done(3, "said\n", "more\n", "")
    assert HERE.ask(script(tmp_path / "good", "printf 'caf\\351'"), limit_s=10) == "caf\ufffd"
    closed = bounded.run([script(tmp_path / "closed", "exec >&- 2>&-; exec sleep 60")], 0.3)
    assert closed.ended == "time"
