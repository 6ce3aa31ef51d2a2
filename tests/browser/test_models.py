"""The model panel in a browser: a link is inspected, downloaded and chosen; companion files are found."""

from playwright.sync_api import expect

from tests.support import recorded_headers
from tests.support.misbehaving import running
from tests.support.page import prepare
from tests.support.pages import fill, unfold


def test_a_link_is_inspected_downloaded_and_chosen(notebook, page, home, tmp_path):
    root = recorded_headers.write("folder-sdxl-tiny", tmp_path)
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with running() as hub:
        hub.hub("org/tiny-sdxl", files)
        notebook(prepare(home), HF_ENDPOINT=hub.url).run()
        unfold(page, "Model")
        fill(page, "Path or link", "org/tiny-sdxl")
        expect(page.get_by_text("is a diffusers folder: Stable Diffusion XL", exact=False)).to_be_visible()
        expect(page.get_by_text("The base model org/tiny-sdxl does not exist.", exact=False)).to_be_visible()
        page.get_by_role("button", name="Download").click()
        expect(page.get_by_label("Path or link", exact=True)).to_have_value(
            str(home / "models" / "diffusers" / "tiny-sdxl")
        )
    expect(page.get_by_text("is a diffusers folder: Stable Diffusion XL", exact=False)).to_be_visible()
    expect(page.get_by_role("button", name="Download")).to_be_hidden()


def test_companion_files_are_found_and_missing_ones_are_offered(notebook, page, home):
    settings = prepare(home)
    for name in ("flux-dev", "t5xxl", "vae-flux"):
        recorded_headers.write_file(home / "models" / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    notebook(settings | {"model.path": str(home / "models" / "flux-dev.safetensors")}, EASEL_ENGINE="kohya").run()
    unfold(page, "Model")
    expect(page.get_by_label("T5-XXL", exact=True)).to_have_value(str(home / "models" / "t5xxl.safetensors"))
    expect(page.get_by_role("button", name="found here")).to_have_count(2)
    expect(page.get_by_role("button", name="Fetch CLIP")).to_be_visible()
