"""A scan says of each file whether it is trained, not seen, or stops the engine, and why."""

from __future__ import annotations

import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer_core.backend import DatasetRules
from trainer_core.datasets import captions, defects
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.errors import DatasetError
from trainer_core.problems import Problem, blocking

KOHYA = DatasetRules(frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"}), False, "first", borrows_captions=True)
SIMPLETUNER = DatasetRules(KOHYA.extensions | {".gif", ".tif"}, True, "each", recursive=True)

pytestmark = pytest.mark.filterwarnings("error")


def draw(path: Path, size: tuple[int, int] = (300, 260), mode: str = "RGB", **options: object) -> Path:
    """A picture that does not compress to nothing, so that cutting its file short cuts its pixels."""
    noise = np.random.default_rng(len(path.name)).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(noise).resize(size).convert(mode).save(path, **options)
    return path


def captioned(path: Path, text: str = "sks toy") -> Path:
    draw(path)
    path.with_suffix(".txt").write_text(text)
    return path


def problem_of(found: Dataset, key: str) -> Problem | None:
    """The Problem of one defect, or None."""
    reason = defects.DEFECTS[key].reason
    return next((problem for problem in found.problems if f": {reason}." in problem.message), None)


def test_a_clean_folder_has_no_problems(tmp_path: Path) -> None:
    for number, ending in enumerate(("png", "jpg", "webp", "bmp", "PNG", "JPG")):
        captioned(tmp_path / f"{number}.{ending}", f"sks toy, number {number}")
    for quick in (True, False):
        found = scan(tmp_path, KOHYA, trigger="SKS", quick=quick)
        assert found.problems == ()
        assert found.summary == "6 files in the folder: 6 will be trained."
    first = found.pictures[0]
    assert (first.name, first.width, first.height, first.caption) == ("0.png", 300, 260, "sks toy, number 0")


def test_the_summary_counts_what_is_trained_stops_and_is_not_seen(tmp_path: Path) -> None:
    captioned(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    draw(tmp_path / "c.gif")
    draw(tmp_path / "d.gif")
    (tmp_path / "notes.md").write_text("not a picture")
    found = scan(tmp_path, KOHYA)
    assert found.summary == (
        "4 files in the folder: 1 will be trained, 1 stop the run (it is empty), "
        "2 are not seen (the engine does not read this kind of file)."
    )
    assert found.stopping == (("b.png", "it is empty"),)
    assert [name for name, _ in found.unseen] == ["c.gif", "d.gif"]


def cut(path: Path) -> None:
    draw(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bomb(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"x")) + chunk(b"IEND", b"")
    )


STOPPING = {
    "empty": lambda path: path.write_bytes(b""),
    "html": lambda path: path.write_text("<!DOCTYPE html><title>403</title>"),
    "lfs": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "heic": lambda path: path.write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(40)),
    "jxl": lambda path: path.write_bytes(b"\xff\x0a" + bytes(40)),
    "damaged": lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(100)),
    "bomb": bomb,
    "dead_link": lambda path: path.symlink_to("nowhere.png"),
}


@pytest.mark.parametrize("key", STOPPING)
@pytest.mark.parametrize("quick", [True, False])
def test_what_stops_the_engine_is_an_error_that_names_the_file(tmp_path: Path, key: str, quick: bool) -> None:
    captioned(tmp_path / "good.png")
    STOPPING[key](tmp_path / "bad.png")
    found = scan(tmp_path, KOHYA, quick=quick)
    assert [picture.name for picture in found.pictures] == ["good.png"]
    problem = problem_of(found, key)
    assert problem is not None
    assert (problem.severity, problem.path) == ("error", "dataset.path")
    assert "bad.png" in problem.message
    assert found.stopping[0][0] == "bad.png"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp"])
def test_a_picture_cut_short_is_found_by_the_full_scan(tmp_path: Path, ending: str) -> None:
    captioned(tmp_path / "good.png")
    cut(tmp_path / f"cut.{ending}")
    assert [name for name, _ in scan(tmp_path, KOHYA).stopping] == [f"cut.{ending}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_stops(tmp_path: Path) -> None:
    draw(tmp_path / "a.png").chmod(0)
    assert problem_of(scan(tmp_path, KOHYA), "unreadable") is not None


class TestWhatIsSeen:
    @pytest.mark.parametrize(
        ("name", "key"),
        [("a.Jpg", "case"), ("a.gif", "ending"), (".a.png", "hidden"), ("._a.png", "hidden"), ("a", "no_ending")],
    )
    def test_not_seen(self, tmp_path: Path, name: str, key: str) -> None:
        draw(tmp_path / "x.png")
        (tmp_path / "x.png").rename(tmp_path / name)
        found = scan(tmp_path, KOHYA)
        assert found.pictures == ()
        assert found.unseen == ((name, defects.DEFECTS[key].reason),)
        assert "None of the files in it" in blocking(found.problems)[0].message

    def test_rules_of_another_engine(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        for name in ("a.Png", "b.gif", "sub/c.png"):
            draw(tmp_path / name)
        assert [picture.name for picture in scan(tmp_path, SIMPLETUNER).pictures] == ["a.Png", "b.gif", "sub/c.png"]
        assert [reason for _, reason in scan(tmp_path, KOHYA).unseen] == [
            defects.DEFECTS[key].reason for key in ("case", "ending", "sub_folder")
        ]

    def test_pipes_and_folders_named_like_pictures_are_left_out(self, tmp_path: Path) -> None:
        captioned(tmp_path / "a.png")
        os.mkfifo(tmp_path / "b.png")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "c.png").mkdir()
        found = scan(tmp_path, KOHYA)
        assert [name for name, _ in found.unseen] == ["b.png", "c.png"]
        assert not blocking(found.problems)

    def test_hidden_folders_are_not_entered(self, tmp_path: Path) -> None:
        (tmp_path / ".ipynb_checkpoints").mkdir()
        draw(tmp_path / ".ipynb_checkpoints" / "a.png")
        assert scan(tmp_path, SIMPLETUNER).unseen == ()

    def test_the_ending_need_not_tell_the_truth(self, tmp_path: Path) -> None:
        draw(tmp_path / "a.jpg", format="PNG")
        assert len(scan(tmp_path, KOHYA).pictures) == 1

    def test_an_empty_folder_blocks(self, tmp_path: Path) -> None:
        assert "No picture" in blocking(scan(tmp_path, KOHYA).problems)[0].message

    def test_no_folder(self, tmp_path: Path) -> None:
        for wrong in (tmp_path / "absent", draw(tmp_path / "a.png")):
            with pytest.raises(DatasetError):
                scan(wrong, KOHYA)


class TestPictures:
    @pytest.mark.parametrize("quick", [True, False])
    @pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
    def test_turned_pictures_have_their_upright_size(self, tmp_path: Path, ending: str, quick: bool) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        draw(tmp_path / f"a.{ending}", (400, 300), exif=exif)
        found = scan(tmp_path, KOHYA, quick=quick)
        assert [(p.width, p.height, p.orientation) for p in found.pictures] == [(300, 400, 6)]
        assert problem_of(found, "turned").severity == "info"

    @pytest.mark.parametrize(
        ("alpha", "key"), [(255, None), (0, "transparent"), (128, "alpha"), ("rim", None), ("half", "alpha")]
    )
    def test_transparency_matters_where_colours_hide_behind_it(
        self, tmp_path: Path, alpha: object, key: str | None
    ) -> None:
        values = np.full((300, 300), alpha if isinstance(alpha, int) else 255, np.uint8)
        if alpha == "rim":
            values[0, :50] = 100
        elif alpha == "half":
            values[:150] = 0
        image = draw_rgba(values)
        image.save(tmp_path / "a.png")
        found = scan(tmp_path, KOHYA)
        for other in ("alpha", "transparent"):
            assert (problem_of(found, other) is not None) == (other == key)
        assert problem_of(scan(tmp_path, KOHYA, quick=True), "alpha_channel") is not None

    def test_formats_that_come_out_differently(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((300, 300), 40_000, np.uint16)).save(tmp_path / "deep.png")
        draw(tmp_path / "print.jpg", mode="CMYK")
        draw(tmp_path / "long.png", (1300, 300))
        draw(tmp_path / "small.png", (100, 100))
        frames = [Image.new("RGB", (300, 300), color) for color in ("red", "blue")]
        frames[0].save(tmp_path / "film.webp", save_all=True, append_images=frames[1:])
        Image.fromarray(np.zeros((300, 300), np.float32)).save(tmp_path / "float.tif")
        rules = DatasetRules(KOHYA.extensions | {".tif"}, False, "first")
        found = scan(tmp_path, rules)
        wanted = {
            "deep_gray": "deep.png", "cmyk": "print.jpg", "long_shape": "long.png", "small": "small.png",
            "animated": "film.webp", "float_values": "float.tif",
        }  # fmt: skip
        for key, name in wanted.items():
            assert f"1 file ({name})" in problem_of(found, key).message
        assert not blocking(found.problems)

    def test_masks_among_pictures(self, tmp_path: Path) -> None:
        for name in ("a.png", "a-masklabel.png", "b_mask.png"):
            draw(tmp_path / name)
        assert "1 file (a-masklabel.png)" in problem_of(scan(tmp_path, KOHYA), "mask").message


def draw_rgba(alpha: np.ndarray) -> Image.Image:
    color = np.full((*alpha.shape, 3), 90, np.uint8)
    return Image.fromarray(np.dstack([color, alpha]))


class TestCaptions:
    @pytest.mark.parametrize(
        ("data", "text", "found"),
        [
            (b"a cat", "a cat", ()),
            (b"a cat\r\n", "a cat", ()),
            (b"\xef\xbb\xbfa cat", "a cat", ("caption_mark",)),
            ("a caf\u00e9".encode("utf-16"), "a caf\u00e9", ("caption_utf16",)),
            ("a caf\u00e9".encode("latin-1"), "", ("caption_not_utf8",)),
            (b"", "", ("caption_blank",)),
            (b" \n\t\n", "", ("caption_blank",)),
            (b"a\x00 c\x1bat", "a cat", ("caption_control",)),
            (b"\n\na cat\n", "a cat", ()),
            (b"a cat\na dog\n", "a cat", ("many_lines",)),
            (b"<img onerror=alert(1)>", "<img onerror=alert(1)>", ()),
        ],
    )
    def test_bytes_become_text(self, data: bytes, text: str, found: tuple[str, ...]) -> None:
        assert captions.parse(data, "first") == captions.Caption(text, found)

    def test_each_line_is_a_caption_where_the_engine_says_so(self) -> None:
        assert captions.parse(b"a cat\n\n a dog \n", "each") == captions.Caption("a cat\na dog", ("many_captions",))

    @given(st.binary(max_size=200), st.sampled_from(["first", "each"]))
    def test_any_bytes_become_clean_text(self, data: bytes, lines: str) -> None:
        found = captions.parse(data, lines)
        assert all(char == "\n" or char.isprintable() or ord(char) > 127 for char in found.text)
        assert set(found.defects) <= set(defects.DEFECTS)
        assert captions.parse(found.text.encode(), lines).text == found.text

    def test_missing_and_blank_with_and_without_a_trigger(self, tmp_path: Path) -> None:
        draw(tmp_path / "a.png")
        captioned(tmp_path / "b.png", "")
        without = scan(tmp_path, KOHYA)
        assert [p.caption for p in without.pictures] == [None, ""]
        assert problem_of(without, "caption_missing").severity == "warning"
        assert problem_of(without, "caption_blank").severity == "warning"
        given_trigger = scan(tmp_path, KOHYA, trigger="sks")
        assert problem_of(given_trigger, "caption_missing_trigger").severity == "info"
        assert problem_of(given_trigger, "caption_missing") is None
        assert problem_of(given_trigger, "no_trigger") is None

    def test_a_caption_that_cannot_be_decoded_stops(self, tmp_path: Path) -> None:
        captioned(tmp_path / "a.png").with_suffix(".txt").write_bytes("caf\u00e9".encode("latin-1"))
        found = scan(tmp_path, KOHYA)
        assert found.pictures == ()
        assert problem_of(found, "caption_not_utf8").severity == "error"

    def test_a_caption_file_that_is_no_file(self, tmp_path: Path) -> None:
        os.mkfifo(draw(tmp_path / "a.png").with_suffix(".txt"))
        assert problem_of(scan(tmp_path, KOHYA), "caption_no_text").severity == "error"

    def test_trigger_that_is_not_in_a_caption(self, tmp_path: Path) -> None:
        captioned(tmp_path / "a.png", "a toy")
        captioned(tmp_path / "b.png", "an SKS toy")
        assert "1 file (a.png)" in problem_of(scan(tmp_path, KOHYA, trigger="sks"), "no_trigger").message

    @pytest.mark.parametrize("name", ["a.TXT", "A.txt", "a.png.txt"])
    def test_captions_are_found_under_other_spellings(self, tmp_path: Path, name: str) -> None:
        draw(tmp_path / "a.png")
        (tmp_path / name).write_text("a cat")
        assert scan(tmp_path, KOHYA).pictures[0].caption == "a cat"

    def test_unicode_forms_of_a_name_are_the_same_name(self, tmp_path: Path) -> None:
        draw(tmp_path / "cafe\u0301.png")
        (tmp_path / "caf\u00e9.txt").write_text("a cafe")
        assert scan(tmp_path, KOHYA).pictures[0].caption == "a cafe"

    def test_another_ending_is_offered(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            draw(tmp_path / f"{name}.png")
            (tmp_path / f"{name}.caption").write_text("a cat")
        problem = next(p for p in scan(tmp_path, KOHYA).problems if p.path == "dataset.caption_extension")
        assert problem.fix.changes == {"dataset.caption_extension": ".caption"}
        assert [p.caption for p in scan(tmp_path, KOHYA, caption_extension=".caption").pictures] == ["a cat", "a cat"]

    @pytest.mark.parametrize("extension", ["", "txt", "./x", ".t\0", ".*"])
    def test_an_extension_that_is_none(self, tmp_path: Path, extension: str) -> None:
        with pytest.raises(DatasetError):
            scan(tmp_path, KOHYA, caption_extension=extension)

    def test_borrowed_shared_and_orphaned_captions(self, tmp_path: Path) -> None:
        captioned(tmp_path / "cat.png")
        draw(tmp_path / "cat.jpg")
        draw(tmp_path / "cat_2024_01_02_15.png")
        (tmp_path / "dog.txt").write_text("a dog")
        found = scan(tmp_path, KOHYA)
        assert {p.name: p.caption for p in found.pictures} == {
            "cat.jpg": "sks toy", "cat.png": "sks toy", "cat_2024_01_02_15.png": None,
        }  # fmt: skip
        assert "cat_2024_01_02_15.png" in problem_of(found, "borrowed").message
        assert "2 files (cat.jpg, cat.png)" in problem_of(found, "shared_caption").message
        assert "dog.txt" in problem_of(found, "orphan_caption").message
        assert problem_of(scan(tmp_path, SIMPLETUNER), "borrowed") is None


class TestTextFromOutside:
    NAMES = ("<img src=x onerror=alert(1)>.png", "\x1b[31mred\u202e.png", "{0}%s.png")

    def test_names_are_shown_as_text(self, tmp_path: Path) -> None:
        for name in self.NAMES:
            (tmp_path / name).write_bytes(b"")
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))).write_bytes(b"")
        found = scan(tmp_path, KOHYA)
        shown = " ".join(
            [*(problem.message for problem in found.problems), *(name for name, _ in found.stopping), found.summary]
        )
        shown.encode("utf-8")
        assert all(char.isprintable() for char in shown)
        assert "<img src=x onerror=alert(1)>.png" in shown
        assert "\\u001b[31mred\\u202e.png" in shown
        assert "{0}%s.png" in shown

    def test_many_files_of_one_defect_are_one_problem(self, tmp_path: Path) -> None:
        captioned(tmp_path / "good.png")
        for number in range(7):
            (tmp_path / f"{number}.png").write_bytes(b"")
        (problem,) = blocking(scan(tmp_path, KOHYA).problems)
        assert problem.message.startswith("7 files (0.png, 1.png, 2.png and 4 more): it is empty.")

    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF....WEBPVP8 ", b"BM", b"II*\0"]),
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
    def test_random_bytes_never_crash(self, tmp_path: Path, content: bytes, start: bytes) -> None:
        (tmp_path / "a.png").write_bytes(start + content)
        found = scan(tmp_path, KOHYA)
        assert len(found.pictures) + len(found.stopping) == 1

    @given(st.data())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
    def test_changed_bytes_never_crash(self, tmp_path: Path, data: st.DataObject) -> None:
        ending = data.draw(st.sampled_from(["png", "jpg", "webp", "bmp"]))
        path = tmp_path / f"a.{ending}"
        draw(path, (20, 20))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        found = scan(tmp_path, KOHYA)
        path.unlink()
        assert len(found.pictures) + len(found.stopping) == 1


def test_nothing_in_the_folder_changes(tmp_path: Path) -> None:
    captioned(tmp_path / "a.png")
    cut(tmp_path / "b.jpg")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    scan(tmp_path, KOHYA)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before


def test_five_thousand_pictures_are_looked_over_in_seconds(tmp_path: Path) -> None:
    content = captioned(tmp_path / "0.jpg").read_bytes()
    for number in range(1, 5000):
        (tmp_path / f"{number}.jpg").write_bytes(content)
        (tmp_path / f"{number}.txt").write_text("sks toy")
    started = time.process_time()
    assert len(scan(tmp_path, KOHYA, quick=True).pictures) == 5000
    assert time.process_time() - started < 8
