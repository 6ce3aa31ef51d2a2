"""`easel dataset`: captions are edited, shown, taken back and made again in a terminal."""

import json
import zipfile

import pytest
from click.testing import CliRunner

from tests.support.page import draw_images
from trainer_core.cli import easel


@pytest.fixture
def folder(tmp_path):
    return draw_images(tmp_path / "images", ["a cat, Blurry, tail", "a cat, blurry", "dog, blurry, tail"])


def told(*arguments):
    done = CliRunner().invoke(easel, ["dataset", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output) if "--json" in arguments else done.output


def captions(folder):
    return [path.read_text() for path in sorted(folder.glob("*.txt"))]


def test_an_edit_is_shown_made_taken_back_and_made_again(folder):
    before = captions(folder)
    changes = ("--trigger", "ohwx", "--remove", "blur*", "--replace", "cat", "kitten")
    assert "3 captions would change. Nothing was written." in told("edit", folder, *changes, "--dry-run")
    assert captions(folder) == before
    assert "3 captions changed. `easel dataset undo` takes it back." in told("edit", folder, *changes)
    after = ["ohwx, a kitten, tail", "ohwx, a kitten", "ohwx, dog, tail"]
    assert captions(folder) == after
    title = "Remove blur*; replace cat with kitten; put ohwx first"
    assert told("undo", folder) == f"Undo: {title}: 3 files.\n"
    assert captions(folder) == before
    assert told("redo", folder) == f"Redo: {title}: 3 files.\n"
    assert captions(folder) == after
    edits = told("edits", folder, "--json")
    assert [(one["number"], one["undoes"], one["taken_back"]) for one in edits] == [
        (1, None, False),
        (2, 1, True),
        (3, 2, False),
    ]
    assert title in told("edits", folder)
    assert "No caption changes." in told("edit", folder, *changes)


def test_frequent_tags_are_removed_but_the_trigger_word_is_kept(folder):
    found = told("edit", folder, "--trigger", "a cat", "--remove-frequent", 60, "--json")
    assert captions(folder) == ["a cat", "a cat", "a cat, dog"]
    assert found["edit"] == 1
    assert found["title"] == "Remove blurry, tail; put a cat first"


def test_only_some_images_are_edited_and_missing_captions_written(folder):
    first, second, third = sorted(folder.glob("*.txt"))
    third.unlink()
    assert "No caption changes" in told("edit", folder, "--only", third.stem, "--add", "new")
    told("edit", folder, "--only", third.stem, "--add", "new", "--write-missing")
    assert third.read_text() == "new"
    assert "new" not in first.read_text() + second.read_text()


def test_what_was_changed_outside_is_named(folder):
    told("edit", folder, "--add", "new")
    path = min(folder.glob("*.txt"))
    path.write_text("from outside")
    assert f"{path.name} was left as it is" in told("undo", folder)
    assert path.read_text() == "from outside"


def test_wrong_use_is_a_sentence(folder, tmp_path):
    replaced = ("edit", folder, "--replace", "", "x")
    for arguments in (
        ("edit", folder),
        replaced,
        ("edit", folder, "--trigger", "a, b"),
        ("undo", tmp_path / "none"),
        ("undo", folder, 7),
    ):
        done = CliRunner().invoke(easel, ["dataset", *map(str, arguments)])
        assert done.exit_code != 0
    assert told("undo", folder) == "There is no edit to take back.\n"
    assert told("redo", folder, "--json") is None
    assert told("edits", folder) == "Nothing was edited.\n"


def test_images_are_imported_and_the_import_is_taken_back(folder, tmp_path):
    said = told("import", tmp_path / "new", folder, folder)
    assert said.endswith(f"3 images and 3 captions came into {tmp_path / 'new'}, 3 were there already.\n"), said
    one = next(folder.glob("*.png"))
    assert told("import", tmp_path / "new", one).endswith(", 1 was there already.\n")
    assert told("import", tmp_path / "new", folder, "--json")["edit"] is None
    told("undo", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".easel"]


def test_fixes_are_listed_made_and_taken_back(folder):
    (folder / "empty.png").write_bytes(b"")
    (folder / "image0.txt").write_bytes("ohwx, café".encode("cp1252"))
    listed = told("fix", folder, "--trigger", "ohwx")
    assert "move-out" in listed
    assert "Move out of the dataset. No engine can read it." in " ".join(listed.split())
    assert (folder / "empty.png").exists()
    said = told("fix", folder, "move-out", "utf-8")
    assert said == "Move out of the dataset; Save as UTF-8: 2 files changed. `easel dataset undo` takes it back.\n"
    assert (folder / "image0.txt").read_text() == "ohwx, café"
    assert told("fix", folder, "--json")["offers"] == []
    done = CliRunner().invoke(easel, ["dataset", "fix", str(folder), "move-out"])
    assert done.exit_code == 2
    told("undo", folder)
    assert (folder / "empty.png").exists()


def test_copies_are_moved_out_and_come_back(folder):
    images = sorted(folder.glob("*.png"))
    (folder / "copy.png").write_bytes(images[0].read_bytes())
    (folder / "copy.txt").write_text("")
    before = {path.name for path in folder.iterdir()}
    listed = told("dedupe", folder)
    assert "copy.png" in listed
    assert "the same file" in listed
    assert {path.name for path in folder.iterdir() if path.is_file()} == before
    assert "1 copy was moved out" in told("dedupe", folder, "--move-out")
    assert {path.name for path in folder.iterdir() if path.is_file()} == before - {"copy.png", "copy.txt"}
    assert told("dedupe", folder) == "There are no copies.\n"
    told("undo", folder)
    assert {path.name for path in folder.iterdir() if path.is_file()} == before


def test_figures_of_a_dataset(folder):
    from PIL import Image

    Image.new("RGB", (900, 600), "teal").save(folder / "wide.png")
    (folder / "wide.txt").write_text("sea, tail")
    found = told("stats", folder, "--json")
    assert (found["images"], found["with_caption"]) == (4, 4)
    assert found["megapixels"]["most_image"] == "wide.png"
    assert found["megapixels"]["most"] == pytest.approx(0.54)
    assert ["3:2 landscape", 1] in found["shapes"]
    assert found["tags"][0] in (["blurry", 3], ["tail", 3])
    assert dict(found["tags"])["tail"] == 3
    said = told("stats", folder)
    assert "4 images, 4 with a caption" in said
    assert "75 %" in said


def test_tags_that_always_stand_together_are_named(tmp_path):
    folder = draw_images(tmp_path / "images", [*["ohwx, hat, scarf"] * 4, "ohwx, tree"])
    assert told("stats", folder, "--json")["pairs"] == [["hat", "scarf", 4]]
    assert "hat and scarf stand together in 4 captions" in told("stats", folder)


def test_a_dataset_is_copied_out_without_what_its_images_tell(folder, tmp_path):
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret prompt")
    Image.new("RGB", (8, 8), "teal").save(folder / "made.png", pnginfo=info)
    Image.new("RGB", (8, 8), "teal").save(folder / "old.tif")
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.txt")
    (folder / "made.txt").symlink_to(tmp_path / "secret.txt")
    told("edit", folder, "--only", "image*", "--add", "x")
    said = told("export", folder, tmp_path / "plain")
    assert "made.png: how it was generated" in said
    assert b"secret" in (tmp_path / "plain" / "made.png").read_bytes()
    assert not (tmp_path / "plain" / ".easel").exists()
    assert "link.png was left out: it is a link that leads out of the dataset" in said
    assert not (tmp_path / "plain" / "made.txt").exists()
    said = told("export", folder, tmp_path / "private.zip", "--private")
    assert "old.tif was left out" in said
    with zipfile.ZipFile(tmp_path / "private.zip") as archive:
        assert sorted(archive.namelist()) == sorted(
            [*(f"image{n}.{end}" for n in range(3) for end in ("png", "txt")), "made.png"]
        )
        assert b"secret" not in archive.read("made.png")
    for target in (tmp_path / "plain", folder / "in"):
        done = CliRunner().invoke(easel, ["dataset", "export", str(folder), str(target)])
        assert done.exit_code == 1
    assert not list(tmp_path.glob(".*part"))
