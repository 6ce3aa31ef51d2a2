"""What old edits keep is removed only when the user says so; the newest edits can still be taken back, and nothing in the dataset changes."""

import json

import pytest
from click.testing import CliRunner

from tests.support.incoming import files, folder
from trainer_core.cli import easel
from trainer_core.curation import contents, pruning, records
from trainer_core.curation.journal import BEFORE, Change, Journal
from trainer_core.errors import DatasetError

LONG = 5000


@pytest.fixture
def root(tmp_path):
    """A dataset with four edits of one file, the last of which was taken back: five records."""
    made = folder(tmp_path / "images", **{"a.txt": b"0" * LONG, "b.png": b"b" * LONG})
    journal = Journal(made)
    for number in range(1, 4):
        journal.apply("edit", f"Write {number}", [Change("a.txt", str(number).encode() * LONG)])
    journal.apply("move-out", "Move out", [Change("b.png", None)])
    journal.undo()
    return made


def run(*arguments, **more):
    return CliRunner().invoke(easel, ["dataset", "edits", *map(str, arguments)], catch_exceptions=False, **more)


def test_the_newest_edits_can_be_taken_back_and_the_older_not(root):
    journal = Journal(root)
    found = pruning.prune(journal, 3)
    assert [one.title for one in found.edits] == ["Write 1", "Write 2"]
    assert found.freed_bytes == 2 * LONG
    assert [one.is_pruned for one in journal.edits()] == [True, True, False, False, False]
    with pytest.raises(DatasetError, match="what it replaced was removed"):
        journal.undo(1)
    assert journal.undo().undoes == 3
    assert (root / "a.txt").read_bytes() == b"2" * LONG
    assert journal.undoable() is None
    assert journal.undo() is None
    assert journal.redo().title == "Redo: Write 3"
    assert files(root) == ["a.txt", "b.png"]


def test_a_file_that_the_dataset_uses_again_is_not_counted_as_freed(root):
    journal = Journal(root)
    place = journal.folder_of(4) / BEFORE / "0"
    assert place.stat().st_nlink == 2, "the undo has linked it back"
    assert pruning.preview(journal, 0).freed_bytes == 3 * LONG == pruning.kept_bytes(journal)
    pruning.prune(journal, 0)
    assert (root / "b.png").read_bytes() == b"b" * LONG
    assert pruning.kept_bytes(journal) == 0
    assert pruning.preview(journal, 0).edits == ()
    assert journal.redo() is None
    assert journal.apply("edit", "More", [Change("a.txt", b"more")]).number == 6


def test_a_prune_that_was_interrupted_leaves_no_edit_that_comes_back_in_part(root):
    journal = Journal(root)
    (journal.folder_of(3) / records.PRUNED).touch()
    assert journal.undoable() is None
    pruning.prune(journal, 5)
    assert not (journal.folder_of(3) / BEFORE).exists()
    assert (journal.folder_of(2) / BEFORE).exists()


def test_the_command_says_what_is_lost_and_asks(root):
    before = sorted(path for path in root.rglob("*") if path.name != contents.LOCK)
    shown = run(root, "--prune", 3, input="n\n")
    assert shown.exit_code == 1
    for words in ("cannot be taken back any more", "1 Write 1", "2 Write 2", "9.8 KiB will be free"):
        assert words in shown.output
    assert sorted(path for path in root.rglob("*") if path.name != contents.LOCK) == before
    assert run(root, "--prune", 3, "--json").exit_code == 2
    assert json.loads(run(root, "--prune", 3, "--json", "--yes").output) == {"edits": [1, 2], "freed_bytes": 2 * LONG}
    listed = run(root).output
    assert listed.count("cannot be taken back") == 2
    assert "4.9 KiB are kept" in listed
    assert "nothing to remove" in run(root, "--prune", 99).output
