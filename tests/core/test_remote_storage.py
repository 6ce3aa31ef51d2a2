"""Files go to a bucket and come back whole, over a network that is not always good. The bucket is moto's, over real HTTP."""

import hashlib
import os
import threading

import httpx2
import pytest

from tests.support import buckets
from trainer_core.errors import RemoteError, RemoteStopped
from trainer_core.remote import credentials
from trainer_core.remote.storage import download, items, link, look, upload

LARGE = 3 * buckets.PIECE + 1000
"""Four pieces."""
THIRD = f"bytes={2 * buckets.PIECE}-"
"""The begin of the third one."""


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(credentials, "_given", {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def there():
    with buckets.place() as made:
        yield made


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "model.safetensors"
    path.write_bytes(os.urandom(LARGE))
    return path


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_small_file_goes_up_with_its_hash_and_comes_back(there, tmp_path):
    source = tmp_path / "a b+é.txt"
    source.write_text("a caption, style_16")
    sent = upload(there.connect(), source, "styles/16/a b+é.txt")
    assert sent.uri == f"s3://{there.name}/styles/16/a b+é.txt"
    found = look(there.connect(), "styles/16/a b+é.txt")
    assert (found.proof.kind, found.proof.value) == ("sha256", sha(source))
    got = download(there.connect(), "styles/16/a b+é.txt", tmp_path / "new" / "back.txt")
    assert got.path.read_bytes() == source.read_bytes()
    assert got.proof.words == "checked by SHA-256"
    assert [each.name for each in got.path.parent.iterdir()] == ["back.txt"]


def test_an_empty_file_goes_up_and_comes_back(there, tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    upload(there.connect(), tmp_path / "empty.txt", "empty.txt")
    assert download(there.connect(), "empty.txt", tmp_path / "back.txt").path.read_bytes() == b""


def test_a_large_file_goes_up_and_comes_back_in_pieces(there, large, tmp_path):
    told = []
    sent = upload(there.connect(tell=told.append), large, "model.safetensors")
    assert sent.sha256 == sha(large)
    assert told[-1].done_bytes == told[-1].total_bytes == LARGE
    assert len(there.network.of("PUT", "partNumber")) == 4
    told.clear()
    got = download(there.connect(tell=told.append), "model.safetensors", tmp_path / "back.safetensors")
    assert sha(got.path) == sha(large)
    assert told[-1].done_bytes == LARGE
    pieces = there.network.of("GET")
    assert len(pieces) == 4
    etag = look(there.connect(), "model.safetensors").etag
    assert all(each.headers["If-Match"] == etag for each in pieces)


def test_what_is_there_already_is_not_sent_again(there, large, tmp_path):
    for path in (large, tmp_path / "small.txt"):
        if not path.exists():
            path.write_text("small")
        upload(there.connect(), path, path.name)
        there.network.seen.clear()
        assert upload(there.connect(), path, path.name).was_there
        assert not there.network.of("PUT")
        download(there.connect(), path.name, tmp_path / f"back-{path.name}")
        there.network.seen.clear()
        assert download(there.connect(), path.name, tmp_path / f"back-{path.name}").was_there
        assert not there.network.of("GET")


def test_another_object_or_file_is_replaced_only_if_that_is_wanted(there, tmp_path):
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("new")
    target.write_text("mine")
    there.put("a.txt", b"old")
    with pytest.raises(RemoteError, match="another object") as found:
        upload(there.connect(), source, "a.txt")
    assert found.value.kind == "taken"
    assert there.get("a.txt") == b"old"
    with pytest.raises(RemoteError, match="another content"):
        download(there.connect(), "a.txt", target)
    assert target.read_text() == "mine"
    upload(there.connect(), source, "a.txt", replaces=True)
    download(there.connect(), "a.txt", target, replaces=True)
    assert target.read_text() == "new"


def test_an_object_that_appears_between_look_and_upload_is_not_replaced(there, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("mine")
    there.network.fault(method="PUT", before=lambda: there.put("a.txt", b"theirs"))
    with pytest.raises(RemoteError, match="another object"):
        upload(there.connect(), source, "a.txt")
    assert there.get("a.txt") == b"theirs"


def test_a_large_object_that_appears_during_the_upload_is_not_replaced(there, large):
    there.network.fault(method="POST", path="uploadId", before=lambda: there.put("m", b"theirs"))
    with pytest.raises(RemoteError, match="another object"):
        upload(there.connect(), large, "m")
    assert there.get("m") == b"theirs"
    assert not there.plain.list_multipart_uploads(Bucket=there.name).get("Uploads")


def test_an_upload_whose_answer_was_lost_is_recognised(there, large, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    there.network.fault(method="PUT", path="a.txt", lose_answer=True)
    there.network.fault(method="POST", path="uploadId", lose_answer=True)
    assert not upload(there.connect(), tmp_path / "a.txt", "a.txt").was_there
    assert upload(there.connect(), large, "m").size_bytes == LARGE
    assert there.get("a.txt") == b"mine"


def test_a_stopped_upload_goes_on_with_the_pieces_that_have_arrived(there, large):
    cancel = threading.Event()
    there.network.fault(method="PUT", path="partNumber=3", before=cancel.set)
    with pytest.raises(RemoteStopped):
        upload(there.connect(cancel=cancel), large, "m")
    assert not there.keys()
    arrived = len(there.network.of("PUT", "partNumber"))
    there.network.seen.clear()
    upload(there.connect(), large, "m")
    again = len(there.network.of("PUT", "partNumber"))
    assert again < 4
    assert arrived + again >= 4
    assert there.plain.get_object(Bucket=there.name, Key="m")["Metadata"]["sha256"] == sha(large)
    assert hashlib.sha256(there.get("m")).hexdigest() == sha(large)


def test_pieces_of_another_version_of_the_file_are_not_used(there, tmp_path):
    path, cancel = tmp_path / "m", threading.Event()
    path.write_bytes(b"a" * LARGE)
    there.network.fault(method="PUT", path="partNumber=4", before=cancel.set)
    with pytest.raises(RemoteStopped):
        upload(there.connect(cancel=cancel), path, "m")
    path.write_bytes(b"b" * LARGE)
    upload(there.connect(), path, "m")
    assert there.get("m") == b"b" * LARGE


def test_a_file_that_is_changed_while_it_is_uploaded_is_not_stored(there, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"a" * LARGE)

    def change():
        with path.open("r+b") as file:
            file.write(b"b")

    there.network.fault(method="PUT", path="partNumber", before=change)
    with pytest.raises(RemoteError, match="file was changed"):
        upload(there.connect(), path, "m")
    assert not there.keys()
    assert not there.plain.list_multipart_uploads(Bucket=there.name).get("Uploads")


def test_an_upload_survives_cuts_refusals_and_pauses(there, large):
    there.network.fault(method="PUT", path="partNumber=1", cut_request=True)
    there.network.fault(method="PUT", path="partNumber=2", status=503, code="SlowDown")
    there.network.fault(method="PUT", path="partNumber=3", lose_answer=True)
    there.network.fault(method="PUT", path="partNumber=4", status=500, code="InternalError")
    upload(there.connect(), large, "m")
    assert hashlib.sha256(there.get("m")).hexdigest() == sha(large)


def test_a_download_that_is_cut_asks_only_for_what_is_missing(there, large, tmp_path):
    upload(there.connect(), large, "m")
    there.network.seen.clear()
    there.network.fault(method="GET", cut_answer=100_000)
    download(there.connect(), "m", tmp_path / "back")
    assert sha(tmp_path / "back") == sha(large)
    asked = [each.headers["Range"].removeprefix("bytes=").split("-") for each in there.network.of("GET")]
    assert len(asked) == 5
    spans = sorted((int(begin), int(end) + 1) for begin, end in asked)
    assert sum(end - begin for begin, end in spans) < LARGE + buckets.PIECE


def test_a_stopped_download_goes_on_where_it_stopped(there, large, tmp_path):
    upload(there.connect(), large, "m")
    there.network.seen.clear()
    there.network.fault(method="GET", span=THIRD, times=9, status=403, code="AccessDenied")
    with pytest.raises(RemoteError):
        download(there.connect(), "m", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    there.network.faults.clear()
    there.network.seen.clear()
    download(there.connect(), "m", tmp_path / "back")
    assert sha(tmp_path / "back") == sha(large)
    assert len(there.network.of("GET")) == 2


def test_the_part_of_another_version_of_the_object_is_not_used(there, tmp_path):
    there.put_in_pieces("m", b"a" * LARGE)
    there.network.fault(method="GET", span=THIRD, times=9, status=403, code="AccessDenied")
    with pytest.raises(RemoteError):
        download(there.connect(), "m", tmp_path / "back")
    there.network.faults.clear()
    there.put_in_pieces("m", b"b" * LARGE)
    download(there.connect(), "m", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"b" * LARGE


def test_an_object_that_is_changed_while_it_is_downloaded_is_noticed(there, tmp_path):
    there.put("m", b"a" * LARGE)
    there.network.fault(method="GET", span=THIRD, before=lambda: there.put("m", b"b" * LARGE))
    with pytest.raises(RemoteError, match="was changed while it was downloaded") as found:
        download(there.connect(), "m", tmp_path / "back")
    assert found.value.kind == "changed"
    assert not (tmp_path / "back").exists()
    download(there.connect(), "m", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"b" * LARGE


@pytest.mark.parametrize("more", [{"Metadata": {"sha256": hashlib.sha256(b"right").hexdigest()}}, {}])
def test_what_arrives_damaged_never_gets_its_name(there, tmp_path, more):
    there.put("a", b"right", **more)
    there.network.fault(method="GET", flip=True)
    with pytest.raises(RemoteError, match="What arrived is not"):
        download(there.connect(), "a", tmp_path / "back")
    assert list(tmp_path.iterdir()) == []
    download(there.connect(), "a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"right"


def test_a_part_that_was_damaged_on_this_disk_is_fetched_again(there, large, tmp_path):
    upload(there.connect(), large, "m")
    there.network.fault(method="GET", span=THIRD, times=9, status=403, code="AccessDenied")
    with pytest.raises(RemoteError):
        download(there.connect(), "m", tmp_path / "back")
    there.network.faults.clear()
    part = next(tmp_path.glob(".back.*.part"))
    with part.open("r+b") as file:
        file.write(b"damaged")
    download(there.connect(), "m", tmp_path / "back")
    assert sha(tmp_path / "back") == sha(large)


def test_what_an_object_without_a_hash_can_prove_is_said(there, tmp_path):
    there.put("one", b"data")
    there.put_in_pieces("two", b"data")
    assert "MD5" in download(there.connect(), "one", tmp_path / "one").proof.words
    assert "only its size" in download(there.connect(), "two", tmp_path / "two").proof.words


def test_a_list_has_every_page(there):
    for number in range(7):
        there.put(f"a/{number}", b"x" * number)
    there.put("b", b"")
    bucket = there.connect()
    bucket.client.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=2)
    )
    assert [(each.key, each.size_bytes) for each in items(bucket, "a/")] == [(f"a/{n}", n) for n in range(7)]
    assert len(there.network.of("GET", "list-type=2")) == 4


def test_a_link_works_without_a_key_and_says_how_long_it_can_be_valid(there):
    there.put("a b.txt", b"data")
    address = link(there.connect(), "a b.txt", 60)
    assert httpx2.get(address).content == b"data"
    assert "X-Amz-Expires=60" in address
    assert buckets.KEYS["AWS_SECRET_ACCESS_KEY"] not in address
    with pytest.raises(RemoteError, match="7 days"):
        link(there.connect(), "a b.txt", 8 * 24 * 3600)
