"""The LoRA app without a browser: each of its tools is started once on real files, and what it found or made is shown."""

from __future__ import annotations

import pytest

from tests.support import tool_files
from tests.support.page import click, enter, go, markup, on_page, wait_for
from tests.support.tool_forms import control, fill, finish, made
from trainer_core.models import header
from trainer_ui import guides
from trainer_ui.apps.lora_utilities import LoraUtilities


@pytest.fixture
def app(opening):
    return opening(LoraUtilities)


@pytest.fixture
def loras(tmp_path):
    return tool_files.loras(tmp_path / "loras")


def test_looking_inside_shows_blocks_settings_and_triggers_and_offers_no_download(app, loras):
    fill(app, "inspect", file=str(loras["elena"]))
    finish(app, "inspect")
    page = markup(app.root)
    for told in ("IN01", "elenavr"):
        assert told in page, told
    assert not on_page(app.made.saving), "there is no new file"


def test_two_loras_are_merged_with_their_strengths(app, loras, tmp_path):
    rows = control(app, "merge", "files")
    go(app, "merge")
    enter(rows.rows[0].path, str(loras["elena"]))
    enter(rows.rows[1].path, str(loras["ink"]))
    enter(rows.rows[1].numbers["strength"], "0.5")
    enter(control(app, "merge", "target").text, str(tmp_path / "both.safetensors"))
    finish(app, "merge")
    assert made(app) == tmp_path / "both.safetensors"
    shapes = {each.shape for name, each in header.read(made(app)).tensors.items() if name.endswith("lora_down.weight")}
    assert {shape[0] for shape in shapes} == {12}


def test_loras_of_two_families_are_refused_before_the_start(app, loras):
    rows = control(app, "merge", "files")
    go(app, "merge")
    enter(rows.rows[0].path, str(loras["elena"]))
    enter(rows.rows[1].path, str(loras["xl-style"]))
    wait_for(lambda: app.session.desks["merge"].error and not app.session.desks["merge"].is_looking)
    assert app.bars["merge"].start.disabled


def test_a_lora_is_resized_and_the_error_is_told(app, loras):
    fill(app, "resize", file=str(loras["elena"]), rank="4")
    finish(app, "resize")
    assert made(app).name != "elena.safetensors"
    assert "%" in markup(app.made.widget)


def test_blocks_are_listed_and_a_block_is_left_out(app, loras):
    fill(app, "scale", file=str(loras["elena"]), strength="0.5")
    blocks = control(app, "scale", "blocks")
    click(blocks.button)
    assert len(blocks.fields) > 2
    enter(next(iter(blocks.fields.values())), "0")
    finish(app, "scale")
    assert len(header.read(made(app)).tensors) < len(header.read(loras["elena"]).tensors)


def test_a_lora_is_extracted_from_two_checkpoints(app, tmp_path):
    models = tool_files.checkpoints(tmp_path / "models")
    fill(app, "extract", tuned=str(models["anime"]), base=str(models["sd15-base"]))
    wait_for(lambda: app.session.desks["extract"].outlook)
    app.views.show()
    notes = markup(app.root)
    assert "--conv-rank" not in notes
    assert "“Rank of convolutions” includes them" in notes
    finish(app, "extract")
    assert any("lora_down" in name for name in header.read(made(app)).tensors)


def test_a_lora_gets_the_names_of_another_program(app, loras):
    fill(app, "convert", file=str(loras["elena"]), naming="diffusers")
    finish(app, "convert")
    assert any(".lora_A." in name for name in header.read(made(app)).tensors)


def test_metadata_is_written_into_a_new_file_or_in_place(app, loras):
    fill(app, "metadata", file=str(loras["ink"]), **{"modelspec.title": "Ink"})
    finish(app, "metadata")
    assert header.read(made(app)).metadata["modelspec.title"] == "Ink"
    assert "modelspec.title" not in header.read(loras["ink"]).metadata
    fill(app, "metadata", in_place=True)
    assert not on_page(control(app, "metadata", "target").widget)
    finish(app, "metadata")
    assert header.read(loras["ink"]).metadata["modelspec.title"] == "Ink"


def test_every_place_opens_a_section_of_the_guide_that_exists(app):
    for page, section in app.guide.helps.values():
        blocks = [block["id"] for block in guides.read(page) if block["kind"] == "h"]
        assert page in guides.names()
        assert section in blocks, (page, section)


def test_half_of_the_rank_of_a_file_is_proposed_until_the_user_chooses_another(app, loras):
    fill(app, "resize", file=str(loras["elena"]))
    rank = control(app, "resize", "rank").text
    wait_for(lambda: rank.value == "4")
    wait_for(lambda: app.session.desks["resize"].outlook)
    assert "The largest rank is 8 now, and 4 then." in app.session.desks["resize"].outlook.notes[0]
    fill(app, "resize", file=str(loras["ink"]))
    wait_for(lambda: rank.value == "2")
    fill(app, "resize", rank="3")
    fill(app, "resize", file=str(loras["elena"]))
    wait_for(lambda: app.session.desks["resize"].outlook and not app.session.desks["resize"].is_looking)
    assert rank.value == "3"


def test_looking_inside_shows_what_smaller_ranks_cost_and_what_the_blocks_are(app, loras):
    fill(app, "inspect", file=str(loras["elena"]))
    finish(app, "inspect")
    page = markup(app.root)
    assert "Smaller rank" in page
    assert "IN are the blocks on the way into the UNet" in page
    assert "--easel-share:1.000" in page, "the largest block has the longest bar"
    fill(app, "resize", file=str(loras["elena"]), rank="4")
    wait_for(lambda: app.session.desks["resize"].outlook and not app.session.desks["resize"].is_looking)
    assert "The error will be about" in app.session.desks["resize"].outlook.notes[0]
