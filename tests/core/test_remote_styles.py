"""The folders of styles, as the document "LoRA Training System" lays them out: on a disk and in a bucket alike."""

import json
import threading

import pytest

from tests.support import buckets
from trainer_core.errors import RemoteError
from trainer_core.remote import styles
from trainer_core.remote.style_stores import BucketStore, LocalStore
from trainer_core.remote.styles import SelectionSet, Styles, Version

FOLDER = "resources/style_images/16_watercolour"
DOCUMENT = {
    "versions": [
        {
            "id": "style_16_1234567890",
            "name": "v1.0",
            "timestamp": "2025-01-15T10:30:00Z",
            "parameters": {
                "network_dim": 16,
                "network_alpha": 16,
                "learning_rate": 0.0001,
                "max_train_steps": 1200,
                "class_tokens": "style_16",
            },
            "status": "completed",
            "loraUrl": "https://s3.amazonaws.com/...",
            "selectionSetId": 1,
            "imageCount": 30,
        }
    ]
}
"""The example of the document, unchanged."""
SETS = {"sets": [{"id": 1, "name": "Set 1", "images": ["image_001.jpg"], "colour": "red"}], "theme": {"a": [1]}}


class OnDisk:
    def __init__(self, root):
        self.root = root

    def store(self):
        return LocalStore(self.root)

    def write(self, path, data):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)

    def read(self, path):
        return (self.root / path).read_bytes()


class InBucket:
    def __init__(self, there):
        self.there = there

    def store(self):
        return BucketStore(self.there.connect(), "app/")

    def write(self, path, data):
        self.there.put(f"app/{path}", data)

    def read(self, path):
        return self.there.get(f"app/{path}")


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if request.param == "disk":
        yield OnDisk(tmp_path / "app")
    else:
        with buckets.place() as there:
            yield InBucket(there)


def version(number, **more):
    named = {"timestamp": "2026-01-01T00:00:00Z", "parameters": {"network_dim": 16}, "status": "pending", **more}
    return Version(id=f"style_16_{number}", name=f"v{number}", **named)


def test_the_example_of_the_document_is_read_and_written_as_it_is(place):
    place.write(f"{FOLDER}/training_versions.json", json.dumps(DOCUMENT).encode())
    found = Styles(place.store()).versions("16")
    assert found[0].as_dict() == DOCUMENT["versions"][0]
    Styles(place.store()).change_version("16", "style_16_1234567890", status="completed")
    assert json.loads(place.read(f"{FOLDER}/training_versions.json")) == DOCUMENT


def test_a_style_without_files_gets_them(place):
    made = Styles(place.store())
    assert made.sets("16") == []
    assert made.add_set("16", "Set 1", ("image_001.jpg",), "Water Colour") == SelectionSet(
        1, "Set 1", ("image_001.jpg",)
    )
    assert made.add_set("16", "Set 2", ()).id == 2
    assert made.add_set("16", "Set 1", ("a.jpg", "b.jpg")).id == 1
    made.add_version("16", version(1, selection_set_id=1, image_count=2))
    assert made.folder("16") == "16_water_colour"
    assert [found.images for found in made.sets("16")] == [("a.jpg", "b.jpg"), ()]
    assert [found.id for found in made.versions("16")] == ["style_16_1"]
    assert made.versions("1") == []


def test_keys_that_easel_does_not_know_are_kept(place):
    place.write(f"{FOLDER}/selection_sets.json", json.dumps(SETS).encode())
    Styles(place.store()).add_set("16", "Set 1", ("b.jpg",))
    Styles(place.store()).add_set("16", "Set 2", ("é.jpg",))
    found = json.loads(place.read(f"{FOLDER}/selection_sets.json"))
    assert found["theme"] == {"a": [1]}
    assert found["sets"][0] == {"id": 1, "name": "Set 1", "images": ["b.jpg"], "colour": "red"}
    assert list(found) == ["sets", "theme"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", 'no list "versions"'),
        (b'{"versions": {}}', 'no list "versions"'),
        (b'{"versions": [1]}', "entry 1 of versions: it is no object"),
        (b'{"versions": [{"id": "a"}]}', "lacks"),
        (b'{"versions": [], "versions": []}', "a key is there twice"),
        (b'{"versions": [], "a": NaN}', "no number"),
        (b'{"versions": [], "a": 1e999}', "no number"),
        (json.dumps({"versions": DOCUMENT["versions"] * 2}).encode(), "is there twice"),
        (json.dumps({"versions": [{**DOCUMENT["versions"][0], "imageCount": "30"}]}).encode(), "imageCount"),
        (json.dumps({"versions": [{**DOCUMENT["versions"][0], "id": 7}]}).encode(), "id"),
    ],
)
def test_a_damaged_file_is_refused_and_not_overwritten(place, data, reason):
    place.write(f"{FOLDER}/training_versions.json", data)
    made = Styles(place.store())
    for act in (lambda: made.versions("16"), lambda: made.add_version("16", version(1))):
        with pytest.raises(RemoteError, match=reason):
            act()
    assert place.read(f"{FOLDER}/training_versions.json") == data


def test_a_state_that_another_program_wrote_is_kept(place):
    row = {**DOCUMENT["versions"][0], "status": "cancelled"}
    place.write(f"{FOLDER}/training_versions.json", json.dumps({"versions": [row]}).encode())
    Styles(place.store()).add_version("16", version(1))
    assert Styles(place.store()).versions("16")[0].status == "cancelled"


def test_a_text_that_is_half_a_character_survives(place):
    place.write(f"{FOLDER}/selection_sets.json", b'{"sets": [], "note": "\\ud800"}')
    Styles(place.store()).add_set("16", "Set 1", ())
    assert json.loads(place.read(f"{FOLDER}/selection_sets.json"))["note"] == "\ud800"


@pytest.mark.parametrize(
    "changes", [{"status": "done"}, {"imageCount": "many"}, {"parameters": {"a": float("nan")}}, {"name": None}]
)
def test_a_value_that_does_not_fit_is_not_written(place, changes):
    made = Styles(place.store())
    made.add_version("16", version(1))
    with pytest.raises(RemoteError, match="cannot be written"):
        made.change_version("16", "style_16_1", **changes)
    assert made.versions("16") == [version(1)]
    with pytest.raises(RemoteError, match="no version"):
        made.change_version("16", "style_16_2", status="failed")
    with pytest.raises(RemoteError, match="another version"):
        made.add_version("16", version(1, status="failed"))


def test_writers_at_the_same_time_lose_nothing(place):
    failures = []

    def write(writer):
        made = Styles(place.store())
        for number in range(4):
            try:
                made.add_version("16", version(f"{writer}{number}"), "same")
                made.change_version("16", f"style_16_{writer}{number}", status="training")
            except RemoteError as error:
                failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert failures == []
    found = {one.id: one.status for one in Styles(place.store()).versions("16")}
    assert found == {f"style_16_{w}{n}": "training" for w in "abc" for n in range(4)}


@pytest.mark.parametrize(
    "style_id", ["", "..", "a/b", "../16", "16_a", "-a", "a\n", "a\x00", "*", "a" * 65, "é", ".", "a."]
)
def test_an_id_that_could_leave_the_folder_is_refused(place, style_id):
    made = Styles(place.store())
    for act in (made.versions, made.sets, lambda each: made.add_version(each, version(1))):
        with pytest.raises(RemoteError, match="cannot be the id of a style"):
            act(style_id)


def test_two_folders_of_one_style_are_named(place):
    for name in ("16_a", "16_b", "160_c"):
        place.write(f"resources/style_images/{name}/selection_sets.json", json.dumps(SETS).encode())
    with pytest.raises(RemoteError, match="16_a, 16_b"):
        Styles(place.store()).sets("16")
    assert len(Styles(place.store()).sets("160")) == 1


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "selection_sets.json").write_text(json.dumps(SETS))
    root = tmp_path / "app"
    (root / "resources/style_images").mkdir(parents=True)
    (root / "resources/style_images/16_a").symlink_to(tmp_path / "outside")
    (root / "resources/style_images/17_a").mkdir()
    (root / "resources/style_images/17_a/selection_sets.json").symlink_to(tmp_path / "outside/selection_sets.json")
    assert Styles(LocalStore(root)).sets("16") == []
    with pytest.raises(RemoteError, match="is a link"):
        Styles(LocalStore(root)).sets("17")


def test_a_storage_that_knows_no_conditions_is_not_used_for_what_others_write():
    with buckets.place() as there:
        there.network.fault(method="PUT", status=501, code="NotImplemented")
        with pytest.raises(RemoteError, match="does not offer"):
            Styles(BucketStore(there.connect())).add_version("16", version(1))
        assert there.keys() == []


def test_a_storage_that_ignores_conditions_is_recognised_before_anything_is_changed():
    with buckets.place() as there:
        there.put(f"{FOLDER}/training_versions.json", json.dumps(DOCUMENT).encode())
        for header in ("if-match", "if-none-match"):
            there.network.ignored = {"connection", "expect", header}
            with pytest.raises(RemoteError, match="ignores the conditions"):
                Styles(BucketStore(there.connect())).add_version("16", version(1))
        assert json.loads(there.get(f"{FOLDER}/training_versions.json")) == DOCUMENT


def test_a_change_whose_answer_was_lost_is_made_once():
    with buckets.place() as there:
        made = Styles(BucketStore(there.connect()))
        there.network.fault(method="PUT", path="versions", lose_answer=True)
        made.add_version("16", version(1))
        there.network.fault(method="PUT", path="versions", lose_answer=True)
        made.add_version("16", version(2))
        assert [each.name for each in made.versions("16")] == ["v1", "v2"]


def test_images_and_captions_of_a_set_are_listed_as_the_document_does():
    found = SelectionSet(1, "Set 1", ("image_001.jpg", "sub.dir/noending", "s3://other-bkt/a.png"))
    assert styles.uris("my-bkt", "16", found) == [
        "s3://my-bkt/styles/16/image_001.jpg",
        "s3://my-bkt/styles/16/image_001.txt",
        "s3://my-bkt/styles/16/sub.dir/noending",
        "s3://my-bkt/styles/16/sub.dir/noending.txt",
        "s3://other-bkt/a.png",
        "s3://other-bkt/a.txt",
    ]
    with pytest.raises(RemoteError, match="as a folder"):
        styles.uris("my-bkt", "16", SelectionSet(1, "", ("../../secret",)))
    with pytest.raises(RemoteError):
        Styles(LocalStore(None)).add_set("16", "Set 1", ("../a",))
