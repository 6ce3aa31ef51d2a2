"""A LoRA is baked into a checkpoint, gets other metadata, and is uploaded to a hub on loopback, by keyboard in JupyterLab."""

import re

import pytest
from playwright.sync_api import expect

from tests.support import hub as hubs
from tests.support import small_models, tool_files
from tests.support.keyboard import Keyboard
from tests.support.page import wait_for
from tests.support.pages import go
from tests.support.tool_pages import fits, opened, start, type_into
from trainer_core.models import header
from trainer_core.tools import bake


def at(page, place):
    """A person with a keyboard, at the tab of a place."""
    go(page, place)
    page.get_by_role("tab", name=place, exact=True).focus()
    return Keyboard(page)


def test_a_lora_is_baked_and_the_file_is_that_of_the_core(notebook, page, tmp_path):
    model = small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))
    lora, baked, same = tool_files.fitting_lora(tmp_path), tmp_path / "baked.safetensors", tmp_path / "same.safetensors"
    opened(notebook, page, "Checkpoint_Merger")
    keyboard = at(page, "Bake LoRAs")
    type_into(keyboard, "Checkpoint", model)
    type_into(keyboard, "LoRA 1", lora)
    keyboard.enter("Strength$", "0.5")
    type_into(keyboard, "New file", baked)
    expect(page.get_by_text("Makes baked.safetensors")).to_be_visible()
    start(keyboard, "Bake")
    fits(page)
    # The title of the file is that of its name.
    wanted = bake.Settings(
        model=str(model),
        networks=(str(lora),),
        strengths=(0.5,),
        text_strengths=(1.0,),
        target=str(same),
        title="baked",
    )
    bake.run(wanted, lambda _: None)
    assert baked.read_bytes() == same.read_bytes()
    assert baked.read_bytes() != model.read_bytes()


def test_metadata_is_read_changed_in_the_file_and_taken_back(notebook, page, tmp_path):
    lora = tool_files.loras(tmp_path / "loras")["elena"]
    before = lora.read_bytes()
    opened(notebook, page, "Lora_Utilities")
    keyboard = at(page, "Metadata")
    type_into(keyboard, "LoRA", lora)
    said = page.locator(".easel-tool-keys").last
    expect(said).to_contain_text("ss_network_dim")
    keyboard.enter("Title$", "Elena the second")
    change = page.locator(".easel-tool-keys li", has_text="then")
    expect(change).to_contain_text(["nowElenathenElena the second"])
    keyboard.tab_to("In the file itself", "checkbox").press("Space")
    expect(page.get_by_role("button", name="Write", exact=True).locator("visible=true")).to_be_enabled()
    start(keyboard, "Write")
    wait_for(lambda: header.read(lora).metadata["modelspec.title"] == "Elena the second")
    keyboard = at(page, "Metadata")
    expect(said).to_contain_text("Elena the second")
    keyboard.choose("What to do$", "Take back".replace(" ", "\xa0")).press("Tab")
    expect(change).to_contain_text(["nowElena the secondthenElena"])
    fits(page)
    expect(page.get_by_role("button", name="Write", exact=True).locator("visible=true")).to_be_enabled()
    keyboard.tab_to("Write$", "submit", back=True).press("Enter")
    wait_for(lambda: lora.read_bytes() == before)


@pytest.fixture
def hub():
    with hubs.running() as server:
        yield server


def test_a_lora_is_uploaded_privately_with_its_card_and_without_personal_metadata(notebook, page, hub, tmp_path, home):
    lora = tool_files.loras(tmp_path / "loras")["elena"]
    surroundings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": ""}
    notebook(shipped="Lora_Utilities", **surroundings).run()
    page.wait_for_selector(".easel[data-easel-keys=kept]")
    keyboard = at(page, "Publish")
    type_into(keyboard, "LoRA", lora)
    card = page.get_by_label("Model card", exact=True)
    expect(card).to_have_value(re.compile("instance_prompt: elenavr"))
    expect(page.locator(".easel-publish")).to_contain_text("the words of your captions")
    keyboard.enter("Repository$", "mika/elena")
    keyboard.tab_to("Model card$").press("ControlOrMeta+End")
    page.keyboard.type("My own words.")
    keyboard.tab_to("Token", "password")
    page.keyboard.type(hubs.WRITE)
    fits(page)
    keyboard.tab_to("Upload\nprivate: only you can see it", "submit", back=True).press("Enter")
    expect(page.locator(".easel-publish")).to_contain_text("Uploaded to mika/elena.")
    assert page.evaluate("() => document.activeElement.closest('.easel') !== null"), "the keyboard is still in the app"
    made = hub.repositories["mika/elena"]
    assert made.private
    assert made.files["README.md"].endswith(b"My own words.")
    assert b"ss_tag_frequency" not in made.files["elena.safetensors"]
    assert hubs.WRITE not in page.content()
    told = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert hubs.WRITE.encode() not in told
