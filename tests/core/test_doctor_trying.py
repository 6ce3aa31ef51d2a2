"""What was tried is kept until something that it depends on changes; and a process that fails is no result."""

from __future__ import annotations

import pytest

from trainer_core.doctor import trying
from trainer_core.install.installed import InstalledEngine

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
    answers(engine, """echo noise; echo '{"ok": true, "reason": ""}'""")

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
    trying.store().write_text("damaged")
    assert "kept" not in tried()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("kill -SEGV $$", "crashed (SIGSEGV)"),
        ("echo 'ImportError: libcudart.so.13 is missing' >&2; exit 1", "libcudart.so.13 is missing"),
        ("echo no JSON", "no output"),
        ("sleep 60", "did not end within"),
    ],
)
def test_a_process_that_says_nothing_is_a_failure_and_is_not_kept(engine, code, said, monkeypatch):
    monkeypatch.setattr(trying, "LIMIT_S", 0.5 if "sleep" in code else 20)
    answers(engine, code)
    assert said in trying.result(engine, "kernel", DEPENDS, lambda _: None, again=False)["failure"]
    assert not trying.store().exists()


def test_a_folder_that_cannot_be_written_only_makes_it_slower(engine, tmp_path):
    answers(engine, """echo '{"ok": true}'""")
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert trying.result(engine, "kernel", DEPENDS, lambda _: None, again=False)["ok"]
