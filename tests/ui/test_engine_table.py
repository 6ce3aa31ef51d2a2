"""The table of engines in step Model, without a page: it is made when it is opened, kept for a plan, and shows text as text."""

import dataclasses
from html.parser import HTMLParser

import pytest

from tests.support import recorded_headers
from tests.support.page import click, enter, on_page, prepare
from trainer_core import hardware
from trainer_core.engines.preference import Standing
from trainer_core.prepare import engine_rows
from trainer_core.prepare.engine_rows import HEADINGS, EngineRow, EngineTable
from trainer_core.prepare.switching import Lost
from trainer_core.prepare.workbench import for_trainer, use_own_machine
from trainer_ui.panels.engine_table import EngineRows


class Cells(HTMLParser):
    """The elements of a table: (tag, attributes, text)."""

    def __init__(self, markup):
        super().__init__()
        self.found = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data):
        self.found[-1][2].append(data)

    def texts(self, *tags):
        return ["".join(texts) for tag, _, texts in self.found if tag in tags]


@pytest.fixture
def app(open_app, home):
    """The trainer with a folder of FLUX.1, which only one of its three engines reads."""
    settings = prepare(home)
    folder = recorded_headers.write("folder-flux-dev", home)
    return open_app({**settings, "model.path": str(folder), "dataset.color_augmentation": True}, engine="")


def test_the_table_has_a_row_for_each_engine_once_it_is_opened(app):
    panel = app.model.engine
    assert panel.table.value == "", "it costs nothing while it is closed"
    enter(panel.widget.children[0], True)
    cells = Cells(panel.table.value)
    assert tuple(cells.texts("th")[: len(HEADINGS)]) == HEADINGS
    assert {"SimpleTuner", "kohya sd-scripts"} <= set(cells.texts("th"))
    named = [attributes["data-name"] for tag, attributes, _ in cells.found if tag == "td" and "data-name" in attributes]
    assert named == list(HEADINGS[1:]) * 3
    assert any("at hand: a diffusers folder" in text for text in cells.texts("b"))
    toned = {attributes["class"] for tag, attributes, _ in cells.found if tag == "b"}
    assert {"easel-engines-good", "easel-engines-bad"} <= toned
    assert any("not from a diffusers folder" in text for text in cells.texts("p"))
    assert "Easel proposes SimpleTuner" in panel.proposes.value
    assert not on_page(panel.use), "the proposed one is the one that trains this"


def test_memory_is_that_of_the_machine_that_trains(app):
    panel, session = app.model.engine, app.session
    enter(panel.widget.children[0], True)

    def memory() -> list[str]:
        panel.show()
        return [row.memory for row in panel.compared.rows if row.standing.trains and row.memory]

    own = memory()
    for_trainer(session.bench, None)
    assert set(memory()) == {engine_rows.NOT_ASKED}
    # A measurement of this machine that was begun before says nothing of the other one.
    session._measure()
    assert session.bench.state.facts.machine is hardware.ASSUMED
    for_trainer(session.bench, hardware.ASSUMED)
    assert all("of 80.0 GiB" in text for text in memory())
    card = dataclasses.replace(hardware.ASSUMED.accelerator, vram_bytes=96 << 30)
    for_trainer(session.bench, dataclasses.replace(hardware.ASSUMED, accelerators=(card,)))
    assert all("of 96.0 GiB" in text for text in memory()), "as much is free"
    use_own_machine(session.bench)
    # What is free here changes all the time.
    assert [text.partition(", and")[0] for text in memory()] == [text.partition(", and")[0] for text in own]


def test_another_engine_is_proposed_with_a_button_and_the_message_says_what_is_lost(app):
    panel = app.model.engine
    enter(panel.widget.children[0], True)
    enter(panel.choice, "kohya")
    assert on_page(panel.use)
    assert panel.use.description == "Use SimpleTuner"
    click(panel.use)
    assert app.session.backend.manifest.id == "simpletuner"
    assert "Colour augmentation" in app.session.message
    assert not on_page(panel.use)
    row = panel.compared.named("simpletuner")
    assert row.is_chosen
    assert "Colour augmentation" in row.lost_text


def test_the_table_is_computed_once_for_a_plan_and_again_for_another(app, monkeypatch):
    panel, real, asked = app.model.engine, engine_rows.table, []
    monkeypatch.setattr(engine_rows, "table", lambda *given: asked.append(1) or real(*given))
    app.session.show()
    app.session.change({"network.rank": 24})
    app.session.show()
    assert not asked, "it is closed"
    enter(panel.widget.children[0], True)
    app.session.show()
    app.session.show()
    assert len(asked) == 1
    app.session.change({"network.rank": 25})
    app.session.show()
    assert len(asked) == 2


def test_text_from_outside_is_shown_as_text():
    lost = (Lost("network.rank", "<b>Rank</b>", '"><script>', "why <i>"),)
    row = EngineRow(Standing("x", "<img src=x>", 1, blocks="<script>stop</script>"), True, "a", "b", "<u>", lost)
    shown = EngineRows()
    shown.show_table(EngineTable((row,), "x", ""))
    assert not {"img", "script", "b", "i", "u"} & {tag for tag, _, _ in Cells(shown.value).found}
    assert "<img src=x>" in "".join(Cells(shown.value).texts("th"))
