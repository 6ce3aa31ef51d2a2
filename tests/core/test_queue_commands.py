"""The commands for history, queue, sweeps and trash: real processes, the rehearsal engine, exit codes and JSON."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from PIL import Image

from tests.support import queued, recorded_headers
from tests.support.played import until
from tests.support.queued import all_ended
from trainer_core import places
from trainer_core.cli import main
from trainer_core.jobs.queueing import entries, requests
from trainer_core.training.run import Run, list_runs

bench = queued.bench
SMI = """#!/bin/sh
case "$*" in
  *index,uuid*) printf '0, GPU-aaaa1111\\n1, GPU-bbbb2222\\n' ;;
  *compute_cap*) printf 'Card A, 24000, 23000, 8.6, 550.1\\nCard B, 48000, 47000, 8.9, 550.1\\n' ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def easel(bench, capsys):
    """Calls `easel` in this process, with the home folder of the bench."""

    def call(*arguments, check=0):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == check, said.out + said.err
        return said.out

    return call


@pytest.fixture
def job(tmp_path):
    """Options of a small job with the rehearsal engine."""
    recorded_headers.write("sd15", tmp_path)
    (tmp_path / "images").mkdir()
    for index in range(3):
        Image.new("RGB", (64, 64), (index * 60, 80, 90)).save(tmp_path / "images" / f"{index}.png")
        (tmp_path / "images" / f"{index}.txt").write_text("elena")
    return [
        *("--model", tmp_path / "sd15.safetensors", "--dataset", tmp_path / "images", "--trigger", "elena"),
        *("--name", "elena", "--output", tmp_path / "out", "--steps", "6", "--engine", "rehearsal"),
    ]


@pytest.fixture
def two_cards(tmp_path, monkeypatch):
    """A driver program that lists two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(SMI)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_sweep_of_three_is_checked_queued_and_compared(easel, job):
    bad = easel(
        "train", *job, "--sweep", "network.rank=4,8", "--sweep", "native.rehearsal.ending=success,wrong", check=3
    )
    assert bad.count("There is no such ending") == 2
    assert "rank 8, ending wrong" in bad
    assert list_runs(places.runs()) == []
    data = json.loads(easel("train", *job, "--sweep", "network.rank=4,8,16", "--json"))
    runs = [Run.attach(Path(row["folder"])) for row in data["runs"]]
    subject = runs[0].folder.plan["dataset"]["trigger"]
    all_ended(*runs)
    assert {run.folder.versions["sweep"] for run in runs} == {data["sweep"]}
    until((places.sweeps() / data["sweep"] / "comparison.csv").exists)
    told = json.loads(easel("runs", "compare", "--sweep", data["sweep"], "--json"))
    assert [name.removeprefix(f"{subject} ") for name in told["called"]] == ["rank 4", "rank 8", "rank 16"]
    assert [row["values"] for row in told["settings"] if row["key"] == "network.rank"] == [[4, 8, 16]]
    assert [row["values"] for row in told["results"] if row["key"] == "state"] == [["COMPLETED"] * 3]
    assert json.loads(easel("runs", "show", f"{subject} rank 8", "--json"))["state"] == "COMPLETED", (
        "found by its given name"
    )


def test_a_sweep_from_a_file_and_one_of_many_runs(easel, job, tmp_path):
    easel("runs", "queue", "pause")
    file = tmp_path / "sweep.toml"
    file.write_text('[[runs]]\n"network.rank" = 4\n[[runs]]\nnetwork = {rank = 8, alpha = 2.0}\n')
    data = json.loads(easel("train", *job, "--sweep", file, "--json"))
    assert [Run.attach(Path(row["folder"])).folder.plan["network"]["rank"] for row in data["runs"]] == [4, 8]
    assert "Queue 12 runs?" not in easel(
        "train", *job, "--sweep", "schedule.seed=" + ",".join(map(str, range(12))), check=1
    )
    assert len(list_runs(places.runs())) == 2
    for text in ("[[runs]]\nnonsense = 1", "runs = 1", "[[runs]]\n[[runs]]\n", "[[runs]]\n[runs.network]\nrank = 0"):
        file.write_text(text)
        easel("train", *job, "--sweep", file, check=3)
    easel("train", *job, "--sweep", "network.rank=4,many", check=2)
    easel("runs", "queue", "cancel", *(row["run"] for row in data["runs"]))


def test_a_run_for_one_gpu_sees_only_this_one_by_number_or_unique_id(easel, job, two_cards):
    easel("runs", "queue", "pause")
    for asked, gpu in (("1", "1"), ("GPU-bbbb2222", "1"), ("GPU-aaaa", "0"), ("", "0")):
        row = json.loads(easel("train", *job, "--queue", "--json", *(("--gpu", asked) if asked else ())))
        folder = Run.attach(Path(row["folder"])).folder
        assert row["gpu"] == folder.versions["gpu"] == gpu
        assert {step.environment["CUDA_VISIBLE_DEVICES"] for step in folder.spec.steps} == {gpu}
        assert {step.environment["CUDA_DEVICE_ORDER"] for step in folder.spec.steps} == {"PCI_BUS_ID"}
        first = (folder.read("hardware.json") or {})["accelerators"][0]["name"]
        assert first == ("Card B" if gpu == "1" else "Card A"), "checks and estimates are about the chosen GPU"
    for wrong in ("2", "GPU-cccc", "0; rm -rf /", "-1"):
        easel("train", *job, "--queue", f"--gpu={wrong}", check=2)
    rows = json.loads(easel("runs", "queue", "list", "--json"))["runs"]
    assert [(row["gpu"], row["position"]) for row in rows] == [("1", 1), ("1", 2), ("0", 1), ("0", 2)]
    easel("runs", "queue", "cancel", *(row["run"] for row in rows))


def test_a_run_is_duplicated_with_changes_and_its_plan_is_checked_again(easel, job):
    first = json.loads(easel("train", *job, "--rank", "4", "--json"))
    done = json.loads(easel("train", "--like", first["run"], "--set", "network.rank=8", "--json"))
    again = Run.attach(Path(done["folder"])).folder
    assert (again.plan["network"]["rank"], again.plan["schedule"]["steps"]) == (8, 6)
    assert again.versions["like"] == first["run"]
    path = Path(first["folder"]) / "spec.json"
    for wrong in (-5, "many"):
        spec = json.loads(path.read_text())
        spec["details"]["plan"]["network"]["rank"] = wrong
        path.write_text(json.dumps(spec))
        easel("runs", "duplicate", first["run"], "--queue", check=3)
    del spec["details"]["plan"]
    path.write_text(json.dumps(spec))
    (path.parent / "plan.toml").write_text("[")
    easel("runs", "duplicate", first["run"], check=1)
    easel("runs", "duplicate", done["run"], "--set", "network.rank=many", check=2)
    assert len(list_runs(places.runs())) == 2


def test_labels_and_the_trash_in_a_terminal(easel, job):
    name = json.loads(easel("train", *job, "--json"))["run"]
    easel("runs", "name", name, "the best")
    easel("runs", "note", "the best", "sharp \x1b[31meyes")
    assert "good, sharp" in easel("runs", "tag", "the best", "+good", "sharp", "-bad")
    assert "\x1b" not in easel("runs", "history") + easel("runs", "note", "the best")
    (row,) = json.loads(easel("runs", "history", "--tag", "good", "--since", "1d", "--json"))
    assert (row["run"], row["name"], row["tags"]) == (name, "the best", ["good", "sharp"])
    easel("runs", "history", "--state", "nonsense", check=2)
    easel("runs", "history", "--since", "whenever", check=2)
    said = easel("runs", "delete", "the best", check=1)
    assert "stays" in said, "without --yes and a terminal nothing is deleted"
    assert "exists only" not in said, "the delivered file has more metadata, and the same weights"
    easel("runs", "delete", "the best", "--yes")
    assert json.loads(easel("runs", "history", "--json")) == []
    easel("runs", "trash", "restore", name)
    easel("runs", "delete", name, "--yes")
    easel("runs", "trash", "empty", check=1)
    easel("runs", "trash", "empty", "--yes")
    assert json.loads(easel("runs", "trash", "list", "--json")) == []
    assert list((places.home().parent / "out").glob("*.safetensors")), "the delivered file stays"


def test_a_waiting_run_that_was_stopped_or_deleted_waits_no_more(easel, bench):
    requests.pause()
    first, second, third = (bench.queued() for _ in range(3))
    assert "CANCELLED" in easel("runs", "stop", first.name)
    told = json.loads(easel("runs", "queue", "list", "--json"))
    assert [(row["run"], row["position"]) for row in told["runs"]] == [(second.name, 1), (third.name, 2)]
    easel("runs", "delete", first.name, "--yes")
    assert entries.read().entry(first.name) is None
    requests.move(third.name, 1)
    assert queued.waiting() == [third.name, second.name]
