"""An environment that is kept while a new one is made: whatever is cut off, one complete environment is there afterwards."""

import itertools
import sys
from pathlib import Path

import pytest

from trainer_core.install.kept import Kept, come_back, size_of

PARTS = ("venv", "source", "installed.json")
STEPS = {"os.rename", "os.remove", "os.rmdir"}


class CutOffError(BaseException):
    """What ends a step, as a kill would: nothing of Easel's catches it."""


class Cut:
    """Ends the program at the n-th change of the disk; None never."""

    left: int | None = None

    def __call__(self, event: str, _: tuple) -> None:
        if self.left is None or event not in STEPS:
            return
        self.left -= 1
        if self.left < 0:
            raise CutOffError


cut = Cut()
sys.addaudithook(cut)


def cut_at(number: int, work) -> bool:
    """Whether the work was cut off at its n-th change of the disk."""
    cut.left = number
    try:
        work()
    except CutOffError:
        return True
    finally:
        cut.left = None
    return False


def fill(folder: Path, version: str, parts=PARTS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if part == "installed.json":
            (folder / part).write_text(version)
        else:
            (folder / part).mkdir()
            (folder / part / "file").write_text(version)


def read(folder: Path) -> set[str]:
    """The versions of all parts of a folder."""
    found = [folder / part for part in PARTS if (folder / part).exists()]
    return {(part if part.is_file() else part / "file").read_text() for part in found}


def update(kept: Kept) -> None:
    kept.set_aside()
    fill(kept.folder, "new", ("source", "installed.json"))
    kept.accept()


def roll_back(kept: Kept) -> None:
    kept.go_back()
    kept.stay_back()


def made(folder: Path, both: bool) -> Kept:
    kept = Kept(folder, PARTS, "installed.json")
    fill(folder, "old")
    if both:
        update(kept)
    return kept


@pytest.mark.parametrize(("work", "both"), [(update, False), (update, True), (roll_back, True)])
def test_whatever_is_cut_off_a_whole_environment_is_there_afterwards(tmp_path, work, both):
    """Also when bringing it back is cut off itself, at any place, and done again."""
    cuts = 0
    for number in itertools.count():
        was_cut = False
        for second in itertools.count():
            kept = made(tmp_path / f"{number}-{second}", both)
            was_cut = cut_at(number, lambda kept=kept: work(kept))
            if not kept.marker.exists():
                break  # before the first step, or after the last
            was_cut_again = cut_at(second, kept.recover)
            assert come_back(kept) or not was_cut_again
            assert read(kept.folder) in ({"old"}, {"new"})
            assert (kept.folder / "installed.json").exists()
            assert len(read(kept.before)) <= 1
            assert not kept.marker.exists()
            assert not (kept.folder / "aside").exists()
            cuts += 1
            if not was_cut_again:
                break
        if not was_cut:
            break
    assert cuts > 10


def test_going_back_and_forth(tmp_path):
    kept = made(tmp_path / "engine", both=True)
    assert (read(kept.folder), read(kept.before)) == ({"new"}, {"old"})
    roll_back(kept)
    assert (read(kept.folder), read(kept.before)) == ({"old"}, {"new"})
    assert not (kept.before / "venv").exists(), "the new one has no venv, and none was mixed into it"
    kept.go_back()
    assert read(kept.folder) == {"new"}
    assert kept.recover()
    assert (read(kept.folder), read(kept.before)) == ({"old"}, {"new"})


def test_a_new_environment_that_fails_leaves_nothing_of_itself(tmp_path):
    kept = made(tmp_path / "engine", both=False)
    kept.set_aside()
    fill(kept.folder, "broken", ("venv", "source"))
    assert kept.recover()
    assert read(kept.folder) == {"old"}
    assert not kept.has_before
    kept.sweep()
    assert sorted(path.name for path in kept.folder.iterdir()) == sorted(PARTS)


def test_what_was_kept_is_deleted_at_the_next_update_or_when_asked(tmp_path):
    kept = made(tmp_path / "engine", both=True)
    fresh = size_of(kept.before)
    assert fresh == kept.size == 3 * len("old")
    kept.set_aside()
    assert read(kept.before) == {"new"}
    fill(kept.folder, "newest")
    kept.accept()
    kept.forget()
    assert (kept.size, kept.has_before) == (0, False)
    assert not list(kept.folder.glob(".dropped-*"))


def test_an_incomplete_environment_is_not_kept(tmp_path):
    kept = Kept(tmp_path / "engine", PARTS, "installed.json")
    fill(kept.folder, "half", ("venv",))
    kept.set_aside()
    assert not kept.has_before
    assert not kept.recover()
    assert not (kept.folder / "venv").exists()


def test_a_step_that_still_runs_elsewhere_is_left_alone(tmp_path):
    import fcntl

    kept = made(tmp_path / "engine", both=False)
    kept.set_aside()
    with (kept.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not come_back(kept)
        assert kept.marker.exists()
    assert come_back(kept)
