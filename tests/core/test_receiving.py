"""Files arrive in pieces: under safe names, counted, from several threads, again after a lost connection, and nothing stays behind."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.incoming import ZIP, files, png
from trainer_core.curation import importing, receiving, unpacking
from trainer_core.curation.receiving import Receiver
from trainer_core.errors import DatasetError


def announced(**content):
    return [{"path": name, "size": len(data)} for name, data in content.items()]


def sent(receiver, answer, data, piece=7):
    have = answer.have
    while have < len(data):
        have = receiver.write(answer.id, have, data[have : have + piece])
    return have


def test_files_arrive_in_pieces_and_come_into_the_dataset(tmp_path):
    content = {"set/a.png": png("red"), "set/a.txt": b"red", "set/10_b/b.png": png("blue")}
    receiver = Receiver(tmp_path / "in")
    for answer, data in zip(receiver.begin(announced(**content)), content.values(), strict=True):
        assert (answer.have, answer.reason) == (0, "")
        sent(receiver, answer, data)
    assert receiver.progress() == (sum(map(len, content.values())),) * 2
    done = receiver.finish()
    assert (done.files, done.refused) == (3, ())
    found = importing.add(tmp_path / "d", done.sources, importing.Wishes(origin="this computer"))
    assert files(tmp_path / "d") == ["set/10_b/b.png", "set/a.png", "set/a.txt"]
    assert found.edit.title == "Add 2 images from this computer"
    receiver.close()
    assert list((tmp_path / "in").iterdir()) == []


def test_after_a_lost_connection_the_same_list_goes_on_where_it_was(tmp_path):
    data = png("red", (64, 64))
    receiver = Receiver(tmp_path / "in")
    (first,) = receiver.begin(announced(**{"a.png": data}))
    assert receiver.write(first.id, 0, data[:20]) == 20
    (again,) = receiver.begin(announced(**{"a.png": data}))
    assert (again.id, again.have) == (first.id, 20)
    # A piece whose answer was lost comes twice; one after a gap is not taken.
    assert receiver.write(first.id, 10, data[10:30]) == 30
    assert receiver.write(first.id, 50, data[50:60]) == 30
    sent(receiver, receiver.begin(announced(**{"a.png": data}))[0], data)
    assert (receiver.finish().sources[0] / "a.png").read_bytes() == data


def test_a_file_that_was_changed_meanwhile_starts_anew(tmp_path):
    receiver = Receiver(tmp_path / "in")
    (first,) = receiver.begin(announced(**{"a.png": b"123456"}))
    receiver.write(first.id, 0, b"123")
    (second,) = receiver.begin(announced(**{"a.png": b"abcd"}))
    assert (second.have, second.id != first.id) == (0, True)
    with pytest.raises(DatasetError, match="announced again"):
        receiver.write(first.id, 3, b"456")
    receiver.write(second.id, 0, b"abcd")
    done = receiver.finish()
    assert [one.read_bytes() for one in done.sources[0].rglob("*") if one.is_file()] == [b"abcd"]


def test_what_is_larger_than_announced_or_damaged_is_refused(tmp_path):
    receiver = Receiver(tmp_path / "in")
    rows = [{"path": "a.png", "size": 3}, {"path": "b.png", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}, {"path": "c.png", "size": 9}]  # fmt: skip
    large, damaged, cut = receiver.begin(rows)
    with pytest.raises(DatasetError, match="larger than the 3 bytes"):
        receiver.write(large.id, 0, b"abcd")
    with pytest.raises(DatasetError, match="damaged on the way"):
        receiver.write(damaged.id, 0, b"abd")
    receiver.write(cut.id, 0, b"abc")
    with pytest.raises(DatasetError, match="not announced"):
        receiver.write("77", 0, b"x")
    with pytest.raises(DatasetError, match="piece"):
        receiver.write(cut.id, 3, bytes(receiving.LARGEST_CHUNK_BYTES + 1))
    done = receiver.finish()
    assert (done.files, done.sources) == (0, ())
    assert dict(done.refused)["c.png"] == "it did not arrive whole: 3 of 9 bytes"
    assert {name for name, _ in done.refused} == {"a.png", "b.png", "c.png"}


def test_names_that_lead_out_other_kinds_and_too_much_are_refused_with_a_reason(tmp_path):
    limits = unpacking.Limits(entries=3, file_bytes=100, total_bytes=250)
    receiver = Receiver(tmp_path / "in", limits)
    rows = [
        {"path": "../evil.png", "size": 1},
        {"path": "run.exe", "size": 1},
        {"path": "large.png", "size": 101},
        {"path": "a.png", "size": 100},
        {"path": "b.zip", "size": 140},
        {"path": "c.png", "size": 50},
        {"path": "d.png", "size": -1},
        {"path": 7, "size": 1},
        {"path": ".DS_Store", "size": 1},
    ]
    reasons = [one.reason for one in receiver.begin(rows)]
    assert reasons[3:5] == ["", ""]
    assert reasons[0] == unpacking.LEADS_OUT
    assert reasons[1] == "it is neither an image nor a caption"
    assert "larger than" in reasons[2]
    assert "together" in reasons[5]
    assert all(reasons[6:])
    receiver.cancel()
    with pytest.raises(DatasetError, match="not expected any more"):
        receiver.begin(rows)


def test_pieces_of_many_files_come_from_many_threads(tmp_path):
    content = {f"f{n}.png": random.Random(n).randbytes(5000) for n in range(12)}
    receiver = Receiver(tmp_path / "in")
    answers = receiver.begin(announced(**content))
    threads = [threading.Thread(target=sent, args=(receiver, one, content[one.path], 333)) for one in answers * 2]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    done = receiver.finish()
    assert {one.name: one.read_bytes() for one in done.sources[0].iterdir()} == content


def test_a_zip_that_was_sent_is_unpacked(tmp_path):
    receiver = Receiver(tmp_path / "in")
    sent(receiver, receiver.begin(announced(**{"x/set.zip": ZIP}))[0], ZIP, 100)
    importing.add(tmp_path / "d", receiver.finish().sources)
    assert files(tmp_path / "d") == ["a.png", "a.txt"]


def test_what_a_killed_receiver_left_is_removed_but_not_that_of_a_living_one(tmp_path):
    code = f"from trainer_core.curation.receiving import Receiver; import time; from pathlib import Path; Receiver(Path({str(tmp_path)!r})); print('here', flush=True); time.sleep(60)"  # fmt: skip
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert program.stdout.readline() == b"here\n"
    mine = Receiver(tmp_path)
    assert len(list(tmp_path.glob("upload-*"))) == 2
    program.send_signal(signal.SIGKILL)
    program.wait()
    other = Receiver(tmp_path)
    assert len(list(tmp_path.glob("upload-*"))) == 2, "that of this process, which still receives, and the new one"
    mine.cancel()
    other.cancel()
    assert list(tmp_path.glob("upload-*")) == []


def test_files_that_do_not_fit_on_the_disk_are_refused_before_they_come(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(DatasetError, match="shall stay free"):
        Receiver(tmp_path / "in", unpacking.Limits(file_bytes=1 << 60, total_bytes=1 << 60)).begin([{"path": "a.png", "size": free}])  # fmt: skip


NAMES = st.one_of(
    st.text(max_size=10).map(lambda text: f"{text}.png"),
    st.lists(st.sampled_from(["..", ".", "", "a", "A.png", "b.txt"]), max_size=4).map("/".join),
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=12), max_size=6))
def test_no_announced_name_writes_anywhere_else(tmp_path_factory, entries):
    around = tmp_path_factory.mktemp("around")
    receiver = Receiver(around / "in")
    for answer in receiver.begin(announced(**entries)):
        if answer.id:
            sent(receiver, answer, entries[answer.path])
    done = receiver.finish()
    assert [one.name for one in around.iterdir()] == ["in"]
    inside = [one for source in done.sources for one in source.rglob("*") if one.is_file()]
    assert len(inside) == done.files
    receiver.close()
    assert list((around / "in").iterdir()) == []


def test_a_large_file_that_is_no_image_is_refused_with_its_first_piece(tmp_path):
    receiver = Receiver(tmp_path / "in")
    large = unpacking.LARGEST_DOUBTFUL_BYTES + 1
    junk, whole = receiver.begin([{"path": "junk.jpg", "size": large}, {"path": "photo.jpg", "size": large}])
    with pytest.raises(DatasetError, match="does not begin like an image"):
        receiver.write(junk.id, 0, bytes(4096))
    assert receiver.write(whole.id, 0, b"\xff\xd8\xff\xe0" + bytes(4092)) == 4096
    assert ("junk.jpg", "it has 64.0 MiB, and does not begin like an image") in receiver.finish().refused
    receiver.close()
