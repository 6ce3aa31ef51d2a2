"""Masks, regularisation images and others that are no images to learn are never trained, and always named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scanned import KOHYA, SIMPLETUNER, dataset, draw, gray, named, problem_of
from trainer_core.datasets import defects, folders
from trainer_core.datasets.rules import DatasetRules
from trainer_core.datasets.scan import scan
from trainer_core.problems import Fix, blocking

pytestmark = pytest.mark.filterwarnings("error")


class TestWhatIsNotAnImageToLearn:
    """Source of what would happen otherwise: SimpleTuner reads sub-folders, and trains each image in them."""

    @pytest.mark.parametrize("rules", [KOHYA, SIMPLETUNER])
    @pytest.mark.parametrize("folder", ["masks", "Mask", "face_masks", "sub/masks"])
    def test_masks_in_a_folder(self, tmp_path: Path, rules: DatasetRules, folder: str) -> None:
        dataset(tmp_path, "a.png")
        gray(tmp_path / folder / "a.png")
        found = scan(tmp_path, rules, trigger="sks")
        assert named(found) == ["a.png"]
        assert f"1 file ({folder}/a.png)" in problem_of(found, "mask_left_out").message
        assert "under Masks" in problem_of(found, "mask_left_out").message

    def test_a_mask_beside_its_image(self, tmp_path: Path) -> None:
        dataset(tmp_path, "a.png", "c_mask.png")
        gray(tmp_path / "a-masklabel.png")
        gray(tmp_path / "b_mask.png")  # of no image here
        assert named(scan(tmp_path, KOHYA)) == ["a.png", "b_mask.png", "c_mask.png"]

    def test_a_photo_of_a_mask_is_trained_and_named(self, tmp_path: Path) -> None:
        dataset(tmp_path, "masks/venice.png", "other.png")
        found = scan(tmp_path, SIMPLETUNER)
        assert named(found) == ["masks/venice.png", "other.png"]
        assert problem_of(found, "mask").severity == "warning"

    def test_previews_of_a_network_drive(self, tmp_path: Path) -> None:
        dataset(tmp_path, "a.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg")
        assert named(scan(tmp_path, SIMPLETUNER)) == ["a.png"]

    def test_a_dataset_that_is_called_masks(self, tmp_path: Path) -> None:
        gray(tmp_path / "masks" / "a.png")
        assert named(scan(tmp_path / "masks", SIMPLETUNER)) == ["a.png"]

    @pytest.mark.parametrize("rules", [KOHYA, SIMPLETUNER])
    @pytest.mark.parametrize("folder", ["reg", "Regularisation", "class_images", "reg/1_woman", "1_woman"])
    def test_regularisation_images(self, tmp_path: Path, rules: DatasetRules, folder: str) -> None:
        dataset(tmp_path, "a.png", f"{folder}/w.png", without=(f"{folder}/w.png",))
        found = scan(tmp_path, rules, trigger="elena")
        assert named(found) == ["a.png"]
        assert "under Class images" in problem_of(found, "regularisation").message

    @pytest.mark.parametrize("rules", [KOHYA, SIMPLETUNER])
    def test_the_folders_of_the_kohya_gui(self, tmp_path: Path, rules: DatasetRules) -> None:
        dataset(
            tmp_path, "img/10_elena woman/a.png", "reg/1_woman/w.png", "model/sample/x_000100_00_20260101120000_42.png"
        )
        found = scan(tmp_path, rules, trigger="elena")
        assert "img/10_elena woman/a.png" in " ".join([*named(found), *(name for name, _ in found.unseen)])
        assert not set(named(found)) & {"reg/1_woman/w.png", "model/sample/x_000100_00_20260101120000_42.png"}
        assert problem_of(found, "sample") is not None
        if rules is KOHYA:
            (problem,) = blocking(found.problems)
            assert problem.fix.changes == {"dataset.path": str(tmp_path / "img" / "10_elena woman")}
        else:
            assert (found.repeats.number, found.repeats.word) == (10, "elena woman")

    def test_the_only_folder_may_have_the_name_of_a_class(self, tmp_path: Path) -> None:
        dataset(tmp_path, "10_woman/a.png")
        assert named(scan(tmp_path, SIMPLETUNER)) == ["10_woman/a.png"]
        assert scan(tmp_path / "10_woman", KOHYA).repeats.number == 10

    def test_a_parent_folder_offers_the_sub_folder_with_the_most_images(self, tmp_path: Path) -> None:
        dataset(tmp_path, "cover.png", "few/a.png", "many/a.png", "many/b.png")
        found = scan(tmp_path, KOHYA)
        (unread,) = [each for each in found.problems if "sub-folders are not read" in each.message]
        assert unread.fix == Fix("Use many (2 images)", {"dataset.path": str(tmp_path / "many")})
        (tmp_path / "cover.png").unlink()
        first, *others = [each.fix.label for each in scan(tmp_path, KOHYA).problems if each.fix]
        assert (first, others) == ("Use many (2 images)", ["Use few (1 image)"])

    @pytest.mark.parametrize("rules", [KOHYA, SIMPLETUNER])
    def test_folders_with_different_repeats_are_offered_one_by_one(self, tmp_path: Path, rules: DatasetRules) -> None:
        dataset(tmp_path, "10_elena/a.png", "2_tom/b.png", "2_tom/c.png")
        said = [one.message for one in scan(tmp_path, KOHYA).problems if one.severity == "error"]
        assert said == [
            "This folder has no image to train itself: its images are in 2 sub-folders, each with its own repeats in its name."
        ]
        found = scan(tmp_path, rules)
        assert found.images == ()
        assert [problem.fix.changes["dataset.path"] for problem in found.problems if problem.fix] == [
            str(tmp_path / "10_elena"), str(tmp_path / "2_tom"), str(tmp_path / "10_elena"),
        ]  # fmt: skip
        every = next(problem.fix for problem in found.problems if problem.fix)
        assert every.changes["dataset.repeats"] == 10
        assert every.changes["dataset.subsets"] == ({"path": str(tmp_path / "2_tom"), "repeats": 2, "caption": "tom"},)

    def test_folders_with_different_words_need_captions(self, tmp_path: Path) -> None:
        dataset(tmp_path, "5_elena/a.png", "5_tom/b.png")
        found = scan(tmp_path, SIMPLETUNER)
        assert (named(found), found.repeats.number) == (["5_elena/a.png", "5_tom/b.png"], 5)
        (tmp_path / "5_tom" / "b.txt").unlink()
        assert scan(tmp_path, SIMPLETUNER, trigger="elena").images == ()

    @pytest.mark.parametrize(
        ("name", "said"),
        [("10_elena", (10, "elena")), ("1_a_b", (1, "a_b")), ("3_", (3, "")), ("01_day", None), ("2023_summer", None),
         ("0_x", None), ("elena_10", None), ("elena", None), ("9" * 5000 + "_x", None)],
    )  # fmt: skip
    def test_repeats_in_the_name_of_a_folder(self, name: str, said: tuple[int, str] | None) -> None:
        found = folders.repeats(name)
        assert (found and (found.number, found.word)) == said

    def test_depth_maps_of_images(self, tmp_path: Path) -> None:
        dataset(tmp_path, "a.png", "depth/a.png", "depth/other.png")
        found = scan(tmp_path, SIMPLETUNER)
        assert named(found) == ["a.png", "depth/other.png"]

    def test_sub_folders_that_are_trained_are_named(self, tmp_path: Path) -> None:
        dataset(tmp_path, "a.png", "close/b.png", "far/c.png", "far/d.png")
        said = [problem.message for problem in scan(tmp_path, SIMPLETUNER).problems]
        assert said == ["Images in sub-folders are trained too: close (1), far (2)."]

    def test_linked_sub_folders(self, tmp_path: Path) -> None:
        dataset(tmp_path, "set/a.png", "elsewhere/b.png")
        (tmp_path / "set" / "more").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "set" / "again").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
        assert named(scan(tmp_path / "set", SIMPLETUNER)) == ["a.png", "again/b.png"]
        found = scan(tmp_path / "set", KOHYA)
        assert named(found) == ["a.png"]
        assert "again, loop, more" in problem_of(found, "linked_folder").message

    @pytest.mark.parametrize("name", ["a.jpg_large", "a.jpg!d", "a.orig", "a.tga_", "a.jpeg~"])
    def test_images_with_other_extensions_are_named(self, tmp_path: Path, name: str) -> None:
        draw(tmp_path / "x.jpg").rename(tmp_path / name)
        (tmp_path / "notes.orig").write_text("BMW is not a bitmap, and this is not an image")
        assert scan(tmp_path, KOHYA).unseen == ((name, defects.DEFECTS["ending"].reason),)


class TestUnreadableFiles:
    def test_one_unreadable_image_can_be_left_out(self, tmp_path: Path) -> None:
        dataset(tmp_path, "a.png", "c.png")
        (tmp_path / "b.png").write_bytes(b"")
        (tmp_path / "c.txt").write_bytes("caf\u00e9".encode("latin-1"))
        found = scan(tmp_path, KOHYA)
        problem = problem_of(found, "empty")
        assert (problem.fix.label, problem.fix.changes) == ("Leave it out", {"dataset.skip_unreadable": True})
        found = scan(tmp_path, KOHYA, skip_unreadable=True)
        assert (named(found), found.stopping) == (["a.png"], ())
        assert [name for name, _ in found.unseen] == ["b.png", "c.png"]
        assert not blocking(found.problems)
        assert "b.png" in problem_of(found, "empty").message
