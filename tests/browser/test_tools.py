"""The notebooks for model files in JupyterLab, by keyboard, on small real files: a merge, a look into a LoRA, a conversion and a check."""

from playwright.sync_api import expect

from tests.support import small_models, tool_files
from tests.support.tool_pages import fits, opened, start, type_into


def test_two_checkpoints_are_merged(notebook, page, home, tmp_path):
    base = small_models.arrays("sd15", 1)
    one = small_models.write(tmp_path / "one.safetensors", base)
    two = small_models.write(tmp_path / "two.safetensors", small_models.near(base, 2))
    keyboard = opened(notebook, page, "Checkpoint_Merger")
    type_into(keyboard, "Model A", one)
    expect(page.get_by_text("one.safetensors is a checkpoint: Stable Diffusion 1.5")).to_be_visible()
    # What was typed counts after a pause, without Enter.
    keyboard.tab_to("Model B$", "text")
    page.keyboard.type(str(two))
    expect(page.get_by_text("Makes one-two-weighted_sum-0.5.safetensors")).to_be_visible()
    start(keyboard, "Merge")
    assert (home / "models" / "checkpoints" / "one-two-weighted_sum-0.5.safetensors").is_file()
    expect(page.locator(".easel-tool-made")).to_contain_text("What was made")
    fits(page)


def test_a_lora_is_looked_into_and_goes_on_to_another_tool(notebook, page, tmp_path):
    lora = tool_files.loras(tmp_path / "loras")["elena"]
    keyboard = opened(notebook, page, "Lora_Utilities")
    type_into(keyboard, "LoRA", lora)
    start(keyboard, "Look inside")
    report = page.locator(".easel-lora-report")
    expect(report).to_contain_text("elenavr")
    expect(report.locator("th[scope=row]").first).to_be_visible()
    fits(page)
    keyboard.tab_to("Resize$", "submit").press("Enter")
    expect(page.get_by_label("LoRA", exact=True).locator("visible=true")).to_have_value(str(lora))
    fits(page)


def test_a_model_is_converted_and_checked(notebook, page, tmp_path):
    model = small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))
    keyboard = opened(notebook, page, "Model_Converter")
    type_into(keyboard, "File or folder 1", model)
    expect(page.get_by_text("The new file would be the same as the old one.")).to_be_visible()
    # ipywidgets writes the spaces of an option as spaces that do not break.
    keyboard.choose("Precision$", "16 bits, bf16".replace(" ", "\xa0"))
    keyboard.press("Tab")
    start(keyboard, "Convert")
    assert (tmp_path / "model-bf16.safetensors").is_file()
    keyboard.tab_to("Check$", "submit").press("Enter")
    # The button that was pressed has the name of the one that starts.
    expect(page.get_by_text("Nothing is written.").locator("visible=true")).to_be_visible()
    start(keyboard, "Check")
    expect(page.get_by_text("No number is NaN or infinite.").locator("visible=true").first).to_be_visible()
    fits(page)
