"""The model panel as somebody meets it: a link is looked at, fetched and trained on; what lies beside a model is found."""

from playwright.sync_api import expect

from tests.core import recorded_headers
from tests.core.misbehaving import running
from tests.ui.page import prepare


def fill(page, label, text):
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Enter")


def test_a_link_is_looked_at_fetched_and_chosen(notebook, page, home, tmp_path):
    root = recorded_headers.write("folder-sdxl-tiny", tmp_path)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with running() as hub:
        hub.hub("org/tiny-sdxl", files)
        notebook(prepare(home), HF_ENDPOINT=hub.url).run()
        fill(page, "Path or link", "org/tiny-sdxl")
        expect(page.get_by_text("is a diffusers folder: Stable Diffusion XL", exact=False)).to_be_visible()
        expect(page.get_by_text("is a checkpoint: Stable Diffusion 1.5")).to_be_visible()
        page.get_by_role("button", name="Download").click()
        expect(page.get_by_label("Path or link", exact=True)).to_have_value(
            str(home / "models" / "diffusers" / "tiny-sdxl")
        )
    expect(page.get_by_text("is a diffusers folder: Stable Diffusion XL", exact=False)).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_hidden()


def test_what_lies_beside_a_model_is_found_and_what_is_missing_is_offered(notebook, page, home):
    settings = prepare(home)
    for name in ("flux-dev", "t5xxl", "vae-flux"):
        recorded_headers.write_file(home / "models" / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    notebook(settings | {"model.path": str(home / "models" / "flux-dev.safetensors")}, EASEL_ENGINE="kohya").run()
    expect(page.get_by_label("T5-XXL", exact=True)).to_have_value(str(home / "models" / "t5xxl.safetensors"))
    expect(page.get_by_text("found here", exact=True)).to_have_count(2)
    expect(page.get_by_role("button", name="Fetch CLIP")).to_be_visible()
