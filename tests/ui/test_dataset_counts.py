"""What the dataset app counts and names: images that cannot be shown, imports, taggers, and the dataset that was open last."""

import pytest
from PIL import Image

from tests.support.page import hear, wait_for
from trainer_core.curation import importing, known
from trainer_core.prepare.workbench import Workbench
from trainer_ui.apps.dataset_preparation import DatasetPreparation
from trainer_ui.components.image_list import STOPS


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "harbour"
    root.mkdir()
    for number in range(6):
        Image.new("RGB", (640, 512), (40 * number, 90, 120)).save(root / f"boat{number}.png")
        (root / f"boat{number}.txt").write_text(f"inkwash, boat, tag{number}\n")
    return root


@pytest.fixture
def app(opening, folder):
    found = opening(DatasetPreparation, folder)
    wait_for(lambda: found.session.read is not None)
    idle(found)
    return found


def idle(app):
    """Waits until nothing is being done, and what was done is shown."""
    session = app.session
    wait_for(lambda: not session.doing and not session._is_reading)
    with session.lock:
        session.show()


def test_an_image_that_cannot_be_shown_stops_the_training_at_once(app, folder):
    """Its header can be read, so a scan of headers counts it as trained."""
    noise = Image.effect_noise((600, 500), 80).convert("RGB")
    noise.save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:3000])
    app.session.look()
    idle(app)
    assert len(app.session.read.dataset.images) == 7
    number = next(tile for tile, one in app.images.list._tiles.items() if one.name == "cut.jpg")
    hear(app.images.list, {"kind": "thumbs", "version": app.images.list._version, "ids": [number]})
    wait_for(lambda: app.session.read.dataset.stopping)
    idle(app)
    assert app.session.read.dataset.stopping == (("cut.jpg", "it is damaged or cut short"),)
    assert app.images.list._tiles[number].flags & STOPS
    bench = Workbench()
    bench.set({"dataset.path": str(folder)})
    assert [name for name, _ in bench.state.facts.dataset.stopping] == ["cut.jpg"]
    whole = bench.reader.read_images(bench.state, quick=False)
    assert [name for name, _ in whole.facts.dataset.stopping] == ["cut.jpg"], "as a start reads it"


def test_the_dataset_that_is_open_is_noted_as_its_own(app, folder):
    known.remember(folder.parent)
    assert known.opened_last() == folder


def test_an_import_lists_what_was_left_out_and_what_has_another_name(app, folder, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for number in range(23):
        Image.new("RGB", (64, 64), (number, 200, 10)).save(more / f"boat{number}.png")
    (more / "notes.docx").write_bytes(b"no image")
    found = importing.add(folder, [more])
    app.source._done(folder, found, [])
    lines = app.source.left_out.value
    assert "notes.docx: " in lines
    assert "Named anew (6):" in lines
    assert "boat0.png is now boat0-2.png" in lines
    assert "6 files have another name now" in app.source.report.value
    app.source._done(folder, importing.Imported(None, renamed=tuple((f"{one}", "b") for one in range(23))), [])
    assert "and 3 more" in app.source.left_out.value


def test_the_card_of_a_tagger_says_what_it_is_for_and_its_licence(app):
    first, *_ = cards = app.machine.known["tagger"]
    assert first.what == (
        "For drawings: the tags of Danbooru. The one to begin with, and the smallest of its family. Licence: apache-2.0."
    )
    assert all(one.what.startswith("For drawings: ") for one in cards)
    assert "Licence: not verified." in next(one for one in cards if one.id.startswith("cl-")).what
