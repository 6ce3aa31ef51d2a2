"""The user's files: which folders they may be in, and that nothing is lost when they are listed, moved, deleted and restored."""

import contextlib
import json
import os
import subprocess
import threading
import zipfile
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import recorded_headers
from trainer_core import places
from trainer_core.curation import known
from trainer_core.errors import EaselError, FilesError, FilesStopped
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.spec import Spec, Step
from trainer_core.keeping import (
    bounds,
    bringing,
    carrying,
    listing,
    moving,
    recognising,
    trash,
    unpacking,
    uses,
    zipping,
)
from trainer_core.keeping.bounds import Spot
from trainer_core.keeping.carrying import Going

WILD = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["..", ".", "", "a", "b", "/", "\\", "~", "\0", "out", "%2e%2e", "a/../..", ".easel"]),
        max_size=8,
    ).map("/".join),
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    for name in ("models/loras", "outputs", "datasets/elena", "runs"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.txt").write_text("secret")
    return tmp_path / "home"


def put(home, name, content=b"weights"):
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return bounds.named(name)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


@given(text=WILD, name=WILD)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_leads_out_of_the_roots(home, tmp_path, text, name):
    link = home / "models" / "out"
    if not link.is_symlink():
        link.symlink_to(tmp_path / "secret")
    before = {path: path.read_bytes() for path in (tmp_path / "secret").iterdir()}
    for make in (
        lambda: bounds.spot("models", text),
        lambda: bounds.named(text),
        lambda: bounds.named(f"models/{text}"),
    ):
        try:
            spot = make()
        except EaselError:
            continue
        real = os.path.realpath(spot.path.parent if spot.parts else spot.path)
        assert any(
            real == os.path.realpath(root.path) or real.startswith(os.path.realpath(root.path) + os.sep)
            for root in bounds.roots()
        )
        assert not any(part in ("..", ".", "") or part.startswith(".") for part in spot.parts)
    for act in (
        lambda: moving.new_folder(bounds.spot("models"), name),
        lambda: moving.new_folder(Spot(bounds.root("models"), ("out",)), name),
        lambda: moving.new_folder(Spot(bounds.root("models"), (text, name)), name),
        lambda: listing.look(Spot(bounds.root("models"), (text,))),
        lambda: trash.delete(Spot(bounds.root("models"), ("out", "key.txt"))),
        lambda: trash.delete(Spot(bounds.root("models"), (text, name))),
    ):
        with contextlib.suppress(EaselError):
            act()
    assert {path: path.read_bytes() for path in (tmp_path / "secret").iterdir()} == before


def test_a_link_out_of_the_folder_is_shown_and_deleted_as_a_link_and_never_followed(home, tmp_path):
    (home / "models" / "out").symlink_to(tmp_path / "secret")
    (home / "models" / "gone").symlink_to(tmp_path / "nowhere")
    entries = {one.name: one for one in listing.look(bounds.spot("models")).entries}
    assert entries["out"].link == "outside"
    assert entries["gone"].link == "broken"
    with pytest.raises(FilesError, match="leads out"):
        listing.look(bounds.spot("models", "out"))
    with pytest.raises(FilesError):
        bounds.spot("models", "out/key.txt")
    with pytest.raises(FilesError, match="leads out"):
        zipping.plan([bounds.spot("models", "out")])
    trash.delete(bounds.spot("models", "out"))
    assert (tmp_path / "secret" / "key.txt").read_text() == "secret"
    trash.empty(trash.listed())
    assert (tmp_path / "secret" / "key.txt").read_text() == "secret"


def test_a_folder_is_listed_in_any_order_and_ten_thousand_names_are_quick(home):
    for number in range(10_000):
        (home / "datasets" / "elena" / f"{number:05}.png").touch()
    (home / "datasets" / "elena" / "big.safetensors").write_bytes(bytes(5000))
    (home / "datasets" / "elena" / "sub").mkdir()
    (home / "datasets" / "elena" / ".hidden").touch()
    found = listing.look(bounds.named("datasets/elena"))
    assert len(found.entries) == 10_002
    assert found.entries[0].name == "sub", "folders come first"
    by_size = listing.ordered(found.entries, "size", descending=True)
    assert [one.name for one in by_size[:2]] == ["sub", "big.safetensors"]
    assert [one.name for one in listing.ordered(found.entries, find="BIG")] == ["big.safetensors"]
    assert listing.measure(bounds.named("datasets/elena")).size_bytes == 5000


def test_nothing_is_replaced_by_a_rename_or_a_move(home):
    one, other = put(home, "models/a.safetensors", b"one"), put(home, "models/loras/a.safetensors", b"other")
    with pytest.raises(FilesError, match="already"):
        moving.move([one], bounds.spot("models", "loras"))
    moved = moving.move([one], bounds.spot("models", "loras"), keeps_both=True)
    assert [each.text for each in moved] == ["models/loras/a-2.safetensors"]
    with pytest.raises(FilesError, match="already"):
        moving.rename(other, "a-2")
    assert moving.rename(other, "elena").text == "models/loras/elena.safetensors"
    assert contents(home / "models") == {"loras/a-2.safetensors": b"one", "loras/elena.safetensors": b"other"}
    with pytest.raises(FilesError, match="Use for example"):
        moving.rename(moved[0], "../../x")
    with pytest.raises(FilesError, match="itself"):
        moving.move([bounds.spot("models", "loras")], moving.new_folder(bounds.spot("models", "loras"), "inner"))


def test_a_move_to_another_disk_copies_compares_and_then_removes(home, monkeypatch):
    spot = put(home, "datasets/elena/a.png", bytes(range(256)) * 40_000)
    put(home, "datasets/elena/sub/b.txt", b"caption")
    real = carrying.put

    def on_another_disk(source, target):
        if source.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(carrying, "put", on_another_disk)
    before = contents(home / "datasets" / "elena")
    seen = []
    moving.move([spot.parent], bounds.spot("outputs"), Going(tell=lambda done, total: seen.append((done, total))))
    assert contents(home / "outputs" / "elena") == before
    assert not (home / "datasets" / "elena").exists()
    assert seen[-1] == (sum(map(len, before.values())),) * 2

    stop = threading.Event()
    with pytest.raises(FilesStopped):
        moving.move([bounds.named("outputs/elena")], bounds.spot("datasets"), Going(lambda *_: stop.set(), stop))
    assert contents(home / "outputs" / "elena") == before
    assert list((home / "datasets").iterdir()) == [], "nothing is left of the copy"


def test_a_deletion_comes_back_under_its_name_or_a_free_one(home):
    spot = put(home, "models/loras/a.safetensors", b"first")
    trash.delete(spot)
    put(home, "models/loras/a.safetensors", b"second")
    trash.delete(spot)
    assert [one.size_bytes for one in trash.listed()] == [6, 5]
    assert [one.name for one in trash.listed()] == ["a.safetensors"] * 2
    assert not list(places.deleted_files().rglob("*.safetensors")), "other programs would offer it as a model"
    assert trash.restore(trash.find("a.safetensors")).text == "models/loras/a.safetensors"
    assert trash.restore(trash.find("a.safetensors")).text == "models/loras/a-2.safetensors"
    assert contents(home / "models") == {"loras/a.safetensors": b"second", "loras/a-2.safetensors": b"first"}
    assert trash.listed() == []
    with pytest.raises(FilesError, match="is in the trash"):
        trash.find("a.safetensors")


def test_a_folder_comes_back_where_it_was_also_if_its_folder_is_gone(home):
    put(home, "datasets/elena/sub/b.txt", b"caption")
    trash.delete(bounds.named("datasets/elena/sub"))
    (home / "datasets" / "elena").rmdir()
    assert trash.restore(trash.listed()[0]).text == "datasets/elena/sub"
    assert contents(home / "datasets") == {"elena/sub/b.txt": b"caption"}


def test_a_forged_record_of_the_trash_restores_nothing_outside(home, tmp_path):
    folder = places.deleted_files() / "20260101-000000-aaaaaa"
    folder.mkdir(parents=True)
    (folder / "kept").write_text("x")
    row = {"root": "models", "deleted": 1.0, "bytes": 1, "folder": False}
    for parts in (["..", "..", "evil"], [".hidden"], ["a/../../../evil"], "evil", [], None):
        (folder / "deleted.json").write_text(json.dumps(row | {"parts": parts}))
        for one in trash.listed():
            assert trash.restore(one).path.is_relative_to(home / "models")
            (folder).mkdir(exist_ok=True)
            (folder / "kept").write_text("x")
    assert not (tmp_path / "evil").exists()


def test_a_run_that_is_in_progress_keeps_its_model_and_an_ended_one_is_named(home):
    spot = put(home, "models/base.safetensors")
    folder = JobFolder.create(places.runs(), "elena")
    (folder.path / "plan.toml").write_text(f'[model]\npath = "{spot.path}"\n')
    folder.write_spec(Spec("commands", (Step("train", ("sleep", "60")),), folder.path))
    job = Job(folder)
    job.launch()
    for act in (
        lambda: trash.delete(spot),
        lambda: moving.rename(spot, "other"),
        lambda: moving.move([spot], bounds.spot("outputs")),
        lambda: trash.delete(bounds.named(f"runs/{folder.path.name}")),
    ):
        with pytest.raises(FilesError, match=r"in progress|runs"):
            act()
    assert spot.path.exists()
    job.stop(grace_s=1)
    assert "was trained with base.safetensors" in uses.told(uses.check(spot))
    assert uses.of(put(home, "models/other.safetensors")) == ()
    assert moving.rename(spot, "new").path.exists()


def test_a_dataset_that_was_opened_is_named_and_found_again_after_its_move(home):
    put(home, "datasets/elena/a.png")
    known.remember(home / "datasets" / "elena")
    spot = bounds.named("datasets/elena")
    assert "opened lately" in uses.told(uses.of(spot))
    moving.rename(spot, "elena two")
    assert known.recent()[0] == home / "datasets" / "elena two"


def test_the_files_of_a_run_are_not_changed_one_by_one(home):
    put(home, "runs/one/plan.toml")
    with pytest.raises(FilesError, match="belong together"):
        trash.delete(bounds.named("runs/one/plan.toml"))
    with pytest.raises(FilesError, match="belong together"):
        moving.rename(bounds.named("runs/one"), "two")
    with pytest.raises(FilesError, match="belong together"):
        moving.new_folder(bounds.spot("runs"), "two")


def test_a_zip_is_streamed_and_holds_every_file_but_links_and_hidden_ones(home, tmp_path):
    put(home, "datasets/elena/a.png", bytes(3_000_000))
    put(home, "datasets/elena/sub/b.txt", b"caption")
    (home / "datasets" / "elena" / ".easel").mkdir()
    (home / "datasets" / "elena" / ".easel" / "journal").write_bytes(b"own")
    (home / "datasets" / "elena" / "out").symlink_to(tmp_path / "secret" / "key.txt")
    (tmp_path / "model").mkdir()
    (home / "datasets" / "elena" / "linked").symlink_to(tmp_path / "model")
    what = zipping.plan([bounds.named("datasets/elena")])
    assert listing.measure(bounds.named("datasets/elena")).left_out == 3
    blocks = list(zipping.stream(what))
    assert len(blocks) > 3
    with zipfile.ZipFile(BytesIO(b"".join(blocks))) as packed:
        assert packed.testzip() is None
        assert sorted(packed.namelist()) == ["elena/a.png", "elena/sub/b.txt"]
        assert packed.read("elena/a.png") == bytes(3_000_000)
    assert what.left_out == 2
    assert (what.name, what.size_bytes) == ("elena.zip", 3_000_007)
    made = zipping.write(what, bounds.spot("outputs"))
    assert zipfile.ZipFile(made.path).testzip() is None
    assert zipping.write(what, bounds.spot("outputs")).name == "elena-2.zip"


def zipped(home, *entries, name="datasets/set.zip"):
    path = home / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry, data in entries:
            packed.writestr(entry, data)
    return bounds.named(name)


def test_a_zip_from_anybody_is_unpacked_into_a_folder_of_its_own(home, tmp_path):
    link = zipfile.ZipInfo("set/link")
    link.external_attr = 0o120777 << 16
    spot = zipped(
        home,
        ("set/a.png", b"a"),
        ("set/../../../evil", b"x"),
        ("/abs", b"x"),
        ("set/A.png", b"A"),
        (link, "/etc/passwd"),
        ("set/.ssh/key", b"k"),
    )
    made = unpacking.unpack(spot)
    assert made.spot.text == "datasets/set"
    assert sorted(contents(made.spot.path).values()) == [b"A", b"a"]
    assert dict(made.left_out) == {
        "set/../../../evil": "its name leads out of the folder",
        "/abs": "its name leads out of the folder",
        "set/link": "it is a link",
        "set/.ssh/key": "it is in a hidden folder, whose name begins with a dot",
    }
    assert "4 were left out" in made.told
    assert "set/link: it is a link." in made.notes
    assert dict(made.renamed)["set/A.png"] == "Another file has this name, so it is called A-2.png."
    assert not (tmp_path / "evil").exists()
    assert unpacking.unpack(spot).spot.text == "datasets/set-2"


def test_a_zip_that_would_fill_the_disk_leaves_nothing(home):
    spot = zipped(home, ("bomb", bytes(40_000_000)))
    with pytest.raises(FilesError, match="fill a disk"):
        unpacking.unpack(spot)
    damaged = put(home, "datasets/half.zip", spot.path.read_bytes()[:-30])
    with pytest.raises(FilesError):
        unpacking.unpack(damaged)
    assert sorted(path.name for path in (home / "datasets").iterdir()) == ["elena", "half.zip", "set.zip"]


def test_a_model_is_recognised_and_its_folder_is_proposed_and_nothing_moves(home):
    recorded_headers.write("sd15", home / "outputs")
    file = next((home / "outputs").glob("*.safetensors"))
    found = recognising.recognise(bounds.named(str(file)))
    assert found is not None
    assert found.belongs is not None
    assert found.belongs.text == "models/checkpoints"
    assert file.exists()
    assert recognising.recognise(put(home, "models/text.safetensors", b"no model")) is None


def test_what_is_brought_in_is_copied_once_and_a_replaced_file_is_in_the_trash(home, tmp_path):
    source = tmp_path / "a.bin"
    source.write_bytes(b"one")
    where = bounds.spot("datasets")
    first = bringing.bring([str(source)], where)[0]
    assert first.spot.path.read_bytes() == b"one"
    assert bringing.bring([str(source)], where)[0].is_same
    source.write_bytes(b"two")
    assert bringing.bring([str(source)], where)[0].spot.name == "a-2.bin"
    assert bringing.bring([str(source)], where, choice="replace")[0].spot.name == "a.bin"
    assert first.spot.path.read_bytes() == b"two"
    assert trash.restore(trash.listed()[0]).path.read_bytes() == b"one"
    assert source.read_bytes() == b"two"


def test_a_full_disk_is_said_before_anything_is_written(home, monkeypatch):
    monkeypatch.setattr(carrying, "LEFT_FREE_BYTES", 1 << 60)
    spot = put(home, "outputs/a.bin")
    with pytest.raises(FilesError, match="are free in"):
        zipping.write(zipping.plan([spot]), bounds.spot("outputs"))
    assert sorted(path.name for path in (home / "outputs").iterdir()) == ["a.bin"]


def test_what_a_killed_process_has_left_is_removed_and_a_running_one_keeps_its_part(home):
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = home / "outputs"
    left, mine, young = (
        folder / f".easel-{number}-{age}0000000.part"
        for number, age in ((ended.pid, 1), (os.getpid(), 2), (ended.pid, 3))
    )
    for path in (left, mine, young):
        path.write_bytes(b"part")
        os.utime(path, (0, 0))
    os.utime(young)
    zipping.write(zipping.plan([put(home, "outputs/a.bin")]), bounds.spot("outputs"))
    assert not left.exists()
    assert mine.exists()
    assert young.exists()
    assert not [path for path in folder.iterdir() if path.name.endswith(".part") and path not in (mine, young)]


def test_the_size_of_a_folder_says_what_a_zip_of_it_contains_and_what_that_leaves_out(home):
    for name, size in (("a.png", 10), ("inner/b.png", 20), (".part", 300), ("inner/.more", 40), (".hidden/c.png", 5)):
        put(home, f"datasets/elena/{name}", bytes(size)) if "/." not in f"/{name}" else _hidden(home, name, size)
    (home / "datasets" / "elena" / "link.png").symlink_to(home / "datasets" / "elena" / "a.png")
    spot = bounds.named("datasets/elena")
    size, plan = listing.measure(spot), zipping.plan([spot])
    assert (size.sent.size_bytes, size.sent.files) == (plan.size_bytes, len(plan.files)) == (30, 2)
    assert (size.left_out, size.left_out_bytes) == (4, 345)
    both = size + size
    assert (both.files, both.sent.size_bytes, both.left_out) == (12, 60, 8)


def _hidden(home, name, size):
    path = home / "datasets" / "elena" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
