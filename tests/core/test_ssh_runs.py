"""Runs on a machine that ssh reaches: from a plan here to a LoRA here, whatever is cut in between.

A real sshd on loopback answers, with a user and HOME of its own (`tests/support/sshd.py`); the engine is `rehearsal`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support import recorded_headers, sshd
from tests.support.played import LIMIT_S, until
from trainer_core import events, places
from trainer_core.errors import JobError
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.jobs.processes import Identity
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare.workbench import Workbench
from trainer_core.remote.machines import book, carrier, when_done
from trainer_core.remote.machines.book import Entry
from trainer_core.remote.machines.known_hashes import FILE, KnownHashes
from trainer_core.remote.runs import starting
from trainer_core.remote.runs.carrier import NotNow
from trainer_core.remote.runs.contract import check_carrier_contract
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.target import Remote
from trainer_core.training.run import list_runs


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


@pytest.fixture(scope="module")
def model(there, tmp_path_factory):
    """A model of 4 GB that takes no room, which the machine has already; and what is known of its hash here."""
    home = there.home / "easel-home"
    store = home / "remote-files"
    store.mkdir(parents=True)
    path = recorded_headers.write("sd15", tmp_path_factory.mktemp("models"))
    (store / "new").hardlink_to(path)
    for each in (path, home, store):
        os.chown(each, there.uid, there.uid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EASEL_HOME", str(path.parent / "here"))
        known = KnownHashes()
        sha256, _ = known.of(path)
        known.keep()
        (store / "new").rename(store / sha256)
        return path, places.cache() / FILE


class Scene:
    """The home of the person, with images and a model, and the machine under the name `box`."""

    def __init__(self, there, folder, model):
        self.there, self.folder, self.images, self.model = there, folder, folder / "10_elena", model
        self.images.mkdir()
        for number in range(3):
            Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(self.images / f"{number} \u00e9.png")
            (self.images / f"{number} \u00e9.txt").write_text(f"elena, image {number}")
        self.entry = Entry("box", there.address, identity=str(there.key), config="/dev/null")
        book.keep(self.entry)
        self.target = carrier.kind.target("box")

    def bench(self, steps=20, rate=20.0, more=None, **player):
        bench = Workbench(engine="rehearsal")
        bench.use_profile("plain")
        bench.set(
            {
                "model.path": str(self.model),
                "dataset.path": str(self.images),
                "network.rank": 4,
                "network.alpha": 2.0,
                "output.name": "elena",
                "output.folder": str(self.folder / "out"),
                "output.save_every_steps": 10,
                "schedule.steps": steps,
                "native": {"rehearsal": {"steps_per_second": rate, **player}},
                **(more or {}),
            }
        )
        return bench

    def start(self, **more):
        return starting.start(self.bench(**more), self.target)

    def there_of(self, run):
        return self.there.home / "easel-home" / "remote-runs" / Remote.of(run.folder.path).id

    def carrier_of(self, run):
        remote = Remote.of(run.folder.path)
        return carrier.kind.carrier(remote.target, remote.id, run.folder.path, Notes(run.folder.path))

    def engines_there(self, run):
        """The processes of the run on the machine, apart from those of ssh."""
        mark = f"EASEL_RUN={self.there_of(run)}"
        return [pid for pid in self.there.running() if mark.encode() in _environment(pid)]


@pytest.fixture
def scene(there, tmp_path, monkeypatch, model):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "here"))
    places.cache().mkdir(parents=True)
    shutil.copy(model[1], places.cache())
    made = Scene(there, tmp_path, model[0])
    yield made
    there.wire.cut_after(None)
    there.wire.is_silent = False
    for run in list_runs(places.runs()):
        if run.state not in FINAL_STATES:
            for name in ("runner.json", "wrapper.json", "engine.json"):
                kill(run, name)


def kill(run, name):
    found = Identity.from_dict(run.folder.read(name))
    if found is not None and found.alive:
        os.kill(found.pid, signal.SIGKILL)


def _environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def ended(run):
    state = run.wait(LIMIT_S)
    assert state in FINAL_STATES
    return state


def steps(run):
    try:
        found = run.folder.events.read_bytes()
    except FileNotFoundError:
        return []
    return [line["step"] for line in events.read_lines(found) if line.get("kind") == "step"]


def log(run):
    return run.folder.log.read_text("utf-8", "replace") if run.folder.log.exists() else ""


def check_complete(scene, run, last=20):
    assert ended(run) is JobState.COMPLETED, (run.result, log(run)[-3000:])
    assert steps(run) == list(range(1, last + 1)), "each step once"
    for name in ("elena.safetensors", "elena-step00000010.safetensors"):
        assert (scene.folder / "out" / name).is_file()
    assert len(log(run).split("was started on")) == 2
    assert not list(run.folder.path.rglob("*.part"))


def sent(run):
    return re.search(r"(\S+ \S+) were sent to", log(run))[1]


def test_a_run_ends_with_the_network_here_and_the_second_sends_nothing(scene):
    first = scene.start()
    check_complete(scene, first)
    assert sent(first) != "0 bytes"
    (plan,) = scene.there_of(first).glob("plan.toml")
    text = plan.read_text()
    assert '10_elena"' in text, "the folder of images has its name there"
    assert str(scene.folder) not in text, "and no path of this machine"
    assert "remote-inputs/" in text
    assert json.loads((scene.there_of(first) / "versions.json").read_text())["engine"] == "rehearsal"
    second = scene.start()
    check_complete(scene, second)
    assert sent(second) == "0 bytes"
    assert scene.there_of(second) != scene.there_of(first)


@pytest.mark.parametrize("stage", ["login", "sending", "begin", "following", "fetching"])
def test_a_run_is_complete_wherever_its_connection_is_cut(scene, stage):
    (scene.images / "large.png").write_bytes((scene.images / "0 \u00e9.png").read_bytes() + os.urandom(150_000))
    (scene.images / "large.txt").write_text("elena")
    if stage == "login":
        scene.there.wire.cut_after(2_000)
    # The start asks the machine what it has; the user repeats that.
    run = retried(scene)
    reached = {
        "begin": lambda: "were there already" in log(run),
        "following": lambda: 3 in steps(run),
        "fetching": lambda: 20 in steps(run),
    }
    cuts = 0
    if stage == "sending":
        scene.there.wire.cut_after(60_000)
    elif stage in reached:
        until(reached[stage], LIMIT_S)
        for _ in range(4):
            cuts += scene.there.cut()
            time.sleep(0.3)
    check_complete(scene, run)
    assert cuts or scene.there.wire.was_cut
    assert [path.name for path in scene.there_of(run).parent.glob(f"{run.name}*")] == [scene.there_of(run).name]


def retried(scene):
    """The start asks the machine once, at a terminal, so the user repeats it."""
    for _ in range(20):
        with contextlib.suppress(MachineError):
            return scene.start(rate=10.0)
    raise AssertionError("it never starts")


def test_a_machine_that_is_away_for_a_while_changes_nothing(scene):
    run = scene.start(steps=60, rate=10.0)
    until(lambda: 5 in steps(run), LIMIT_S)
    scene.there.stop()
    time.sleep(4)
    scene.there.start()
    check_complete(scene, run, 60)
    said = run.folder.events.read_text()
    assert "does not answer since" in said
    assert "answers again since" in said


@pytest.mark.parametrize("names", [("engine.json",), ("runner.json", "wrapper.json", "engine.json")])
def test_a_run_goes_on_when_everything_here_is_killed(scene, names):
    run = scene.start(steps=60, rate=10.0)
    until(lambda: 5 in steps(run), LIMIT_S)
    for name in names:
        kill(run, name)
    if len(names) > 1:
        assert run.wait(LIMIT_S) is JobState.LOST
        from trainer_core.jobs.recovery import recover

        recover([run])
    check_complete(scene, run, 60)


def test_a_large_result_is_fetched_on_from_where_it_was_cut(scene, tmp_path):
    run = scene.start()
    check_complete(scene, run)
    large = scene.there_of(run) / "output" / "elena.safetensors"
    content = large.read_bytes() + os.urandom(30 << 20)
    large.write_bytes(content)
    reached = scene.carrier_of(run)
    (name,) = [name for name in reached.files() if name.endswith("elena.safetensors")]
    before, done = scene.there.wire.bytes_back, threading.Event()

    def cut_in_the_middle():
        until(lambda: done.is_set() or scene.there.wire.bytes_back - before > 10 << 20, LIMIT_S)
        scene.there.cut()

    killer = threading.Thread(target=cut_in_the_middle)
    killer.start()
    for _ in range(5):
        with contextlib.suppress(MachineError):
            reached.fetch(name, tmp_path / "got")
            break
    done.set()
    killer.join()
    assert (tmp_path / "got").read_bytes() == content
    assert scene.there.wire.bytes_back - before < len(content) + (12 << 20)
    reached.close()


def test_a_stop_arrives_also_when_its_connection_is_cut(scene):
    run = scene.start(steps=2000, rate=5.0)
    until(lambda: 3 in steps(run), LIMIT_S)
    assert scene.engines_there(run)
    scene.there.cut()
    scene.there.wire.cut_after(200)
    run.stop(wait=False)
    assert ended(run) is JobState.CANCELLED
    assert scene.there.wire.was_cut
    until(lambda: not scene.engines_there(run), LIMIT_S)
    assert json.loads((scene.there_of(run) / "result.json").read_text())["state"] == "CANCELLED"


def test_a_machine_without_the_engine_says_how_to_install_it(scene):
    reached = scene.carrier_of(started := scene.start())
    ended(started)
    said = []
    with pytest.raises(JobError, match="The engine kohya is not installed on") as refused:
        reached._check_engine("kohya", said.append, said.append)
    assert refused.value.hint == "Install it with: easel remote machine install box --engine kohya"
    reached.close()


def test_a_machine_without_easel_is_refused_before_the_run_is_made(scene):
    book.keep(Entry("bare", scene.there.address, easel="nowhere", identity=str(scene.there.key), config="/dev/null"))
    with pytest.raises(JobError, match="There is no Easel in nowhere") as refused:
        starting.start(scene.bench(), carrier.kind.target("bare"))
    assert "easel remote machine install bare" in refused.value.hint
    assert not list_runs(places.runs())


def test_a_changed_host_key_is_said_and_a_run_waits_for_the_known_machine(scene):
    run = scene.start(steps=100, rate=10.0)
    until(lambda: 3 in steps(run), LIMIT_S)
    key = scene.there.base / "host_key"
    known = key.read_bytes()
    scene.there.stop()
    scene.there.new_key("host_key")
    scene.there.start()
    until(lambda: "does not answer since" in run.folder.events.read_text(), LIMIT_S)
    with pytest.raises(NotNow, match="is not the one that is known"):
        scene.carrier_of(run).state()
    scene.there.stop()
    key.write_bytes(known)
    scene.there.start()
    check_complete(scene, run, 100)


def test_the_machine_is_told_once_when_the_results_are_here(scene, capsys):
    mark = scene.there.home / f"done-{scene.folder.name}"
    # No shell: what looks like one is text, and a variable has its value there.
    command = f"touch '{mark} ${{USER}};id' {mark}"
    book.keep(Entry(**{**scene.entry.as_dict(), "when_done": book.words(command)}))
    run = scene.start()
    check_complete(scene, run)
    until(mark.exists, LIMIT_S)
    assert Path(f"{mark} {sshd.USER};id").exists()
    mark.unlink()
    found = book.find("box")
    assert when_done.finish(run.folder.path, found, Remote.of(run.folder.path).id) is False
    assert not mark.exists()


def test_the_machine_is_not_stopped_while_something_is_not_here(scene):
    run = scene.start()
    check_complete(scene, run)
    (run.folder.output / "elena.safetensors").unlink()
    entry = Entry(**{**scene.entry.as_dict(), "when_done": ("touch", "never")})
    with pytest.raises(JobError, match=r"elena\.safetensors and perhaps more of .* are not in"):
        when_done.finish(run.folder.path, entry, Remote.of(run.folder.path).id)
    for words, said in ((("echo", "$NO_SUCH_NAME"), "has no value"), (("no-such-program",), "cannot be started")):
        with pytest.raises(JobError, match=said):
            scene.carrier_of(run).finish(words)
    assert not (scene.there_of(run) / "when-done.json").exists()
    shutil.copytree(scene.there_of(run) / "output", run.folder.output, dirs_exist_ok=True)
    check_stays_on_for_others(scene, run, entry)


def check_stays_on_for_others(scene, run, entry):
    """A machine is left as it is while another run is there, or is on its way there from this computer."""
    identifier = Remote.of(run.folder.path).id
    other = starting.prepared(scene.bench(), scene.target)
    with pytest.raises(JobError, match=f"still in use, so it was left as it is: {other.name}") as refused:
        when_done.finish(run.folder.path, entry, identifier)
    assert refused.value.hint == "Stop the machine yourself then."
    book.keep(entry)
    when_done.job_ended(run.folder.path)
    told = run.folder.read("when-done.json")["told"]
    assert "was not started. " in told
    assert told.endswith("The command runs when that one has ended.")
    # Started from another computer: only the machine knows it.
    there = scene.there_of(run).parent / "20260101-000000-other-00000000"
    shutil.move(other.folder.path, there)
    for path in (there, *there.rglob("*")):
        os.chown(path, scene.there.uid, scene.there.uid)
    with pytest.raises(JobError, match=f"still in use, so it was left as it is: {there.name}"):
        when_done.finish(run.folder.path, entry, identifier)
    assert not (scene.there_of(run) / "when-done.json").exists()
    shutil.rmtree(there)
    assert when_done.finish(run.folder.path, entry, identifier)


def test_the_carrier_keeps_the_contract_of_carriers(scene, tmp_path):
    made = starting.prepared(scene.bench(), scene.target)
    (tmp_path / "fetched").mkdir()
    check_carrier_contract(lambda: scene.carrier_of(made), tmp_path / "fetched")
