"""What was tried is kept until something that it depends on changes; and a process that fails is no result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support import machines
from trainer_core.doctor import answers as answer_forms
from trainer_core.doctor import trying
from trainer_core.files import read_toml
from trainer_core.install.inside import proof
from trainer_core.install.installed import InstalledEngine

ROW = {"name": "Tesla T4", "kind": "cuda", "ok": True, "reason": "", "precisions": ["float16"]}
WHOLE = json.dumps({"ok": True, "reason": "", "torch": "2.10", "architectures": [], "devices": [ROW]})
DEPENDS = {"devices": [["cuda", "Tesla T4", "7.5", "550.54.15"]]}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    return InstalledEngine("rehearsal", "1", "", "", "", "", "cuda", "", "pins", "")


def answers(engine, code):
    """Makes the engine's Python a program that counts its calls."""
    engine.python.parent.mkdir(parents=True, exist_ok=True)
    engine.python.write_text(f"#!/bin/sh\necho >> {engine.home}/calls\n{code}\n")
    engine.python.chmod(0o755)


def calls(engine):
    return len((engine.home / "calls").read_text())


def test_a_result_is_kept_until_what_it_depends_on_changes(engine):
    answers(engine, f"""echo noise; echo '{WHOLE}'""")

    def tried(depends=DEPENDS, again=False, of=engine):
        return trying.result(of, "kernel", depends, lambda _: None, again=again)

    assert tried()["ok"]
    assert tried()["kept"]
    assert calls(engine) == 1
    tried(again=True)
    assert calls(engine) == 2
    tried({"devices": [["cuda", "Tesla T4", "7.5", "580.65.06"]]})
    assert calls(engine) == 3, "another driver"
    other = InstalledEngine("rehearsal", "1", "", "", "", "", "cuda", "", "other pins", "")
    tried({"devices": [["cuda", "Tesla T4", "7.5", "580.65.06"]]}, of=other)
    assert calls(engine) == 4, "another lock"
    trying.store().write_text(trying.store().read_text().replace('"devices"', '"others"'))
    assert "kept" not in tried(), "not whole"
    for text in ("damaged", "[" * 200_000):
        trying.store().write_text(text)
        assert "kept" not in tried()
    trying.store().unlink()
    os.mkfifo(trying.store())
    assert "kept" not in tried(), "a pipe is not waited for"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("kill -SEGV $$", "crashed (SIGSEGV)"),
        ("echo 'ImportError: libcudart.so.13 is missing' >&2; exit 1", "libcudart.so.13 is missing"),
        ("echo no JSON", "without an answer"),
        ("true", "no output"),
        ("echo '{}'", "without an answer"),
        ("kill -40 $$", "crashed (signal 40)"),
        ("yes", "printed more than 1.0 MiB"),
        ("sleep 60", "did not end within"),
    ],
)
def test_a_process_that_says_nothing_is_a_failure_and_is_not_kept(engine, code, said, monkeypatch):
    monkeypatch.setattr(trying, "LIMIT_S", 0.5 if "sleep" in code else 20)
    answers(engine, code)
    assert said in trying.result(engine, "kernel", DEPENDS, lambda _: None, again=False)["failure"]
    assert not trying.store().exists()


def test_a_folder_that_cannot_be_written_only_makes_it_slower(engine, tmp_path):
    answers(engine, f"""echo '{WHOLE}'""")
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert trying.result(engine, "kernel", DEPENDS, lambda _: None, again=False)["ok"]


def test_the_recorded_answers_are_whole_and_none_without_one_of_its_parts():
    recorded = [read_toml(machines.FOLDER / name / "machine.toml").get("recorded", {}) for name in machines.names()]
    tried = [item for each in recorded for engine in each.get("tried", {}).values() for item in engine.items()]
    assert {what for what, _ in tried} == set(trying.TITLES)
    for what, found in tried:
        if "failure" not in found:
            assert answer_forms.is_whole(found, what), (what, found)
            assert not answer_forms.is_whole({name: found[name] for name in found if name != "ok"}, what)
    assert not answer_forms.is_whole(json.loads(WHOLE.replace('"precisions"', '"x"')), "kernel")
    assert not answer_forms.is_whole({"ok": True, "reason": "", "device": "cuda"}, "bitsandbytes")
    assert not answer_forms.is_whole({"ok": True, "reason": "", "device": "cpu", "kinds": {"sdpa": 1}}, "attention")


@pytest.fixture
def hanging_torch(tmp_path):
    """The environment of a Python whose torch hangs when it is imported, and writes its process id before."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "torch.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'new')!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(tmp_path / 'new')!r}, {str(tmp_path / 'pid')!r})\ntime.sleep(60)\n"
    )
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_the_proof_ends_with_the_doctor_however_that_ends(engine, tmp_path, hanging_torch):
    answers(engine, f'PYTHONPATH={hanging_torch["PYTHONPATH"]} exec {sys.executable} "$@"')
    code = (
        "from trainer_core.doctor import trying; from trainer_core.install.installed import InstalledEngine; "
        "trying.result(InstalledEngine('rehearsal', *[''] * 9), 'kernel', {}, lambda _: None, again=True)"
    )
    doctor = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 30
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        time.sleep(0.02)
    started = psutil.Process(int((tmp_path / "pid").read_text()))
    doctor.kill()
    doctor.wait()
    started.wait(10)
    assert not started.is_running()


def test_the_proof_has_a_limit_of_its_own(hanging_torch):
    command = [sys.executable, proof.__file__, "kernel", str(os.getpid()), "1"]
    with subprocess.Popen(command, env=hanging_torch, stdin=subprocess.PIPE) as started:
        assert started.wait(20) == -signal.SIGALRM


def test_the_proof_sees_that_nobody_waits_for_it(hanging_torch):
    command = [sys.executable, proof.__file__, "kernel", str(os.getpid()), "30"]
    assert (
        subprocess.run(command, env=hanging_torch, stdin=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    )
