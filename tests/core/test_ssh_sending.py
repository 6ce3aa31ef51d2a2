"""Files that are sent to a machine: only what is missing, continued after a cut, checked, and never outside of Easel's folder there.

A real sshd on loopback answers, with a user of its own (`tests/support/sshd.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from itertools import count

import numpy as np
import pytest
import safetensors.numpy

from tests.support import hub_server, sshd
from trainer_core.errors import JobError
from trainer_core.events import Transfer
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.remote.machines import hub_origin, sending
from trainer_core.remote.machines.answering import MODULE
from trainer_core.remote.machines.known_hashes import KnownHashes
from trainer_core.remote.machines.names import check_name
from trainer_core.remote.machines.store import Store
from trainer_core.remote.runs import transfers
from trainer_core.remote.runs.transfers import Transfers

LIMIT_S = 60


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path, request):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    yield
    if "there" in request.fixturenames:
        wire = request.getfixturevalue("there").wire
        wire.cut_after(None)
        wire.is_silent = False


@pytest.fixture
def store(there):
    return Store(there.home / "easel-home")


@pytest.fixture(scope="module")
def question(there):
    asked = Questions(there.machine(), LIMIT_S, MODULE)
    yield asked.ask
    asked.close()


def files(folder, **contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def sent(there, paths, said=None, **options):
    found = sending.items(paths)
    return sending.send(there.machine(), found.values(), (said if said is not None else []).append, **options)


def test_how_far_it_is_is_told(there, tmp_path, monkeypatch):
    (tmp_path / "remote").mkdir()
    paths, told, clock = files(tmp_path / "a", large=os.urandom(9 << 20), small=b"1" * 4000), [], count()
    monkeypatch.setattr(sending, "SAY_S", 0.0)
    sending.send(
        there.machine(),
        sending.items(paths).values(),
        lambda _: told.append(transfers.read(tmp_path)),
        Transfers(tmp_path, lambda: float(next(clock))),
    )
    last = told[-1]
    assert last.what == f"sending 2 files to {there.machine()}"
    assert last.total_bytes == (9 << 20) + 4000
    assert 0 < last.done_bytes <= last.total_bytes
    assert transfers.read(tmp_path) == Transfer(), "it is over"


def test_only_what_is_missing_is_sent_and_a_second_time_nothing(there, store, tmp_path):
    large, said = os.urandom(9 << 20), []
    paths = files(tmp_path / "a", **{"model.safetensors": large, "empty.txt": b"", "one.png": b"1" * 5000})
    paths += files(tmp_path / "b", **{f"{n}.txt": os.urandom(300) for n in range(700)}, same=b"1" * 5000)
    done = sent(there, paths, said)
    assert (done.sent_bytes, done.files) == ((9 << 20) + 5000 + 700 * 300, 703), "the same content is sent once"
    for path in paths:
        content = path.read_bytes()
        assert (store.folder / hashlib.sha256(content).hexdigest()).read_bytes() == content
    assert "703 files" in said[0]
    before = there.wire.bytes_sent
    again = sent(there, paths)
    assert (again.sent_bytes, again.files, again.there_bytes) == (0, 0, done.sent_bytes)
    # The list of hashes, and a login.
    assert there.wire.bytes_sent - before < 100_000
    assert not list((store.folder / "parts").iterdir())


def test_a_file_that_was_cut_is_continued_where_it_stopped(there, store, tmp_path):
    content = os.urandom(40 << 20)
    paths = files(tmp_path / "a", model=content)
    before = there.wire.bytes_sent
    with there.wire.cut_every(9 << 20) as cuts:
        for _ in range(10):
            with contextlib.suppress(MachineError):
                sent(there, paths)
                break
    assert len(cuts) >= 3
    assert (store.folder / hashlib.sha256(content).hexdigest()).read_bytes() == content
    # Each cut loses the piece that was on its way, which is sent again.
    assert there.wire.bytes_sent - before < len(content) + (len(cuts) + 1) * 2 * sending.PIECE_BYTES


def test_two_senders_of_one_file_do_not_mix_their_pieces(there, store, tmp_path):
    content = os.urandom(24 << 20)
    paths = files(tmp_path / "a", model=content)
    done = []
    threads = [threading.Thread(target=lambda: done.append(sent(there, paths))) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(LIMIT_S)
    assert len(done) == 3
    assert (store.folder / hashlib.sha256(content).hexdigest()).read_bytes() == content


def test_a_disk_that_is_too_small_is_said_with_figures_before_anything_is_sent(there, tmp_path):
    paths = files(tmp_path / "a", model=os.urandom(3 << 20))
    with there.forced(f"EASEL_HOME={there.small}/home; export EASEL_HOME"):
        with pytest.raises(
            JobError, match=r"is too small: 3\.0 MiB must be sent, 512\.0 MiB must stay free"
        ) as refused:
            sent(there, paths)
        assert f"on {there.address}" not in refused.value.message
        assert there.address in refused.value.message
        assert not list((there.small / "home" / "remote-files").glob("*")), "nothing was written"


def test_a_disk_that_becomes_full_is_said_and_what_arrived_is_kept(there, tmp_path):
    # A piece must fit, so that something arrives.
    paths = files(tmp_path / "a", **{str(n): os.urandom(300_000) for n in range(2)}, large=os.urandom(2 << 20))
    with there.forced(f"EASEL_HOME={there.small}/full; export EASEL_HOME"):
        store = Store(there.small / "full")
        with pytest.raises(JobError, match=f"The disk of {there.address} is full") as refused:
            there_says_it_has_space(there, paths)
        assert "not sent again" in refused.value.hint
        whole = [path for path in store.folder.glob("*") if path.is_file()]
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in whole)
        done = sent(there, paths[:2], spare_bytes=0)
        assert done.sent_bytes <= 600_000


def there_says_it_has_space(there, paths):
    """Sends as if the disk had become full after it was checked."""
    found = sending.items(paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "_check_space", lambda *_: None)
        return sending.send(there.machine(), found.values(), lambda _: None)


def test_a_file_that_changes_while_it_is_sent_is_refused(there, store, tmp_path):
    paths = files(tmp_path / "a", model=os.urandom(6 << 20))
    found = sending.items(paths)
    paths[0].write_bytes(os.urandom(6 << 20))
    with pytest.raises(JobError, match="another content than it had"):
        sending.send(there.machine(), found.values(), lambda _: None)
    assert not (store.folder / found[paths[0]].sha256).exists()
    assert not (store.folder / "parts" / found[paths[0]].sha256).exists()
    assert sent(there, paths).sent_bytes == 6 << 20


def test_files_get_their_names_in_a_folder_of_their_own(there, tmp_path):
    paths = files(tmp_path / "a", one=b"1", two=b"2")
    found = sending.items(paths)
    sending.send(there.machine(), found.values(), lambda _: None)
    tree = {"10_cat/d\u00e9j\u00e0 vu.png": found[paths[0]], "10_cat/sub/a b's.txt": found[paths[1]]}
    first, again, empty = sending.arranged(there.machine(), [tree, tree, {}])
    assert first == again
    assert first.startswith(f"{there.home}/easel-home/remote-inputs/")
    read = there.home / first
    assert (read / "10_cat" / "d\u00e9j\u00e0 vu.png").read_bytes() == b"1"
    assert (read / "10_cat" / "sub" / "a b's.txt").read_bytes() == b"2"
    assert not list((there.home / empty).iterdir())


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "..", "a/../../b", "a//b", "./a", "a/", "a\0b", "a\nb", "x" * 300, "a/" * 40 + "b", 7, None],
)
def test_a_name_that_leads_out_of_its_folder_is_refused_on_both_sides(question, name):
    with pytest.raises(JobError, match="cannot be used"):
        check_name(name)
    if isinstance(name, str):
        with pytest.raises(JobError, match="cannot be used"):
            question({"do": "arrange"}, json.dumps({name: "0" * 64}).encode())


@pytest.mark.parametrize(
    ("about", "body", "said"),
    [
        ({"do": "piece", "sha256": "../../../evil", "size": 1, "offset": 0}, b"x", "is no SHA-256"),
        ({"do": "piece", "sha256": "0" * 64, "size": -1, "offset": 0}, b"x", "no number of bytes"),
        ({"do": "piece", "sha256": "0" * 64, "size": 1, "offset": True}, b"x", "no number of bytes"),
        ({"do": "pieces", "files": [["/etc/x", 1]]}, b"x", "is no SHA-256"),
        ({"do": "pieces", "files": [["0" * 64, 5]]}, b"x", "another length"),
        ({"do": "there"}, b"[]", "no table"),
        ({"do": "there"}, b"{", "cannot do this"),
        ({"do": "arrange"}, json.dumps({"a": "1" * 64}).encode(), "has not arrived"),
        ({"do": "job", "job": "../x", "offset": 0}, b"", "is not the id"),
        ({"do": "run seen", "id": "../../x-00000000"}, b"", "is not the id"),
        ({"do": "run files", "id": "none-00000000"}, b"", "no run with the id"),
        ({"do": "run file", "id": "none-00000000", "name": "../spec.json", "offset": 0}, b"", "cannot be used"),
        ({"do": "run read", "id": "none-00000000", "name": "../../x", "offset": 0}, b"", "no file of a run"),
        ({"do": "run begin"}, b"{}", "lacks"),
        ({"do": "run stop", "id": "none-00000000", "after": "never"}, b"", "no such stop"),
        ({"do": "run done", "id": "none-00000000", "words": ["touch", "x"]}, b"", "no run with the id"),
        ({"do": "engine", "engine": "../x"}, b"", "no training engine"),
        ({"do": "eval"}, b"", "there is no question"),
        ({}, b"", "there is no question"),
    ],
)
def test_a_message_that_makes_no_sense_is_refused_with_a_sentence(question, there, about, body, said):
    before = set(there.home.rglob("*"))
    with pytest.raises(JobError, match=said):
        question(about, body)
    after = {path for path in set(there.home.rglob("*")) - before if "__pycache__" not in path.parts}
    assert all(path.is_relative_to(there.home / "easel-home") for path in after)
    assert question({"do": "there"}, b"{}")[1] == b"{}", "the next question is answered"


def test_the_hash_of_a_large_file_is_known_until_the_file_changes(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(os.urandom(2 << 20))
    known = KnownHashes()
    first = known.of(path)
    known.keep()
    assert KnownHashes().of(path) == first == (hashlib.sha256(path.read_bytes()).hexdigest(), 2 << 20)
    started = time.monotonic()
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    assert KnownHashes().of(path)[0] == hashlib.sha256(content).hexdigest()
    assert time.monotonic() - started < LIMIT_S
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(JobError, match="cannot be read"):
        sending.items([fifo])


def test_a_store_on_a_disk_without_hard_links_gives_links(tmp_path, monkeypatch):
    store, content = Store(tmp_path), b"abc"
    sha256 = hashlib.sha256(content).hexdigest()
    assert store.there({sha256: 3}) == {sha256: 0}
    assert store.add(sha256, 3, 0, b"ab") == 2
    assert store.there({sha256: 3}) == {sha256: 2}
    assert store.add(sha256, 3, 0, b"ab") == 2, "a piece that was there before is left out"
    assert store.add(sha256, 3, 2, b"c") == 3

    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    made = store.arrange({"a/b": sha256})
    assert (made / "a" / "b").is_symlink()
    assert (made / "a" / "b").read_bytes() == content


def test_a_machine_downloads_itself_what_the_hub_has_and_gets_the_rest_from_here(there, store, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_origin, "LEAST_BYTES", 1000)
    commit, found = "0123456789abcdef0123456789abcdef01234567", {}
    cache = tmp_path / "hub" / "models--me--mine"
    (cache / "blobs").mkdir(parents=True)
    for name, seed in (("unet/model.safetensors", 1), ("gone.safetensors", 2)):
        content = safetensors.numpy.save({"a": np.random.default_rng(seed).standard_normal(5000)})
        sha256 = hashlib.sha256(content).hexdigest()
        (cache / "blobs" / sha256).write_bytes(content)
        link = cache / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / "blobs" / sha256)
        found[link] = (name, sha256, content)
    kept = next(iter(found.values()))
    siblings = [
        {"rfilename": kept[0], "size": len(kept[2]), "lfs": {"sha256": kept[1], "size": len(kept[2]), "pointerSize": 1}}
    ]
    files = {
        f"/api/models/me/mine/revision/{commit}?blobs=true": json.dumps(
            {"id": "me/mine", "sha": commit, "siblings": siblings}
        ).encode(),
        f"/me/mine/resolve/{commit}/{kept[0]}": kept[2],
    }
    asked, said = [], []
    with hub_server.serving(files, asked) as address, there.forced(f"HF_ENDPOINT={address}; export HF_ENDPOINT"):
        done = sent(there, list(found), said)
    assert done.files == 1, (said, [path for path, _ in asked])
    assert done.sent_bytes == len(list(found.values())[1][2])
    for _, sha256, content in found.values():
        assert (store.folder / sha256).read_bytes() == content
    assert any("downloads unet/model.safetensors" in line for line in said)
    assert any("It cannot, so the file is sent from here." in line for line in said)
    assert not list((store.folder / "hub").glob("*/*.part"))
