"""The fixes for what a scan finds: each mends its defect, for each engine, and all of them can be taken back."""

import io
import itertools
import os
import random
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer_core.curation import fixing
from trainer_core.curation.journal import Journal
from trainer_core.datasets import scan
from trainer_core.engines import registry

ENGINES = ("kohya", "simpletuner")


def saved(image, kind, **more):
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def noise(size=(320, 320), mode="RGB"):
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], len(mode)), dtype=np.uint8).squeeze(), mode)


def hidden():
    image = noise(mode="RGBA")
    image.paste((255, 0, 255, 0), (0, 0, 160, 160))
    return image


PLAIN = saved(noise(), "PNG")
FILES = {
    "good.png": PLAIN,
    "good.txt": b"ohwx, a cat",
    "zero.png": b"",
    "zero.txt": b"ohwx",
    "page.jpg": b"<!doctype html><title>404</title>",
    "cut.jpg": saved(noise(), "JPEG")[:3000],
    "Mixed.Jpg": saved(noise(), "JPEG"),
    "none": PLAIN,
    "anim.gif": saved(noise(), "GIF"),
    "old.tif": saved(noise(), "TIFF"),
    "alpha.png": saved(hidden(), "PNG"),
    "latin.png": PLAIN,
    "latin.txt": "ohwx, café noir".encode("cp1252"),
    "sjis.png": PLAIN,
    "sjis.txt": "ohwx, 猫の写真がここにあります".encode("cp932"),
    "wide.png": PLAIN,
    "wide.txt": "ohwx, ü".encode("utf-16"),
    "bom.png": PLAIN,
    "bom.txt": b"\xef\xbb\xbfohwx, a\x07 dog",
    "lines.png": PLAIN,
    "lines.txt": b"ohwx, a cat\na dog,\n\n",
    "weights.png": PLAIN,
    "weights.txt": rb"ohwx, (red hat:1.3), ((deep)), \(x\), [soft]",
    "lacks.png": PLAIN,
    "lacks.txt": b"a horse",
    "without.png": PLAIN,
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for name, content in FILES.items():
        (root / name).write_bytes(content)
    return root


def look(root, engine):
    return scan.scan(root, registry.get(engine).manifest.dataset, trigger="ohwx")


def mend(root, engine, wanted=None):
    found = look(root, engine)
    ids = [one.mending.id for one in fixing.offers(found, "ohwx")] if wanted is None else wanted
    return fixing.mend(found, ids, "Fix", "ohwx")


def tree(root):
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


@pytest.mark.parametrize("engine", ENGINES)
def test_all_fixes_mend_what_they_say_and_the_undo_brings_every_byte_back(root, engine):
    refused = []
    for _ in range(4):
        edit, refused = mend(root, engine)
        if edit is None:
            break
        assert edit.refused == ()
    after = look(root, engine)
    left = {key for one in fixing.MENDINGS.values() for key in one.defects} & after.defects.keys()
    assert left <= {"caption_not_utf8"}
    assert [(path, reason.partition(";")[0]) for path, reason in refused] == [("sjis.png", "its encoding is not known")]
    assert [name for name, _ in after.stopping] == ["sjis.png"]
    names = {image.name.casefold() for image in after.images}
    assert {"good.png", "mixed.jpg", "latin.png", "wide.png", "alpha.png"} <= names
    assert not {"zero.png", "page.jpg", "cut.jpg"} & {path.name for path in root.iterdir()}
    assert not (root / "zero.txt").exists()
    while Journal(root).undo() is not None:
        pass
    assert tree(root) == FILES


def test_what_captions_and_images_become(root):
    for _ in range(3):
        mend(root, "kohya")
    texts = {path.stem: path.read_text() for path in root.glob("*.txt") if path.stem != "sjis"}
    assert texts["latin"] == "ohwx, café noir"
    assert texts["wide"] == "ohwx, ü"
    assert texts["bom"] == "ohwx, a dog"
    assert texts["lines"] == "ohwx, a cat, a dog\n"
    assert texts["weights"] == "ohwx, red hat, deep, (x), soft"
    assert texts["lacks"] == "ohwx, a horse"
    assert texts["without"] == "ohwx\n"
    with Image.open(root / "alpha.png") as image:
        assert image.mode == "RGB"
        assert image.getpixel((5, 5)) == (255, 255, 255)
    with Image.open(root / "old.png") as image:
        assert image.convert("RGB").tobytes() == noise().tobytes()
    assert (root / "none.png").read_bytes() == PLAIN


def test_only_wanted_fixes_are_made(root):
    edit, _ = mend(root, "kohya", ["rename"])
    assert edit.files == 4
    assert {"Mixed.jpg", "none.png"} <= {path.name for path in root.iterdir()}
    assert (root / "zero.png").exists()


def test_a_name_that_is_taken_is_not_replaced(root):
    (root / "old.png").write_bytes(PLAIN)
    _, refused = mend(root, "kohya", ["convert"])
    assert refused == [("old.tif", "there is a file old.png already")]
    assert (root / "old.tif").read_bytes() == FILES["old.tif"]


def test_a_clean_dataset_has_no_fix(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(PLAIN)
        (tmp_path / f"{number}.txt").write_bytes(b"ohwx, a cat")
    for engine in ENGINES:
        assert fixing.offers(look(tmp_path, engine), "ohwx") == []


def test_links_out_of_the_dataset_are_never_written_through(root, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(saved(hidden(), "PNG"))
    (root / "link.png").symlink_to(outside)
    (root / "dead.png").symlink_to(tmp_path / "none")
    mend(root, "kohya")
    assert outside.read_bytes() == saved(hidden(), "PNG")
    assert not os.path.lexists(root / "dead.png")
    assert not Path(root / "link.png").is_symlink()
    while Journal(root).undo() is not None:
        pass
    assert (root / "link.png").is_symlink()
    assert (root / "dead.png").is_symlink()


def test_converted_images_wait_on_the_disk_and_not_in_memory_and_keep_their_rights(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    for number in range(6):
        noise = Image.frombytes("RGBA", (700, 700), random.Random(number).randbytes(700 * 700 * 4))
        noise.save(root / f"{number}.png")
        (root / f"{number}.png").chmod(0o640)
    found = look(root, "kohya")
    numbers = itertools.count()
    tracemalloc.start()
    fixing.changes(found, ["flatten"], "", lambda: tmp_path / f"new{next(numbers)}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    edit, refused = fixing.mend(found, ["flatten"], "Flatten")
    assert (edit.files, refused) == (6, [])
    whole = sum((root / f"{number}.png").stat().st_size for number in range(6))
    assert peak < 0.6 * whole, f"{peak / 2**20:.1f} MiB of {whole / 2**20:.1f} MiB"
    assert stat.S_IMODE((root / "3.png").stat().st_mode) == 0o640
    assert not (root / ".easel" / "incoming").exists()
