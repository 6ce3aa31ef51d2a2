"""A scan tells for each file whether it is trained, not seen, or stops the engine, and why."""

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

from tests.support.scanned import KOHYA, SIMPLETUNER, captioned, draw, draw_rgba, problem_of
from trainer_core.datasets import defects
from trainer_core.datasets.rules import DatasetRules
from trainer_core.datasets.scan import scan
from trainer_core.errors import DatasetError
from trainer_core.problems import blocking

pytestmark = pytest.mark.filterwarnings("error")


def test_a_clean_folder_has_no_problems(tmp_path: Path) -> None:
    for number, ending in enumerate(("png", "jpg", "webp", "bmp", "PNG", "JPG")):
        captioned(tmp_path / f"{number}.{ending}", f"sks toy, number {number}")
    for quick in (True, False):
        found = scan(tmp_path, KOHYA, trigger="SKS", quick=quick)
        assert found.problems == ()
        assert found.summary == "6 files in the folder: 6 will be trained."
    first = found.images[0]
    assert (first.name, first.width, first.height, first.caption) == ("0.png", 300, 260, "sks toy, number 0")


def test_the_summary_counts_trained_stopping_and_unseen_files(tmp_path: Path) -> None:
    captioned(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    draw(tmp_path / "c.gif")
    draw(tmp_path / "d.gif")
    (tmp_path / "notes.md").write_text("not an image")
    found = scan(tmp_path, KOHYA)
    assert found.summary == (
        "4 files in the folder: 1 will be trained, 1 stops the run (it is empty), "
        "2 are not seen (the engine does not read this kind of file)."
    )
    assert found.stopping == (("b.png", "it is empty"),)
    assert [name for name, _ in found.unseen] == ["c.gif", "d.gif"]
    (tmp_path / "d.gif").unlink()
    assert "1 is not seen (the engine" in scan(tmp_path, KOHYA).summary


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
def test_a_file_that_stops_the_engine_is_named_in_an_error(tmp_path: Path, key: str, quick: bool) -> None:
    captioned(tmp_path / "good.png")
    STOPPING[key](tmp_path / "bad.png")
    found = scan(tmp_path, KOHYA, quick=quick)
    assert [image.name for image in found.images] == ["good.png"]
    problem = problem_of(found, key)
    assert problem is not None
    assert (problem.severity, problem.path) == ("error", "dataset.path")
    assert "bad.png" in problem.message
    assert found.stopping[0][0] == "bad.png"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp"])
def test_an_image_cut_short_is_found_by_the_full_scan(tmp_path: Path, ending: str) -> None:
    captioned(tmp_path / "good.png")
    cut(tmp_path / f"cut.{ending}")
    assert [name for name, _ in scan(tmp_path, KOHYA).stopping] == [f"cut.{ending}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_stops_the_engine(tmp_path: Path) -> None:
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
        assert found.images == ()
        assert found.unseen == ((name, defects.DEFECTS[key].reason),)
        assert "None of the files in it" in blocking(found.problems)[0].message

    def test_another_engine_has_other_rules(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        for name in ("a.Png", "b.gif", "sub/c.png"):
            draw(tmp_path / name)
        assert [image.name for image in scan(tmp_path, SIMPLETUNER).images] == ["a.Png", "b.gif", "sub/c.png"]
        assert [reason for _, reason in scan(tmp_path, KOHYA).unseen] == [
            defects.DEFECTS[key].reason for key in ("case", "ending", "sub_folder")
        ]

    def test_pipes_and_folders_named_like_images_are_left_out(self, tmp_path: Path) -> None:
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

    def test_the_extension_need_not_match_the_format(self, tmp_path: Path) -> None:
        draw(tmp_path / "a.jpg", format="PNG")
        assert len(scan(tmp_path, KOHYA).images) == 1

    def test_an_empty_folder_blocks(self, tmp_path: Path) -> None:
        assert "No image" in blocking(scan(tmp_path, KOHYA).problems)[0].message

    def test_no_folder(self, tmp_path: Path) -> None:
        for wrong in (tmp_path / "absent", draw(tmp_path / "a.png")):
            with pytest.raises(DatasetError):
                scan(wrong, KOHYA)


class TestImages:
    @pytest.mark.parametrize("quick", [True, False])
    @pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
    def test_turned_images_have_their_upright_size(self, tmp_path: Path, ending: str, quick: bool) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        draw(tmp_path / f"a.{ending}", (400, 300), exif=exif)
        found = scan(tmp_path, KOHYA, quick=quick)
        assert [(p.width, p.height, p.orientation) for p in found.images] == [(300, 400, 6)]
        assert problem_of(found, "turned").severity == "info"

    @pytest.mark.parametrize(
        ("alpha", "key"), [(255, None), (0, "transparent"), (128, "alpha"), ("rim", None), ("half", "alpha")]
    )
    def test_transparency_is_a_defect_where_it_hides_colours(
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

    def test_formats_that_the_engine_changes(self, tmp_path: Path) -> None:
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

    def test_masks_among_images(self, tmp_path: Path) -> None:
        for name in ("a.png", "a-masklabel.png", "b_mask.png"):
            draw(tmp_path / name)
        assert "1 file (a-masklabel.png)" in problem_of(scan(tmp_path, KOHYA), "mask").message


class TestUntrustedText:
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
        assert len(found.images) + len(found.stopping) == 1

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
        assert len(found.images) + len(found.stopping) == 1


def test_nothing_in_the_folder_changes(tmp_path: Path) -> None:
    captioned(tmp_path / "a.png")
    cut(tmp_path / "b.jpg")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
    scan(tmp_path, KOHYA)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before


def test_five_thousand_images_are_scanned_in_seconds(tmp_path: Path) -> None:
    content = captioned(tmp_path / "0.jpg").read_bytes()
    for number in range(1, 5000):
        (tmp_path / f"{number}.jpg").write_bytes(content)
        (tmp_path / f"{number}.txt").write_text("sks toy")
    started = time.process_time()
    assert len(scan(tmp_path, KOHYA, quick=True).images) == 5000
    assert time.process_time() - started < 8
