"""The scenes of `photograph_notebook.py` with the notebooks for model files: each place empty and filled, refused, its job, all jobs."""

from tests.support import tool_files

LOOKS = ("light", "dark")


def enter(page, label, text):
    """Types into the field with this label, of the place that is shown."""
    field = page.get_by_label(label, exact=True).locator("visible=true").first
    field.fill(str(text))
    field.press("Enter")


def look(camera, title):
    """Waits until the page has settled, and takes its screenshots."""
    camera.page.wait_for_timeout(1500)
    camera.shoot(title, themes=LOOKS)
    camera.widen()


def start(camera, words, title):
    """Starts the tool of the place that is shown, and takes screenshots of what it has made."""
    page = camera.page
    page.get_by_role("button", name=words, exact=True).locator("visible=true").click()
    page.locator(".easel-tool-made:visible").wait_for()
    look(camera, title)


def merger(camera, home, models, loras):
    page = camera.page
    camera.open(home, notebook="Checkpoint_Merger")
    look(camera, "9-tools-merge-empty")
    enter(page, "Model A", models["anime"])
    enter(page, "Model B", models["xl"])
    look(camera, "9-tools-merge-refused")
    enter(page, "Model B", models["photo"])
    look(camera, "9-tools-merge-filled")
    page.get_by_role("button", name="Blocks and parts").click()
    look(camera, "9-tools-merge-blocks")
    start(camera, "Merge", "9-tools-merge-made")
    camera.go("Bake LoRAs")
    enter(page, "Checkpoint", models["anime"])
    enter(page, "LoRA 1", loras["fitting"])
    page.get_by_role("button", name="Add another").locator("visible=true").click()
    look(camera, "9-tools-bake-filled")
    camera.go("Jobs")
    look(camera, "9-tools-merge-jobs")


def lora_tools(camera, home, loras, models):
    page = camera.page
    camera.open(home, notebook="Lora_Utilities")
    look(camera, "9-tools-lora-empty")
    enter(page, "LoRA", loras["elena"])
    start(camera, "Look inside", "9-tools-lora-inside")
    camera.go("Merge")
    enter(page, "LoRA 1", loras["elena"])
    enter(page, "LoRA 2", loras["ink"])
    look(camera, "9-tools-lora-merge")
    camera.go("Scale")
    enter(page, "LoRA", loras["elena"])
    page.get_by_role("button", name="Show its blocks").click()
    look(camera, "9-tools-lora-scale")
    camera.go("Resize")
    enter(page, "LoRA", loras["elena"])
    enter(page, "Largest rank", 4)
    look(camera, "9-tools-lora-resize")
    start(camera, "Resize", "9-tools-lora-resized")
    camera.go("Extract")
    enter(page, "Finetuned model", models["anime"])
    enter(page, "Base model", models["sd15-base"])
    look(camera, "9-tools-lora-extract")
    camera.go("Convert")
    look(camera, "9-tools-lora-convert")


def says(camera, home, loras, models):
    """What a file says of itself: its metadata, an edit of it, and its upload."""
    page = camera.page
    camera.open(home, notebook="Lora_Utilities")
    camera.go("Metadata")
    enter(page, "LoRA", loras["elena"])
    look(camera, "9-tools-says-now")
    enter(page, "Title", "Elena, second version")
    enter(page, "Author", "Jane")
    page.get_by_role("checkbox", name="Remove what is personal").locator("visible=true").check()
    look(camera, "9-tools-says-edit")
    camera.go("Publish")
    look(camera, "9-tools-says-empty")
    enter(page, "LoRA", models["anime"])
    look(camera, "9-tools-says-refused")
    enter(page, "LoRA", loras["elena"])
    page.locator(".easel-publish textarea:visible").wait_for()
    look(camera, "9-tools-says-card")


def converter(camera, home, models):
    page = camera.page
    camera.open(home, notebook="Model_Converter")
    look(camera, "9-tools-convert-empty")
    enter(page, "File or folder 1", models["anime"])
    look(camera, "9-tools-convert-refused")
    page.get_by_label("Form", exact=True).locator("visible=true").select_option(
        label="A folder in the diffusers layout"
    )
    look(camera, "9-tools-convert-filled")
    start(camera, "Convert", "9-tools-convert-made")
    camera.go("Check")
    enter(page, "File or folder", models["anime"])
    look(camera, "9-tools-check-filled")
    start(camera, "Check", "9-tools-check-made")


def take(camera, scratch):
    """All scenes whose names `--only` asks for."""
    home = scratch / "tools"
    models = tool_files.checkpoints(home / "models")
    loras = tool_files.loras(home / "loras") | {"fitting": tool_files.fitting_lora(home / "loras")}
    if camera.wants("9-tools-merge") or camera.wants("9-tools-bake"):
        merger(camera, home, models, loras)
    if camera.wants("9-tools-lora"):
        lora_tools(camera, home, loras, models)
    if camera.wants("9-tools-says"):
        says(camera, home, loras, models)
    if camera.wants("9-tools-convert") or camera.wants("9-tools-check"):
        converter(camera, home, models)
