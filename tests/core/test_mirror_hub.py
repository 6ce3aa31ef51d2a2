"""The mirror of a run to a repository of a Hub on loopback: private, proved by hash, resumed, and nobody else's files are replaced."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from tests.support import hub as hubs
from trainer_core.cli import easel
from trainer_core.cli.job import _absolute
from trainer_core.engines import registry
from trainer_core.engines.seam import Place
from trainer_core.errors import DownloadError
from trainer_core.install.place import at_place
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.spec import Spec, Step
from trainer_core.models import hub_repository, tokens
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare.workbench import Workbench
from trainer_core.publishing import hub as publishing_hub
from trainer_core.publishing import hub_list, hub_mirror
from trainer_core.training import checks, mirror_end, mirror_notes, mirroring, run
from trainer_core.training.folder import RunFolder

TO = "hf://mika/runs/kept"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in (*tokens.SITES["huggingface"].names, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in publishing_hub.WITHOUT.items():
        # As the command sets them, which would stay for other tests.
        monkeypatch.setenv(name, value)
    with hubs.running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", hubs.WRITE)
        yield server


@pytest.fixture
def made(tmp_path):
    """A run that has ended, with two checkpoints and a finished result."""
    folder = JobFolder.create(tmp_path / "runs", "mika")
    run = RunFolder(folder.path)
    run.output.mkdir()
    (run.path / "finished").mkdir()
    for step in (2, 4):
        save(run, step)
    (run.path / "finished/00000004-output-mika.safetensors").write_bytes(b"finished" * 1000)
    folder.write_spec(
        Spec("training", (Step("train", ("true",)),), folder.path, details={"plan": {"output": {"mirror_to": TO}}})
    )
    folder.write("result.json", {"outputs": [str(tmp_path / "out/cg_mika.safetensors")]})
    return run


def save(run: RunFolder, step: int) -> str:
    name = f"output/mika-{step}.safetensors"
    (run.path / name).write_bytes(os.urandom(3000))
    with run.events.open("a") as file:
        file.write(json.dumps({"kind": "checkpoint", "path": name, "step": step}) + "\n")
    return name


def files_of(hub, run: RunFolder, below: str = "kept") -> dict[str, bytes]:
    base = f"{below}/{run.path.name}/"
    return {name.removeprefix(base): content for name, content in hub.repositories["mika/runs"].files.items()}


def test_a_run_is_mirrored_to_a_private_repository_and_only_what_is_new_is_sent_again(made, hub, capfd):
    first = CliRunner().invoke(easel, ["runs", "mirror", str(made.path), "--json"])
    assert first.exit_code == 0, first.output
    there = files_of(hub, made)
    assert hub.repositories["mika/runs"].private
    assert there["output/mika-4.safetensors"] == (made.output / "mika-4.safetensors").read_bytes()
    assert there["finished/cg_mika.safetensors"] == b"finished" * 1000
    assert set(there) == {*json.loads(first.stdout)["copied"], ".easel-mirror.json"}
    again = hub_mirror.mirror(made, TO)
    assert (again.copied, again.there) == ((), len(there) - 1)

    sent = [path for method, path, _ in hub.requests if method == "PUT"]
    new = save(made, 6)
    assert set(hub_mirror.mirror(made, TO).copied) == {new, "events.jsonl"}
    assert files_of(hub, made)["events.jsonl"] == made.events.read_bytes()
    assert len([path for method, path, _ in hub.requests if method == "PUT"]) == len(sent) + 1

    # What is damaged or deleted there is found by its hash, and sent again.
    files = hub.repositories["mika/runs"].files
    files[f"kept/{made.path.name}/{new}"] = b"damaged"
    del files[f"kept/{made.path.name}/output/mika-2.safetensors"]
    hub.repositories["mika/runs"].commit()
    assert set(hub_mirror.mirror(made, TO).copied) == {new, "output/mika-2.safetensors"}
    assert files_of(hub, made)[new] == (made.path / new).read_bytes()

    told = b"".join(path.read_bytes() for path in made.path.rglob("*") if path.is_file())
    assert hubs.WRITE.encode() not in told
    assert hubs.WRITE not in "".join(capfd.readouterr())
    assert {token for method, _, token in hub.requests if method != "PUT"} == {hubs.WRITE}


def test_a_pass_that_was_cut_off_sends_only_what_is_missing(made, hub):
    hub.broken = "/commit/"
    with pytest.raises(DownloadError, match="server error"):
        hub_mirror.mirror(made, TO)
    sent = [path for method, path, _ in hub.requests if method == "PUT"]
    assert len(sent) == 3
    assert hub.repositories["mika/runs"].files == {}
    hub.broken = ""
    assert len(hub_mirror.mirror(made, TO).copied) > 3
    assert [path for method, path, _ in hub.requests if method == "PUT"] == sent


def test_a_copy_with_another_content_is_an_error(made, hub, monkeypatch):
    real = hubs.git_id
    monkeypatch.setattr(hubs, "git_id", lambda content: real(content[:-1] if b"plan" in content else content))
    with pytest.raises(DownloadError, match=r"spec\.json in mika/runs is not the same as the file"):
        hub_mirror.mirror(made, TO)


def test_what_the_run_has_not_written_stays(made, hub):
    hub.repositories["mika/runs"] = hubs.Repository(private=True)
    theirs = hub.repositories["mika/runs"].files
    theirs[f"kept/{made.path.name}/notes.txt"] = b"mine"
    done = hub_mirror.mirror(made, TO)
    assert str(done.folder).endswith(f"/kept/{made.path.name}-2/")
    name = f"kept/{made.path.name}-2/output/mika-6.safetensors"
    theirs[name] = b"mine"
    save(made, 6)
    done = hub_mirror.mirror(made, TO)
    assert done.left[0].startswith("output/mika-6.safetensors: something that the mirror has not written")
    assert theirs[name] == b"mine"


def test_a_folder_that_is_no_longer_the_runs_is_refused(made, hub, tmp_path):
    hub_mirror.mirror(made, TO)
    (tmp_path / "elsewhere").mkdir()
    copy = RunFolder(shutil.copytree(made.path, tmp_path / "elsewhere" / made.path.name))
    assert str(hub_mirror.mirror(copy, TO).folder).endswith(f"{made.path.name}-2/"), "a copy is another run"
    files = hub.repositories["mika/runs"].files
    marker = f"kept/{made.path.name}/.easel-mirror.json"
    files[marker] = files[f"kept/{made.path.name}-2/.easel-mirror.json"]
    before = dict(files)
    with pytest.raises(DownloadError, match="is the mirror of another run"):
        hub_mirror.mirror(made, TO)
    del files[marker]
    with pytest.raises(DownloadError, match="no longer has the file") as refused:
        hub_mirror.mirror(made, TO)
    assert hub_mirror.RECORD in refused.value.hint
    assert files == {name: content for name, content in before.items() if name != marker}


def test_a_public_repository_a_token_that_may_not_write_and_none_are_refused(made, hub, monkeypatch):
    hub.repositories["mika/seen"] = hubs.Repository(private=False)
    with pytest.raises(DownloadError, match="is public, so everybody would see"):
        hub_mirror.mirror(made, "hf://mika/seen")
    assert hub.repositories["mika/seen"].files == {}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="switched off"):
        hub_mirror.mirror(made, TO)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", hubs.READ)
    with pytest.raises(DownloadError, match="may not write"):
        hub_mirror.mirror(made, TO)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(DownloadError, match="needs a token"):
        hub_mirror.mirror(made, TO)


def test_the_last_pass_goes_to_the_hub_and_a_failure_is_told_until_it_is_made_up_for(made, hub, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", hubs.READ)
    mirror_end.job_ended(made.path)
    assert "may not write to mika/runs" in mirror_notes.lack_of(made)
    assert hubs.READ not in "".join(capfd.readouterr())
    monkeypatch.setenv("HF_TOKEN", hubs.WRITE)
    hub_mirror.mirror(made, TO)
    assert mirror_notes.lack_of(made) == ""


def test_the_passes_of_a_running_training_leave_the_hub_a_while(made, monkeypatch):
    begun = []
    watching = mirroring.Mirroring(made, {"output": {"mirror_to": TO}})
    monkeypatch.setattr(watching, "_start", lambda: begun.append(1) or "")
    for now in (0, 1, mirroring.HUB_EVERY_S - 1, mirroring.HUB_EVERY_S):
        watching.look(now, is_new=now <= 1)
    assert len(begun) == 2
    assert mirror_end.command_of(made, TO)[3:] == [hub_mirror.__name__, str(made.path), TO]


@pytest.mark.parametrize(
    "text",
    [
        "hf://mika",
        "hf://",
        "hf://spaces/mika/x",
        "hf://mika/x@main",
        "hf://mika/x/../y",
        "hf://mika/x//y",
        "hf://mika/x/.git",
    ],
)
def test_an_address_that_is_no_place_in_a_repository_is_refused(text):
    with pytest.raises(DownloadError):
        hub_repository.place(text)
    assert hub_repository.place("hf://mika/x/a/b/") == hub_repository.Place("mika/x", "a/b")


def test_the_plan_says_before_the_start_what_is_sent_and_that_a_token_is_missing(hub, monkeypatch, tmp_path):
    def said():
        bench = Workbench(engine="rehearsal")
        bench.set({"output.mirror_to": TO})
        return [(each.severity, each.message) for each in bench.problems if each.path == "output.mirror_to"]

    [(severity, message)] = said()
    assert severity == "info"
    assert "is sent to mika/runs on Hugging Face" in message
    monkeypatch.delenv("HF_TOKEN")
    [(severity, message)] = said()
    assert severity == "error"
    assert "needs a token" in message


def test_an_address_on_the_hub_is_not_taken_for_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    assert _absolute("output.mirror_to", TO) == TO
    plan = TrainingPlan.model_validate({"output": {"name": "x", "mirror_to": TO}, "dataset": {"path": "/"}})
    checks._check_folders(plan)
    made = run._with_absolute_paths(plan)
    rehearsal = registry.get("rehearsal").manifest
    assert made.output.mirror_to == TO
    assert at_place(made, rehearsal, Place(tmp_path, tmp_path, tmp_path, tmp_path)).output.mirror_to == TO


def test_a_list_of_files_that_never_ends_ends_the_pass_with_a_sentence(made, hub, monkeypatch):
    hub_mirror.mirror(made, TO)
    monkeypatch.setattr(hub_list, "MOST_PAGES", 5)
    hub.next_page = f"{hub.url}/api/models/mika/runs/tree/main/kept?again"
    with pytest.raises(DownloadError, match="does not end: it has more than 5 pages"):
        hub_mirror.mirror(made, TO)
    for elsewhere in ("http://127.0.0.2:9/stolen", "http://["):
        hub.next_page = elsewhere
        with pytest.raises(DownloadError, match="another server, which gets no token"):
            hub_mirror.mirror(made, TO)
    hub.next_page = ""
    monkeypatch.setattr(hub_list, "LARGEST_PAGE_BYTES", 10)
    with pytest.raises(DownloadError, match="a page of it has more than"):
        hub_mirror.mirror(made, TO)


@pytest.mark.parametrize(
    "row",
    [
        {"path": ["a"], "size": 1, "oid": "x"},
        {"path": "a", "size": "q", "oid": "x"},
        {"path": "a", "size": 1, "oid": "x", "lfs": [1]},
        {"path": "a", "size": 1},
    ],
)
def test_a_row_of_a_list_of_files_with_other_types_is_an_error_that_is_read(row):
    with pytest.raises((KeyError, TypeError)):
        hub_list._file({"type": "file", **row})
    dated = {"path": "a", "size": 1, "oid": "x", "lastCommit": {"id": 1, "title": 2, "date": 5}}
    assert hub_list._file(dated).path == "a"


def test_folders_of_others_under_every_name_are_said(made, hub, monkeypatch):
    monkeypatch.setattr(hub_mirror, "MOST_FOLDERS", 3)
    names = [made.path.name, *(f"{made.path.name}-{number}" for number in (2, 3))]
    hub.repositories["mika/runs"] = hubs.Repository(True, {f"kept/{name}/other": b"x" for name in names})
    with pytest.raises(DownloadError, match="3 folders with the name of this run belong to others"):
        hub_mirror.mirror(made, TO)
