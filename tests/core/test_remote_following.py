"""What the follower of a remote run says and does when its trainer does not answer, and what it tells of transfers."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.remote_runs import Homes
from trainer_core.events import Transfer
from trainer_core.jobs import transferred
from trainer_core.jobs.stop_request import StopRequest
from trainer_core.jobs.summary import Summary
from trainer_core.remote.runs import starting, transfers
from trainer_core.remote.runs.carrier import NotNow
from trainer_core.remote.runs.commanded import CommandedCarrier
from trainer_core.remote.runs.follower import Follower
from trainer_core.remote.runs.known import Known
from trainer_core.remote.runs.silence import MOST_BETWEEN_S, Silence
from trainer_core.remote.runs.transfers import Transfers

DAY_S = 24 * 3600.0


class Machine:
    """The clocks of a machine: one stands still while it is asleep, the other counts that time."""

    def __init__(self):
        self.awake_s = self.asleep_s = 0.0

    def silence(self, seconds=0.0):
        return Silence(seconds, clock=lambda: self.awake_s, suspended=lambda: self.asleep_s)


def fail(silence, machine, times, every_s):
    for _ in range(times):
        machine.awake_s += every_s
        silence.failed()


def test_only_time_awake_in_which_questions_failed_counts():
    machine = Machine()
    silence = machine.silence()
    fail(silence, machine, 3, 60)
    machine.asleep_s += 2 * DAY_S
    fail(silence, machine, 1, 60)
    assert silence.seconds == 180
    fail(silence, machine, 24 * 60, 60)
    assert silence.is_longer_than(DAY_S)
    silence.answered()
    assert not silence.is_longer_than(0)


def test_several_questions_must_fail_after_waking_up():
    machine = Machine()
    silence = machine.silence()
    fail(silence, machine, 5, 60)
    for slept_s, jumped_s in ((DAY_S, 0.0), (0.0, 2 * MOST_BETWEEN_S)):
        machine.asleep_s += slept_s
        machine.awake_s += jumped_s
        for is_over in (False, False, True):
            fail(silence, machine, 1, 60)
            assert silence.is_longer_than(100) is is_over
    # The same after a start of the program.
    again = machine.silence(2 * DAY_S)
    fail(again, machine, 2, 60)
    assert not again.is_longer_than(DAY_S)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        homes = Homes(tmp_path_factory.mktemp("homes"), patch)
        yield starting.prepared(homes.bench(), homes.target)
        homes.close()


@pytest.fixture
def followed(run, monkeypatch):
    """A follower of the run, with what is known of it; it does not wait."""
    before = signal.getsignal(signal.SIGTERM)

    def of(known):
        known.write(run.folder.path)
        made = Follower(run.folder.path)
        made._begun()
        monkeypatch.setattr(made, "_pause", lambda _: None)
        return made

    yield of
    signal.signal(signal.SIGTERM, before)
    run.folder.stop.unlink(missing_ok=True)


def test_a_day_asleep_is_no_day_out_of_reach(followed, monkeypatch):
    monkeypatch.setenv("EASEL_TEST_PATIENCE_S", str(DAY_S))
    made = followed(Known(begun=True, phase="running", out_of_reach_since=time.time() - 2 * DAY_S))
    made._wait(NotNow("Nothing answers."))


@pytest.mark.parametrize(
    ("known", "wanted", "said"),
    [
        ({}, "", "it trained when it answered last, and needs no connection"),
        ({"phase": ""}, "", "the training was started there"),
        ({"phase": "waiting"}, "", "the training had not begun when it answered last"),
        ({"phase": "ended"}, "", "the training has ended there"),
        ({"phase": "ended"}, "now", "the training has ended there"),
        ({}, "now", "it was not asked to stop yet, so the training may go on"),
        ({"asked": "save"}, "now", "it was not asked to stop yet, so the training may go on"),
        ({"asked": "now"}, "now", "it was asked to stop the training. "),
        ({"asked": "save"}, "save", "it was asked to stop the training after its next checkpoint"),
    ],
)
def test_what_is_said_of_a_training_that_cannot_be_asked_about_is_true(run, followed, known, wanted, said):
    made = followed(Known(**{"begun": True, "phase": "running", **known}))
    if wanted:
        run.folder.write("stop", StopRequest(after=wanted).as_dict())
    made._wait(NotNow("Nothing answers."))
    (notice,) = made.known.notices
    assert f"; {said}" in notice
    assert "goes on" not in notice
    advice = made._lost(NotNow("Nothing answers.")).advice
    assert said.rstrip(". ")[1:] in advice


def test_a_stop_that_cannot_arrive_is_told_as_soon_as_it_is_wanted(run, followed):
    made = followed(Known(begun=True, phase="running"))
    made._wait(NotNow("Nothing answers."))
    made._wait(NotNow("Nothing answers."))
    run.folder.write("stop", StopRequest().as_dict())
    made._wait(NotNow("Nothing answers."))
    assert ["not asked to stop" in each for each in made.known.notices] == [False, True]


class Pieces:
    """Lists and sends a file in three pieces, and looks after each what is told of the transfer."""

    def __init__(self, folder):
        self.folder, self.told = folder, []

    def run(self, words, given=b""):
        assert words[3] == "files"
        return 0, b'{"output/elena.safetensors": {"size": 12, "tag": "t", "sha256": ""}}', b""

    def stream(self, words, take):
        for _ in range(3):
            # What is told more often than four times a second is left out.
            time.sleep(0.26)
            take(b"1234")
            self.told.append(transfers.read(self.folder))
        return 0, b""

    def close(self):
        return None


def test_a_fetch_tells_how_far_it_is_once_a_second(tmp_path):
    (tmp_path / "remote").mkdir()
    (tmp_path / "output").mkdir()
    seconds = iter(range(100))
    pieces = Pieces(tmp_path)
    one = CommandedCarrier(pieces, "x-00000000", lambda _: None, Transfers(tmp_path, lambda: next(seconds) * 0.6))
    one.fetch("output/elena.safetensors", tmp_path / "output" / "elena.safetensors")
    assert [one.done_bytes for one in pieces.told] == [4, 4, 12]
    assert {(one.what, one.total_bytes) for one in pieces.told} == {("fetching elena.safetensors", 12)}
    assert transfers.read(tmp_path) == Transfer(), "it is over"


def test_a_transfer_is_said_with_what_is_known_of_it_and_no_more():
    unknown = Transfer("sending model", 5 << 20)
    assert transferred.words(unknown) == "sending model: 5.0 MiB, of a size that is not known"
    seen = Summary()
    seen.take([Transfer("sending model", 1 << 20, 4 << 20, float(1 << 20))])
    assert "sending model: 1.0 MiB of 4.0 MiB, 1.0 MiB per second" in seen.stage
    seen.take([Transfer()])
    assert seen.transfer is None
