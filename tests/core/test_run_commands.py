"""The commands of runs on written run folders: what they print, their JSON, and their exit codes."""

from __future__ import annotations

import json

import pytest

from tests.support.written_runs import write_run
from trainer_core import places
from trainer_core.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def easel(capsys):
    """Calls `easel` in this process, and returns what it printed; `check` is the exit code."""

    def call(*arguments, check=0):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == check, said.out + said.err
        return said.out + said.err if check else said.out

    return call


@pytest.mark.parametrize(
    "arguments",
    [
        "runs show nothing",
        "runs trash restore nothing",
        "runs compare --sweep nothing",
        "diagnose nothing",
        "plan --engine nothing",
        "plan --profile nothing",
        "plan --preset nothing",
        "plan --policy nothing",
        "backends verify nothing",
        "backends audit nothing",
        "notify remove 7",
        "runs queue pause --gpu 77",
    ],
)
def test_a_name_that_nothing_has_is_wrong_use(easel, arguments):
    assert "nothing" in easel(*arguments.split(), check=2) or "77" in arguments or "7" in arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("runs history --limit 0", "0 is too small: the smallest number is 1."),
        ("runs history --limit -1", "-1 is too small"),
        ("runs history --limit many", "'many' is not a whole number."),
        ("runs stop x --grace nan", "'nan' is not a number of seconds."),
        ("runs stop x --grace 1e9", "from 0 to 3600 seconds"),
        ("runs retry x --fix two", "'two' is not a whole number."),
    ],
)
def test_a_wrong_number_is_explained_in_plain_words(easel, arguments, said):
    assert said in easel(*arguments.split(), check=2)


def test_a_deletion_names_few_files_and_counts_many(easel):
    run = write_run("20260101-100000-a")
    for step in range(10, 110, 10):
        (run / "output" / f"mika-step{step:08}.safetensors").write_bytes(b"x" * step)
    said = easel("runs", "delete", "20260101-100000-a", check=1)
    assert "10 files, mika-step00000010.safetensors to mika-step00000100.safetensors" in said
    assert said.count("safetensors") == 2
    assert (places.runs() / run.name).is_dir()


def test_history_shows_at_most_so_many_runs(easel):
    for day in (1, 2, 3):
        write_run(f"2026010{day}-100000-a")
    assert len(json.loads(easel("runs", "history", "--limit", "2", "--json"))) == 2
