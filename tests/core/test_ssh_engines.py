"""The engines of a machine that ssh reaches: they are listed, and a missing one is a Problem before anything is sent.

A real sshd on loopback answers, with a user of its own (`tests/support/sshd.py`).
"""

import dataclasses
import json

import pytest
from PIL import Image

from tests.support import engine_records, recorded_headers, sshd
from trainer_core import places
from trainer_core.cli import main
from trainer_core.engines import manifest
from trainer_core.engines.manifest import Upstream
from trainer_core.errors import InstallError, JobError, PlanError
from trainer_core.events import Phase
from trainer_core.install import installed, upstream
from trainer_core.jobs.timeline import stage_of
from trainer_core.prepare.problems import engine_problems
from trainer_core.prepare.workbench import Workbench, use_own_machine
from trainer_core.remote.machines import book, carrier, engine_list, engine_sources, engine_there, sources_there
from trainer_core.remote.machines.book import Entry
from trainer_core.remote.runs import starting
from trainer_core.remote.runs.follower import Follower
from trainer_core.remote.runs.known import Known
from trainer_core.training.run import list_runs

INSTALL = "easel remote machine install box --engine kohya"
DETAILS = {"torch": "2.10.0+cu128", "cuda": "12.8", "gpu": "NVIDIA RTX A5000"}


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


@pytest.fixture
def box(there, tmp_path, monkeypatch):
    """The machine under the name `box`, which may not install anything by itself."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "here"))
    entry = Entry("box", there.address, identity=str(there.key), config="/dev/null")
    book.keep(entry)
    return entry


@pytest.fixture
def bench(box, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64), (40, 90, 120)).save(tmp_path / "images" / "0.png")
    model = recorded_headers.write("sd15", tmp_path)
    made = Workbench(engine="kohya")
    made.set({"model.path": str(model), "dataset.path": str(tmp_path / "images"), "output.name": "elena"})
    return made


def easel(*words, capsys):
    """The exit code of a command, and what it printed."""
    code = 0
    try:
        main(list(map(str, words)))
    except SystemExit as ended:
        code = ended.code or 0
    return code, capsys.readouterr().out


def found(bench):
    return [(one.severity, one.message, one.fix.label) for one in engine_problems(bench.state)]


def test_a_missing_engine_is_a_problem_before_anything_is_sent_and_check_lists_it(there, bench, box, capsys):
    before = there.wire.bytes_sent
    with pytest.raises(PlanError, match="kohya sd-scripts is not installed on box") as refused:
        starting.start(bench, carrier.kind.target("box"))
    assert refused.value.hint == f"Install it there: {INSTALL}"
    assert found(bench) == [("error", "kohya sd-scripts is not installed on box.", f"Install it there: {INSTALL}")]
    assert not list_runs(places.runs())
    assert there.wire.bytes_sent - before < 64 << 10, "only a question was sent"

    data = ["--model", bench.state.draft.text("model.path"), "--dataset", bench.state.draft.text("dataset.path")]
    code, out = easel("remote", "train", "--json", "box", "--engine", "kohya", *data, "--name", "elena", capsys=capsys)
    assert code == 3
    assert INSTALL in json.loads(out)["problems"][0]["fix"]["label"]

    _, out = easel("remote", "machine", "check", "box", "--json", capsys=capsys)
    engines = {one["id"]: one for one in json.loads(out)["engines"]}
    assert (engines["kohya"]["is_installed"], engines["kohya"]["torch"]) == (False, None)
    assert "rehearsal" not in engines

    # Whoever has agreed beforehand is told, and not stopped.
    book.keep(Entry("box", box.address, identity=box.identity, config=box.config, may_install=True))
    starting.look(bench, carrier.kind.target("box"))
    assert found(bench)[0][:2] == (
        "warning",
        "kohya sd-scripts is not installed on box. The start installs it there first.",
    )
    use_own_machine(bench)
    assert found(bench)[0][1] == "kohya sd-scripts is not installed."


NOWHERE = "http://127.0.0.1:9"
WITHOUT = "PIP_NO_INDEX=1; export PIP_NO_INDEX"
"""There is nowhere to get uv from, so that an installation fails at once."""


def test_while_an_engine_is_installed_there_the_run_is_said_to_do_that(there, bench, box, monkeypatch):
    book.keep(Entry("box", box.address, identity=box.identity, config=box.config, may_install=True))
    bench.set({"dataset.trigger": "elena"})
    run = starting.prepared(bench, carrier.kind.target("box"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    follower = Follower(run.folder.path)
    with there.forced(WITHOUT):
        end = follower.follow()
    assert end.how == "refused"
    assert "was not installed on" in str(end)
    assert Known.read(run.folder.path).doing == "installing on the trainer"
    assert stage_of(Phase(Known.read(run.folder.path).doing)) == "Installing on the trainer"


def test_a_folder_of_this_machine_is_sent_as_the_source_and_an_address_with_a_password_never(
    there, box, tmp_path, capsys
):
    name = ["remote", "machine", "install", "box", "--yes", "--engine", "kohya", "--source"]
    for wrong in ("kohya", "simpletuner=/tmp", f"kohya={tmp_path / 'nowhere'}"):
        assert easel(*name, wrong, capsys=capsys)[0] == 2
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "train.py").write_text("1\n")
    said: list[str] = []
    with pytest.raises(InstallError, match="their files differ from the pinned ones"):
        engine_there.install(box.machine, "kohya", said.append, source=str(tmp_path / "sources"))
    opens = f"https://bob:s3cr3t@{NOWHERE[7:]}/x.git"
    with pytest.raises(InstallError, match="cannot be reached") as refused:
        engine_there.install(box.machine, "kohya", said.append, source=opens)
    assert "s3cr3t" not in f"{refused.value}{said}"
    assert "The source is fetched here and sent" in "".join(said)
    assert engine_sources.brought(box.machine, "kohya", f"{NOWHERE}/x.git", said.append) == {
        "source": f"{NOWHERE}/x.git"
    }
    assert engine_sources.brought(box.machine, "simpletuner", "https://x", said.append) == {}
    assert "comes from the package registry" in said[-1]
    with there.forced(WITHOUT), pytest.raises(JobError, match="was not installed on"):
        engine_there.install(box.machine, "kohya", said.append, source=f"{NOWHERE}/x.git")
    jobs = (there.home / "easel-home" / "jobs").glob("*-install-kohya*/spec.json")
    named = [json.loads(path.read_text())["steps"][0]["argv"][-1] for path in jobs]
    assert f"{NOWHERE}/x.git" in named, "the job there was given the address"


def test_what_is_sent_of_a_folder_is_an_archive_of_the_pinned_files(there, box, tmp_path, monkeypatch):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "train.py").write_text("1\n")
    pinned = Upstream("Tiny", "https://upstream.invalid/tiny", "1" * 40, upstream.digest(tmp_path / "sources"))
    table = dataclasses.replace(manifest.read("kohya"), upstream=pinned)
    monkeypatch.setattr(manifest, "read", lambda _: table)
    said: list[str] = []
    about = engine_sources.brought(box.machine, "kohya", str(tmp_path / "sources"), said.append)
    before = there.wire.bytes_sent
    assert engine_sources.brought(box.machine, "kohya", str(tmp_path / "sources"), said.append) == about
    assert there.wire.bytes_sent - before < 64 << 10
    home = there.home / "easel-home"
    monkeypatch.setenv("EASEL_HOME", str(home))
    archive = sources_there.asked("kohya", about)
    upstream.fetch(pinned, tmp_path / "taken", archive, said.append)
    assert (tmp_path / "taken" / "train.py").read_text() == "1\n"
    assert sources_there.asked("kohya", {"source": "git@host:x.git"}) == "git@host:x.git"
    assert sources_there.asked("kohya", {}) is None
    with pytest.raises(JobError, match="has not arrived"):
        sources_there.asked("kohya", {"archive": "0" * 64})


def test_an_engine_there_is_asked_for_anew_and_told_with_its_torch(there, bench, capsys):
    engine_records.write(there, "kohya", version="48d368f", accelerator="cuda", details=DETAILS)
    engine_records.write(there, "simpletuner", version="4.10.1")
    starting.look(bench, carrier.kind.target("box"))
    assert found(bench) == []
    _, out = easel("remote", "machine", "check", "box", "--json", capsys=capsys)
    engines = {one["id"]: one for one in json.loads(out)["engines"]}
    assert engines["kohya"] == {
        "id": "kohya",
        "title": "kohya sd-scripts",
        "is_installed": True,
        "version": "48d368f",
        "torch": "2.10.0+cu128",
        "device": "NVIDIA RTX A5000 with CUDA 12.8",
    }
    assert (engines["simpletuner"]["torch"], engines["simpletuner"]["device"]) == (None, None)
    _, out = easel("remote", "machine", "check", "box", capsys=capsys)
    row = next(line for line in out.splitlines() if line.startswith("simpletuner"))
    assert row.count("not known") == 2
    assert installed.installed("kohya") is None, "it is installed there, and not here"


def test_an_easel_that_does_not_say_its_engines_stops_nothing(bench):
    assert engine_list.parsed(None) is None
    assert engine_list.parsed([]) is None
    assert engine_list.parsed(["kohya", {"title": "x"}]) is None
    assert engine_list.parsed([{"id": "k\x1b[2J", "is_installed": "yes"}])[0].is_installed is False
    assert "\x1b" not in engine_list.parsed([{"id": "k\x1b[2J"}])[0].sentence
