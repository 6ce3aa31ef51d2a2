"""Images that engines do not read, or read wrongly, are converted when they come in, and the originals come back."""

import io

import pytest
from PIL import Image

from tests.support.incoming import files, folder, png
from trainer_core.curation import converting, importing, originals, pruning, rendering
from trainer_core.curation.journal import Journal
from trainer_core.errors import DatasetError


@pytest.fixture
def root(tmp_path):
    return tmp_path / "dataset"


def saved(image, kind, **more):
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def photographs():
    """An image for each kind of conversion, besides HEIC: name, bytes, name afterwards."""
    red = Image.new("RGB", (60, 40), (200, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.new("I;16", (40, 40), 65535 // 2)
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    return {
        "tiff": ("t.tif", saved(red, "TIFF"), "t.png"),
        "gif": ("g.gif", saved(red, "GIF"), "g.png"),
        "avif": ("v.avif", saved(red, "AVIF"), "v.jpg"),
        "animated": ("m.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), "m.png"),
        "large": ("l.png", saved(Image.new("L", (5000, 4000)), "PNG"), "l.png"),
        "turned": ("s.jpg", saved(red, "JPEG", exif=exif, quality=95), "s.jpg"),
        "cmyk": ("c.jpg", saved(red.convert("CMYK"), "JPEG", quality=95), "c.jpg"),
        "deep": ("d.png", saved(deep, "PNG"), "d.png"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(photographs()))
def test_what_engines_cannot_read_is_converted_and_the_original_comes_back(root, tmp_path, kind):
    name, data, now = photographs()[kind]
    source = folder(tmp_path / "in", **{name: data, f"{name.partition('.')[0]}.txt": "ohwx"})
    assert kind in converting.needs(source / name)
    found = importing.add(root, [source], importing.Wishes(convert=[kind]))
    assert found.left_out == ()
    assert found.converted == ((name, now),)
    assert now in files(root)
    assert kind not in converting.needs(root / now)
    with Image.open(root / now) as image:
        image.load()
        assert image.mode in ("L", "RGB")
        assert image.width * image.height <= converting.LARGE_PIXELS
        if kind == "turned":
            assert image.size == (40, 60)
        if kind == "deep":
            assert image.getpixel((1, 1)) == 127
        if kind == "animated":
            assert image.convert("RGB").getpixel((1, 1)) == (255, 0, 0)
    assert len(Journal(root).edits()) == 1, "one edit, and one undo takes everything back"
    back = originals.bring_back(root, found.edit.number)
    assert (root / name).read_bytes() == data, "the original is kept"
    assert files(root) == sorted([name, f"{name.partition('.')[0]}.txt"])
    Journal(root).undo(back.number)
    assert (root / now).is_file()
    Journal(root).undo()
    assert files(root) == []


def test_an_original_never_replaces_another_file_and_goes_when_old_edits_are_pruned(root, tmp_path):
    source = folder(tmp_path / "in", **{"a.tif": photographs()["tiff"][1]})
    number = importing.add(root, [source], importing.Wishes(convert=["tiff"])).edit.number
    (root / "a.tif").write_bytes(b"mine")
    assert originals.bring_back(root, number) is None
    assert (root / "a.tif").read_bytes() == b"mine"
    assert pruning.kept_bytes(Journal(root)) >= len(photographs()["tiff"][1])
    pruning.prune(Journal(root), 0)
    assert originals.numbers(root) == []
    with pytest.raises(DatasetError, match="No originals"):
        originals.bring_back(root, number)


def test_a_damaged_or_foreign_list_of_originals_leads_nowhere(root, tmp_path):
    source = folder(tmp_path / "in", **{"a.tif": photographs()["tiff"][1]})
    number = importing.add(root, [source], importing.Wishes(convert=["tiff"])).edit.number
    names = originals.folder(root, number) / originals.NAMES
    names.write_text('[["../../evil.txt", "a.png"]]')
    with pytest.raises(DatasetError, match="not a path inside"):
        originals.bring_back(root, number)
    for text in ("{", "[[1, 2]]", "7", '[["a"]]'):
        names.write_text(text)
        assert originals.kept(root, number) == []
    assert files(root) == ["a.png"]


def test_an_image_that_cannot_be_converted_comes_in_as_it_is(root, tmp_path):
    whole = photographs()["tiff"][1]
    source = folder(tmp_path / "in", **{"a.tif": whole[:200], "b.tif": whole})
    found = importing.add(root, [source], importing.Wishes(convert=["tiff"]))
    assert found.images == 2
    assert "b.png" in files(root)
    assert (root / "a.tif").read_bytes() == whole[:200]


def test_only_what_is_wanted_is_converted(root, tmp_path):
    kinds = photographs()
    source = folder(tmp_path / "in", **{name: data for name, data, _ in kinds.values()}, **{"ok.png": png("red")})
    assert set(converting.counts(source, [name for name, _, _ in kinds.values()])) == set(kinds)
    found = importing.add(root, [source], importing.Wishes(convert=["gif", "tiff"]))
    assert sorted(found.converted) == [("g.gif", "g.png"), ("t.tif", "t.png")]
    assert {"g.png", "t.png", "v.avif"} <= set(files(root))
    with pytest.raises(DatasetError, match="no such conversion"):
        converting.convert(Journal(root), ["ok.png"], ["webp"], lambda: tmp_path / "x")


def test_a_converted_image_never_replaces_another(root, tmp_path):
    source = folder(tmp_path / "in", **{"a.tif": photographs()["tiff"][1], "a.png": png("blue")})
    found = importing.add(root, [source], importing.Wishes(convert=["tiff"]))
    assert found.converted == ()
    assert (root / "a.png").read_bytes() == png("blue")
    assert "there is a file a.png already" in found.left_out[0][1]


def test_heic_is_converted_or_the_user_reads_what_to_install(root, tmp_path):
    data = b"\0\0\0\x18ftypheic" + bytes(40)
    if rendering.reads_heic():
        data = saved(Image.new("RGB", (64, 48), (200, 30, 30)), "HEIF")
    source = folder(tmp_path / "in", **{"p.heic": data})
    assert converting.needs(source / "p.heic") == ("heic",)
    found = importing.add(root, [source], importing.Wishes(convert=["heic"]))
    if rendering.reads_heic():
        with Image.open(root / "p.jpg") as image:
            assert image.size == (64, 48)
    else:
        assert (root / "p.heic").read_bytes() == data
        assert "pillow-heif" in found.left_out[0][1]


def test_a_dataset_is_converted_in_the_terminal_and_back(root):
    import json

    from click.testing import CliRunner

    from trainer_core.cli import easel
    from trainer_core.curation import contents

    def told(*arguments):
        return CliRunner().invoke(easel, ["dataset", "convert", str(root), *arguments])

    kinds = photographs()
    folder(root, **{kinds[key][0]: kinds[key][1] for key in ("gif", "turned")})
    assert json.loads(told("--json").output) == {"gif": 1, "turned": 1}
    assert told("webp").exit_code == 2
    assert "Convert 2 images." in told("all").output
    assert files(root) == ["g.png", "s.jpg"]
    assert [one.name for one in (root / contents.OWN).iterdir() if one.is_dir()] == ["edits"]
    assert "nothing to convert" in told().output
    assert "Nothing was converted" in told("heic").output
    Journal(root).undo()
    assert (root / "s.jpg").read_bytes() == kinds["turned"][1]


def test_originals_come_back_in_the_terminal(root, tmp_path):
    import json

    from click.testing import CliRunner

    from trainer_core.cli import easel

    def told(*arguments):
        return CliRunner().invoke(easel, ["dataset", *map(str, arguments)])

    source = folder(tmp_path / "in", **{"t.tif": photographs()["tiff"][1]})
    shown = told("import", root, source, "--convert", "tiff")
    assert "1 image was converted; the originals are kept with edit 1." in shown.output
    assert told("convert", root, "gif", "--originals", 1).exit_code == 2
    assert json.loads(told("convert", root, "--originals", 1, "--json").output)["files"] == 2
    assert files(root) == ["t.tif"]
    assert told("convert", root, "--originals", 7).exit_code == 1
