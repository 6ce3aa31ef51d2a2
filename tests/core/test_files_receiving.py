"""Files that a browser sends in pieces: whole, resumed after cuts, refused when they are other ones, and never half under a name."""

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer_core.errors import FilesError
from trainer_core.keeping import bounds, carrying, receiving, trash, unfinished
from trainer_core.keeping.receiving import Receiver

PIECE = 1 << 20


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def content():
    return os.urandom(5 * PIECE + 17)


def announced(receiver, path, content):
    answer = receiver.announce([{"path": path, "size": len(content)}])[0]
    assert not answer.reason
    return answer


def send(receiver, name, content, start=0, end=None):
    at = start
    while at < (len(content) if end is None else end):
        at = receiver.write(name, at, content[at : at + PIECE])
    return at


def sha(content):
    return hashlib.sha256(content).hexdigest()


def visible(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_a_file_gets_its_name_when_it_is_complete_with_the_hash_of_the_page(home, content):
    receiver = Receiver(bounds.spot("models"))
    answer = announced(receiver, "loras/elena.safetensors", content)
    send(receiver, answer.id, content, end=3 * PIECE)
    assert visible(home / "models") == []
    with pytest.raises(FilesError, match="not complete"):
        receiver.finish(answer.id, sha(content))
    send(receiver, answer.id, content, start=3 * PIECE)
    arrived = receiver.finish(answer.id, sha(content))
    assert arrived.spot.text == "models/loras/elena.safetensors"
    assert arrived.sha256 == sha(content)
    assert arrived.spot.path.read_bytes() == content
    assert list((home / "models" / "loras").iterdir()) == [arrived.spot.path]
    assert unfinished.listed() == []


@pytest.mark.parametrize("kernel", ["kept", "restarted"])
def test_a_file_goes_on_where_it_was_cut(home, content, kernel):
    receiver = Receiver(bounds.spot("models"))
    name = announced(receiver, "a.safetensors", content).id
    send(receiver, name, content, end=2 * PIECE)
    if kernel == "restarted":
        # As after a kill: the system has released the lock, and nothing was tidied up.
        receiver._files[name].part.__exit__(None, None, None)
        receiver = Receiver(bounds.spot("models"))
    assert [(one.spot.text, one.have) for one in unfinished.listed()] == [("models/a.safetensors", 2 * PIECE)]
    answer = announced(receiver, "a.safetensors", content)
    assert answer.have == 2 * PIECE
    assert receiver.check(answer.id) == (2 * PIECE, sha(content[: 2 * PIECE]))
    send(receiver, answer.id, content, start=2 * PIECE)
    assert receiver.finish(answer.id, sha(content)).spot.path.read_bytes() == content


def test_another_file_of_the_same_name_and_size_starts_anew(home, content):
    receiver = Receiver(bounds.spot("models"))
    send(receiver, announced(receiver, "a.bin", content).id, content, end=2 * PIECE)
    receiver.close()
    other = os.urandom(len(content))
    again = Receiver(bounds.spot("models"))
    answer = announced(again, "a.bin", other)
    have, digest = again.check(answer.id)
    assert digest != sha(other[:have])
    again.restart(answer.id)
    send(again, answer.id, other)
    assert again.finish(answer.id, sha(other)).spot.path.read_bytes() == other


def test_a_damaged_file_is_refused_and_nothing_of_it_stays(home, content):
    receiver = Receiver(bounds.spot("models"))
    name = announced(receiver, "a.bin", content).id
    send(receiver, name, content[:100] + b"x" + content[101:])
    with pytest.raises(FilesError, match="damaged on the way"):
        receiver.finish(name, sha(content))
    assert [path for path in (home / "models").rglob("*") if path.is_file()] == []
    assert unfinished.listed() == []


def test_a_taken_name_is_kept_beside_or_replaced_into_the_trash(home, content):
    (home / "models").mkdir(parents=True)
    (home / "models" / "a.bin").write_bytes(b"old")
    receiver = Receiver(bounds.spot("models"))
    for choice, expected in (("both", "a-2.bin"), ("replace", "a.bin")):
        answer = announced(receiver, "a.bin", content)
        assert answer.is_taken
        send(receiver, answer.id, content)
        assert receiver.finish(answer.id, sha(content), choice).spot.name == expected
    assert trash.restore(trash.listed()[0]).path.read_bytes() == b"old"


def test_small_and_empty_files_and_their_folders_come_whole(home):
    receiver = Receiver(bounds.spot("datasets"))
    files = {"set/a.txt": b"caption", "set/empty.txt": b"", "set/sub/b.txt": b"b" * 1000}
    answers = receiver.announce([{"path": path, "size": len(data)} for path, data in files.items()])
    for answer, data in zip(answers, files.values(), strict=True):
        send(receiver, answer.id, data)
        receiver.finish(answer.id, sha(data))
    found = {
        path.relative_to(home / "datasets").as_posix(): path.read_bytes()
        for path in (home / "datasets").rglob("*")
        if path.is_file()
    }
    assert found == files


@given(
    name=st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(["..", ".", "a", "~", ".ssh", "x\0y", "C:", "\\", "é", "a" * 300]), max_size=6).map(
            "/".join
        ),
    )
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_names_arrive_inside_or_not_at_all(home, tmp_path, name):
    receiver = Receiver(bounds.spot("datasets"))
    answer = receiver.announce([{"path": name, "size": 2}])[0]
    if not answer.reason:
        receiver.write(answer.id, 0, b"ok")
        try:
            arrived = receiver.finish(answer.id, sha(b"ok"))
        except FilesError:
            # An earlier name is a file where this one has a folder.
            assert any(path.is_file() for path in (home / "datasets").iterdir())
        else:
            assert arrived.spot.path.resolve().is_relative_to((home / "datasets").resolve())
            assert not any(part.startswith(".") for part in arrived.spot.parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]
    assert {path.name for path in home.iterdir()} <= {"datasets", "incoming"}


def test_nothing_arrives_behind_a_link_that_leads_out(home, tmp_path):
    (home / "datasets").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (home / "datasets" / "out").symlink_to(tmp_path / "secret")
    receiver = Receiver(bounds.spot("datasets"))
    for path in ("out/a.txt", "out/new/a.txt"):
        answer = receiver.announce([{"path": path, "size": 2}])[0]
        if not answer.reason:
            receiver.write(answer.id, 0, b"ok")
            with pytest.raises(FilesError):
                receiver.finish(answer.id)
    assert list((tmp_path / "secret").iterdir()) == []


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"path": "a"},
        {"path": "a", "size": "1"},
        {"path": 1, "size": 1},
        {"path": "a", "size": -1},
        {"path": "a", "size": True},
        {"path": "a", "size": 1 << 60},
    ],
)
def test_an_announcement_that_is_none_is_refused(home, row):
    assert Receiver(bounds.spot("models")).announce([row])[0].reason


def test_pieces_behind_a_gap_before_the_file_or_too_many_change_nothing(home, content):
    receiver = Receiver(bounds.spot("models"))
    name = announced(receiver, "a.bin", content).id
    assert receiver.write(name, 0, content[:PIECE]) == PIECE
    assert receiver.write(name, 3 * PIECE, content[:PIECE]) == PIECE
    assert receiver.write(name, 0, content[:PIECE]) == PIECE
    with pytest.raises(FilesError, match="larger than it was announced"):
        receiver.write(name, PIECE, bytes(10 * PIECE))
    with pytest.raises(FilesError):
        receiver.write(name, -1, b"x")
    with pytest.raises(FilesError, match="not expected"):
        receiver.write("99", 0, b"x")
    send(receiver, name, content, start=PIECE)
    assert receiver.finish(name, sha(content)).spot.path.read_bytes() == content


def test_a_file_is_received_by_one_tab_at_a_time(home, content):
    first, second = Receiver(bounds.spot("models")), Receiver(bounds.spot("models"))
    send(first, announced(first, "a.bin", content).id, content, end=PIECE)
    name = announced(second, "a.bin", content).id
    with pytest.raises(FilesError, match="another tab or notebook"):
        second.check(name)
    first.close()
    assert second.check(name)[0] == PIECE


def test_an_unfinished_file_can_be_discarded(home, content):
    receiver = Receiver(bounds.spot("models"))
    send(receiver, announced(receiver, "a.bin", content).id, content, end=PIECE)
    with pytest.raises(FilesError, match="being received now"):
        unfinished.discard(unfinished.listed()[0].key)
    receiver.close()
    unfinished.discard(unfinished.listed()[0].key)
    assert unfinished.listed() == []
    assert [path for path in (home / "models").rglob("*") if path.is_file()] == []


def test_what_does_not_fit_is_refused_before_it_is_sent(home, monkeypatch):
    monkeypatch.setattr(carrying, "LEFT_FREE_BYTES", 1 << 60)
    with pytest.raises(FilesError, match="are free"):
        Receiver(bounds.spot("models")).announce([{"path": "a.bin", "size": 1}])


def test_a_full_disk_keeps_what_has_arrived_and_the_file_goes_on(home, content, monkeypatch):
    receiver = Receiver(bounds.spot("models"))
    name = announced(receiver, "a.bin", content).id
    send(receiver, name, content, end=PIECE)
    part = receiver._files[name].part
    whole = part.write

    def half(data):
        part._file.write(data[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(part, "write", half)
    with pytest.raises(FilesError, match="is full"):
        receiver.write(name, PIECE, content[PIECE : 2 * PIECE])
    monkeypatch.setattr(part, "write", whole)
    send(receiver, name, content, start=PIECE)
    assert receiver.finish(name, sha(content)).spot.path.read_bytes() == content


def test_too_many_files_are_refused_with_advice(home):
    with pytest.raises(FilesError, match="too many"):
        Receiver(bounds.spot("models")).announce([{"path": "a", "size": 1}] * (receiving.MOST_FILES + 1))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../evil.txt", "its name leads out of the folder"),
        ("C:/evil.txt", "its name leads out of the folder"),
        (".bashrc", "it is hidden, because its name begins with a dot"),
        ("set/.git/config", "it is in a hidden folder, whose name begins with a dot"),
        ("set/Thumbs.db", "it is a file that systems add to folders"),
        ("/".join(["a"] * 40), "it lies in more than 31 folders"),
        (" / ", "it has no name"),
    ],
)
def test_each_file_that_is_left_out_has_its_own_reason(home, name, reason):
    assert Receiver(bounds.spot("datasets")).announce([{"path": name, "size": 2}])[0].reason == reason


@pytest.mark.parametrize(
    ("name", "kept", "words"),
    [
        ("a" * 250 + ".safetensors", "a" * 168 + ".safetensors", "was too long, and was shortened"),
        ("CON.safetensors", "_CON.safetensors", "some systems cannot have"),
        ("ab:c?.txt", "ab_c_.txt", "some systems cannot have"),
        ("set/plain name.txt", "plain name.txt", ""),
        ("E\u0301lena.txt", "\u00c9lena.txt", ""),
    ],
)
def test_a_name_that_had_to_be_changed_is_said(home, name, kept, words):
    receiver = Receiver(bounds.spot("datasets"))
    answer = announced(receiver, name, b"ok")
    send(receiver, answer.id, b"ok")
    arrived = receiver.finish(answer.id, sha(b"ok"))
    assert arrived.spot.name == kept
    assert words in arrived.renamed
    assert bool(words) == bool(arrived.renamed)


def test_two_files_whose_names_become_the_same_both_arrive(home, content):
    receiver = Receiver(bounds.spot("datasets"))
    other = content[::-1]
    one, two = receiver.announce(
        [{"path": path, "size": len(content)} for path in ("a" * 250 + "1.bin", "a" * 250 + "2.bin")]
    )
    send(receiver, one.id, content, end=2 * PIECE)
    send(receiver, two.id, other)
    send(receiver, one.id, content, start=2 * PIECE)
    assert receiver.finish(one.id, sha(content)).spot.path.read_bytes() == content
    assert receiver.finish(two.id, sha(other)).spot.path.read_bytes() == other
