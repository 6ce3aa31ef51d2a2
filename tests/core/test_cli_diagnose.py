"""`easel diagnose`: logs of any kind, as data and as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trainer_core.cli import easel
from trainer_core.engines import registry

LOGS = Path(__file__).parents[1] / "data" / "logs"
ENGINES = [backend.manifest.id for backend in registry.available()]
FAILED = "Traceback (most recent call last):\n  File 'a.py'\n{}\n"
FULL = FAILED.format("OSError: [Errno 28] No space left on device")


def run(*arguments: str, input: bytes | None = None) -> str:  # noqa: A002 - the name that click gives it
    done = CliRunner().invoke(easel, ["diagnose", *arguments], input=input)
    assert done.exit_code == 0, done.output
    return done.output


def told(log: bytes, engine: str = "kohya") -> dict[str, str | None]:
    return json.loads(run("--backend", engine, "--json", "-", input=log))


@pytest.mark.parametrize(
    "name", ["kohya/no-data", "kohya/word-known", "kohya/ok_sdxl", "simpletuner/boft-rank", "simpletuner/ok_4"]
)
def test_every_recorded_log_has_a_cause_unless_it_is_a_success(name):
    path = LOGS / f"{name}.log"
    found = json.loads(run("--backend", path.parent.name, "--json", str(path)))
    assert list(found) == ["cause", "message", "line", "fix"]
    assert (found["cause"] is None) == path.name.startswith("ok_")
    assert bool(found["line"] and found["fix"]) == bool(found["cause"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cause_is_told_with_its_line_and_what_to_do(engine):
    found = told(FULL.encode(), engine)
    assert (found["cause"], found["message"]) == ("disk-full", "The disk is full.")
    assert (found["line"], bool(found["fix"])) == ("OSError: [Errno 28] No space left on device", True)


def test_an_unknown_error_has_no_cause_but_its_line():
    found = told(FAILED.format("OddError: y").encode())
    assert (found["cause"], found["line"], found["fix"]) == (None, "OddError: y", "")
    assert "does not know" in str(found["message"])


@pytest.mark.parametrize("log", [b"", b"\n\r\n", b"\0" * 5000, b"\xff\xfe" * 5000, b"epoch 1/1\nmodel saved.\n"])
def test_a_log_without_an_error_has_no_cause(log):
    assert told(log) == {
        "cause": None,
        "message": "The log shows no error that ended the engine.",
        "line": "",
        "fix": "",
    }


@pytest.mark.parametrize(
    "log",
    [
        FULL.encode("utf-16"),
        FULL.replace("No", "N\0o").encode(),
        b"\xff\xfe\x80" * 9 + b"\n" + FULL.encode(),
        "".join(f"\rsteps: {n}/9999 [00:00<00:00]" for n in range(9999)).encode() + FULL.encode(),
        FULL.replace("OSError", "\x1b[31mOSError\x1b[0m").replace("\n", "\r\n").encode(),
        b"x" * (5 << 20) + b"\n" + FULL.encode(),
        FULL.encode() + b"steps: 9/9 [00:00<00:00]" * 3,
    ],
    ids=["utf-16", "nul", "invalid", "bars", "colours", "huge", "closed bars"],
)
def test_a_log_of_any_kind_is_read(log):
    assert told(log)["cause"] == "disk-full"


def test_what_is_quoted_is_text(tmp_path):
    evil = "OddError: \x1b]0;title\x07\x1b[2J<img src=x>[bold red]\u202e\x9b31m " + "y" * 9000
    (tmp_path / "a.log").write_text(FAILED.format(evil), "utf-8")
    shown = run("--backend", "kohya", str(tmp_path / "a.log"))
    assert "<img src=x>[bold red]" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*shown}
    assert len(shown) < 1500
    assert shown.splitlines()[0].startswith("what happened: ")


def test_the_engines_are_those_that_there_are():
    for arguments in (["--backend", "nothing", "-"], ["-"], ["--backend", ENGINES[0], "/nowhere/a.log"]):
        done = CliRunner().invoke(easel, ["diagnose", *arguments])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
    assert all(engine in CliRunner().invoke(easel, ["diagnose", "--help"]).output for engine in ENGINES)
