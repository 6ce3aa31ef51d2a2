"""The edits of a dataset: whole or not at all, and taken back byte by byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from trainer_core import places
from trainer_core.curation import contents
from trainer_core.curation.journal import CHANGED, Change, Journal
from trainer_core.errors import DatasetError


def tree(root):
    """All files of a folder but Easel's own: bytes, links, and times."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in folders if one != contents.OWN]
        for name in names:
            path = Path(folder, name)
            where = os.fsencode(path.relative_to(root))
            found[where] = path.readlink() if path.is_symlink() else (path.read_bytes(), path.lstat().st_mtime_ns)
        found.update({os.fsencode(Path(folder, one).relative_to(root)) + b"/": None for one in folders})
    return found


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.txt").write_bytes(b"\xef\xbb\xbfohwx, a cat\r\n")
    (root / "b.txt").write_bytes(b"ohwx, a dog")
    (root / "b.png").write_bytes(bytes(range(256)) * 40)
    return root


def test_an_edit_changes_makes_and_removes_files_and_its_undo_brings_all_back(dataset):
    before = tree(dataset)
    journal = Journal(dataset)
    edit = journal.apply(
        "mixed", "Three things", [Change("a.txt", b"new"), Change("b.png", None), Change("in/side/c.txt", b"c")]
    )
    assert (edit.number, edit.files, edit.refused) == (1, 3, ())
    assert (dataset / "a.txt").read_bytes() == b"new"
    assert not (dataset / "b.png").exists()
    assert (dataset / "in/side/c.txt").read_bytes() == b"c"
    undone = Journal(dataset).undo()
    assert (undone.undoes, undone.title, undone.files) == (1, "Undo: Three things", 3)
    assert tree(dataset) == before
    assert Journal(dataset).undo() is None
    redone = Journal(dataset).redo()
    assert redone.title == "Redo: Three things"
    assert (dataset / "in/side/c.txt").read_bytes() == b"c"
    assert Journal(dataset).redo() is None
    assert Journal(dataset).undo().undoes == 1 or tree(dataset) == before
    assert tree(dataset) == before


def test_what_changes_nothing_is_no_edit(dataset):
    assert Journal(dataset).apply("none", "None", [Change("b.txt", b"ohwx, a dog"), Change("none.txt", None)]) is None
    assert Journal(dataset).edits() == []


def test_a_file_that_another_program_has_changed_is_left_alone_and_named(dataset):
    journal = Journal(dataset)
    seen = contents.mark(dataset / "a.txt")
    (dataset / "a.txt").write_text("from outside")
    edit = journal.apply("set", "Set", [Change("a.txt", b"mine", seen), Change("b.txt", b"mine")])
    assert edit.refused == (("a.txt", CHANGED),)
    assert edit.files == 1
    (dataset / "b.txt").write_text("from outside")
    undone = journal.undo()
    assert undone.refused == (("b.txt", CHANGED),)
    assert {(dataset / name).read_text() for name in ("a.txt", "b.txt")} == {"from outside"}


def test_an_older_edit_is_not_taken_back_in_part(dataset):
    before, journal = tree(dataset), Journal(dataset)
    journal.apply("set", "Both", [Change("a.txt", b"1"), Change("b.txt", b"1")])
    journal.apply("set", "Another", [Change("c.txt", b"2")])
    journal.apply("set", "The first", [Change("a.txt", b"3")])
    journal.apply("set", "It again", [Change("a.txt", b"4")])
    there = tree(dataset)
    with pytest.raises(DatasetError) as error:
        journal.undo(1)
    assert "Edit 3 (The first) and Edit 4 (It again) changed some of its files later." in error.value.message
    assert error.value.hint == "Take back 4, then 3 first."
    assert (tree(dataset), len(journal.edits())) == (there, 4)
    journal.undo(4)
    with pytest.raises(DatasetError) as error:
        journal.undo(1)
    assert error.value.hint == "Take back 3 first."
    for number in (3, 1, 2):
        assert journal.undo(number).refused == ()
    assert tree(dataset) == before


def test_what_was_made_again_is_in_the_way_of_an_older_edit_and_of_an_older_undo(dataset):
    before, journal = tree(dataset), Journal(dataset)
    journal.apply("set", "One", [Change("a.txt", b"1")])
    journal.apply("set", "Two", [Change("a.txt", b"2"), Change("b.txt", b"2")])
    journal.undo(2)
    journal.redo()
    with pytest.raises(DatasetError, match=r"Edit 2 \(Two\) changed some"):
        journal.undo(1)
    of_two, of_one = journal.undo(2), journal.undo(1)
    assert tree(dataset) == before
    with pytest.raises(DatasetError, match=rf"Edit {of_one.number} \(Undo: One\) changed some"):
        journal.undo(of_two.number)
    journal.undo(of_one.number)
    assert (dataset / "a.txt").read_bytes() == b"1"
    journal.undo(of_two.number)
    assert (dataset / "a.txt").read_bytes() == b"2"
    for number in (2, 1):
        assert journal.undo(number).refused == ()
    assert tree(dataset) == before


@pytest.mark.parametrize("path", ["../x.txt", "/etc/x", "in/../../x", ".easel/edits/1", "", "a\0b", "..", "link/x.txt"])
def test_no_path_leaves_the_dataset(dataset, tmp_path, path):
    (dataset / "link").symlink_to(tmp_path)
    with pytest.raises(DatasetError, match="dataset"):
        Journal(dataset).apply("out", "Out", [Change("a.txt", b"x"), Change(path, b"x")])
    assert (dataset / "a.txt").read_bytes().startswith(b"\xef")
    assert not (tmp_path / "x.txt").exists()
    assert Journal(dataset).edits() == []


def test_a_journal_from_somebody_else_writes_nothing_outside(dataset, tmp_path):
    edit = Journal(dataset).apply("set", "Set", [Change("a.txt", b"x")])
    record = dataset / contents.OWN / "edits" / f"{edit.number:06}" / "rows.jsonl"
    head, row = record.read_text().splitlines()
    record.write_text(f"{head}\n{json.dumps(json.loads(row) | {'path': '../a.txt', 'after': 'nothing'})}\n")
    with pytest.raises(DatasetError, match="not a path inside"):
        Journal(dataset).undo()
    assert not (tmp_path / "a.txt").exists()


def test_an_own_folder_that_is_a_link_is_refused(dataset, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (dataset / contents.OWN).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="link"):
        Journal(dataset).apply("set", "Set", [Change("a.txt", b"x")])
    assert not list((tmp_path / "elsewhere").iterdir())


def test_links_stay_links(dataset):
    (dataset / "c.txt").symlink_to("b.txt")
    before = tree(dataset)
    Journal(dataset).apply("set", "Set", [Change("c.txt", b"own")])
    assert not (dataset / "c.txt").is_symlink()
    assert (dataset / "b.txt").read_bytes() == b"ohwx, a dog"
    Journal(dataset).undo()
    assert tree(dataset) == before


def test_a_file_that_somebody_has_linked_keeps_its_content(dataset, tmp_path):
    os.link(dataset / "b.txt", tmp_path / "of a run")
    Journal(dataset).apply("set", "Set", [Change("b.txt", b"new")])
    assert (tmp_path / "of a run").read_bytes() == b"ohwx, a dog"


KILLED = """
import os, signal, sys
from pathlib import Path
from trainer_core.curation import journal
root, at = Path(sys.argv[1]), int(sys.argv[2])
put, count = journal.Journal._put, 0
def counted(self, plan, place, row):
    global count
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
    put(self, plan, place, row)
journal.Journal._put = counted
if at == 9:
    write = journal.write_whole
    journal.write_whole = lambda path, *rest, **more: os.kill(os.getpid(), signal.SIGKILL) if path.name == "rows.jsonl" else write(path, *rest, **more)
journal.Journal(root).apply("set", "Set", [journal.Change(f"{n}.txt", b"new" if n else None) for n in range(5)] + [journal.Change("made/x.txt", b"x")])
"""


@pytest.mark.parametrize("at", [0, 1, 3, 5, 9])
def test_an_edit_that_was_killed_is_taken_back(tmp_path, at):
    root = tmp_path / "images"
    root.mkdir()
    for number in range(4):
        (root / f"{number}.txt").write_bytes(b"old %d" % number)
    before = tree(root)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), str(at)], check=False, cwd=places.CHECKOUT, timeout=60
    )
    assert process.returncode == -signal.SIGKILL
    if at in (3, 5):
        assert tree(root) != before
    Journal(root).recover()
    assert tree(root) == before
    assert Journal(root).edits() == []
    assert Journal(root).apply("set", "Set", [Change("1.txt", b"again")]).files == 1


def test_two_writers_work_one_after_the_other(dataset):
    wrong = []

    def write(number):
        try:
            for turn in range(8):
                content = b"%d %d" % (number, turn)
                Journal(dataset).apply("set", "Set", [Change("a.txt", content), Change("b.txt", content)])
                with contents.locked(dataset, 10):
                    if (dataset / "a.txt").read_bytes() != (dataset / "b.txt").read_bytes():
                        wrong.append(number)
        except DatasetError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []
    assert [edit.number for edit in Journal(dataset).edits()] == list(range(1, 25))


def test_another_process_that_edits_is_waited_for(dataset, monkeypatch):
    import fcntl

    own = contents.own_folder(dataset)
    handle = os.open(own / contents.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    monkeypatch.setattr("trainer_core.curation.journal.WAIT_S", 0.2)
    with pytest.raises(DatasetError, match="Another program changes"):
        Journal(dataset).apply("set", "Set", [Change("a.txt", b"x")])
    os.close(handle)
    assert Journal(dataset).apply("set", "Set", [Change("a.txt", b"x")])


NAMES = st.sampled_from(
    ["a.txt", "b.txt", "ü ß.txt", "in/a.txt", "in/deep/ñ.png", "日本.txt", "caf\udce9.txt", "x'y\n.txt"]
)
BYTES = st.sampled_from([b"", b"a, b", b"\xef\xbb\xbfa\r\nb", b"\xff\xfe\x00", b"ohwx, a cat\n", bytes(range(256))])


class Editing(RuleBasedStateMachine):
    """Any edits, undos and changes from outside. Each undo of the newest edit gives the bytes before it."""

    def __init__(self):
        super().__init__()
        self.folder = Path(os.environ["EASEL_PROPERTY_FOLDER"]) / os.urandom(6).hex()
        (self.folder / "in").mkdir(parents=True)
        (self.folder / "a.txt").write_bytes(b"a, b")
        self.first = tree(self.folder)
        self.states = []
        """What each edit found, while the newest was always taken back first; None afterwards."""

    def _remember(self, before):
        if self.states is not None:
            self.states.append(before)

    @rule(changes=st.dictionaries(NAMES, st.one_of(st.none(), BYTES), min_size=1, max_size=4))
    def edit(self, changes):
        before = tree(self.folder)
        edit = Journal(self.folder).apply("any", "Any", [Change(path, content) for path, content in changes.items()])
        for path, content in changes.items():
            there = self.folder / path
            assert (there.read_bytes() if there.exists() else None) == content
        if edit is None:
            assert tree(self.folder) == before
        else:
            self._remember(before)

    @rule()
    def undo(self):
        edit = Journal(self.folder).undo()
        if edit is not None:
            assert edit.refused == ()
        if self.states is not None:
            assert (edit is None) == (not self.states)
            assert edit is None or tree(self.folder) == self.states.pop()

    @rule(number=st.integers(1, 12))
    def undo_of_any(self, number):
        before, count = tree(self.folder), len(Journal(self.folder).edits())
        try:
            edit = Journal(self.folder).undo(number)
        except DatasetError:
            assert (tree(self.folder), len(Journal(self.folder).edits())) == (before, count)
            return
        assert edit.refused == ()
        self.states = None

    @rule()
    def redo_and_undo(self):
        before = tree(self.folder)
        try:
            redone = Journal(self.folder).redo()
        except DatasetError:
            assert (self.states, tree(self.folder)) == (None, before)
            return
        if redone is not None:
            assert redone.refused == ()
            made_again = next(one.undoes for one in Journal(self.folder).edits() if one.number == redone.undoes)
            assert Journal(self.folder).undo(made_again).refused == ()
            assert tree(self.folder) == before

    def teardown(self):
        while Journal(self.folder).undo() is not None:
            pass
        assert tree(self.folder) == self.first
        shutil.rmtree(self.folder)


@pytest.fixture(autouse=True, scope="module")
def _property_folder(tmp_path_factory):
    os.environ["EASEL_PROPERTY_FOLDER"] = str(tmp_path_factory.mktemp("edits"))
    yield
    del os.environ["EASEL_PROPERTY_FOLDER"]


TestEditing = Editing.TestCase
TestEditing.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_a_damaged_record_is_no_exception(tmp_path_factory, damaged):
    root = tmp_path_factory.mktemp("damaged")
    (root / "a.txt").write_text("a")
    edit = Journal(root).apply("set", "Set", [Change("a.txt", b"x")])
    (root / contents.OWN / "edits" / f"{edit.number:06}" / "rows.jsonl").write_bytes(damaged)
    Journal(root).edits()
    Journal(root).undo()
    assert Journal(root).apply("set", "Set", [Change("a.txt", b"y")])
