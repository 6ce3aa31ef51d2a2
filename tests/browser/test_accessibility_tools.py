"""axe-core's rules on every place of the notebooks for checkpoints, in JupyterLab, in light and dark."""

from tests.support import small_models
from tests.support.axe import READY, TWO, look, seen
from tests.support.tool_pages import enter


def test_axe_finds_nothing_in_the_checkpoint_merger(notebook, page, tmp_path, with_axe):
    base = small_models.arrays("sd15", 1)
    model = small_models.write(tmp_path / "one.safetensors", base)
    other = small_models.write(tmp_path / "two.safetensors", small_models.near(base, 2))
    notebook(shipped="Checkpoint_Merger").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "merger, first", TWO)
    enter(page, "Model A", model)
    enter(page, "Model B", other)
    page.get_by_role("button", name="Merge", exact=True).locator("visible=true").click()
    page.locator(".easel-tool-made:visible").wait_for()
    found += seen(page, "Job", "Jobs", "Bake LoRAs")
    assert found == []


def test_axe_finds_nothing_in_the_model_converter(notebook, page, tmp_path, with_axe):
    model = small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))
    notebook(shipped="Model_Converter").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "converter, first", TWO)
    enter(page, "File or folder 1", model)
    found += seen(page, "Convert", "Check", "Jobs")
    assert found == []
