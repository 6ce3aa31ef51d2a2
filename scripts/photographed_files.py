"""What `photograph_notebook.py` shows of datasets and files, and the images and settings that all its scenes use."""

import os
import shutil

from PIL import Image, ImageDraw, ImageFilter

from tests.support import recorded_headers

THEMES = ("light", "dark", "cyberpunk", "minimal", "auto")


def draw(folder):
    """Images of a figure before coloured grounds, with captions."""
    folder.mkdir(parents=True)
    for number in range(24):
        wide = (768, 1024) if number % 3 else (1024, 1024)
        hue = (number * 37) % 360
        image = Image.new("RGB", wide, f"hsl({hue}, 35%, {62 + number % 4 * 6}%)")
        drawn = ImageDraw.Draw(image)
        x, y, r = wide[0] // 2 + (number % 5 - 2) * 30, wide[1] // 2, 150 + number % 4 * 25
        drawn.ellipse((x - 2 * r, y + r // 2, x + 2 * r, y + 5 * r), fill=f"hsl({(hue + 160) % 360}, 40%, 32%)")
        drawn.ellipse((x - r, y - r * 1.5, x + r, y + r), fill="#8a3b22")
        drawn.ellipse((x - r * 0.72, y - r, x + r * 0.72, y + r * 0.9), fill="#e8b59a")
        image.filter(ImageFilter.GaussianBlur(5)).save(folder / f"elena{number:02}.png")
        (folder / f"elena{number:02}.txt").write_text("elenavr, a woman with red hair, portrait")


def job(home, **rehearsal):
    models = home / "models"
    models.mkdir(parents=True, exist_ok=True)
    if not (models / "sd15.safetensors").exists():
        recorded_headers.write("sd15", models)
        draw(home / "images" / "elena")
    return {
        "model.path": str(models / "sd15.safetensors"),
        "dataset.path": str(home / "images" / "elena"),
        "dataset.trigger": "elenavr",
        "output.name": "elena_v3",
        "schedule.steps": 600,
        "schedule.warmup_steps": 20,
        "sampling.every_steps": 120,
        "output.save_every_steps": 120,
        "native": {"rehearsal": rehearsal} if rehearsal else {},
    }


def dataset(camera, scratch):
    """The dataset app: empty, and with images of which some have something wrong."""
    home, page = scratch / "datasets", camera.page
    camera.open(home, notebook="Dataset_Preparation")
    camera.shoot("9-dataset-first")
    folder = home / "datasets" / "elena"
    draw(folder)
    spoil(folder)
    camera.open(home, notebook="Dataset_Preparation")
    page.get_by_role("button", name="Open the dataset elena").click()
    page.wait_for_function("() => document.querySelectorAll('.easel-tile img[src]').length > 10")
    listed = page.get_by_role("listbox", name="Images of the dataset")
    listed.focus()
    for key in ("ArrowRight", "k", "r", " ", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_timeout(1500)
    camera.shoot("9-dataset-images")
    camera.widen()
    camera.go("Captions")
    page.get_by_label("What to do", exact=True).select_option(label="Replace a tag")
    page.get_by_label("Tag", exact=True).fill("portrait")
    page.get_by_label("Tag", exact=True).press("Enter")
    page.get_by_label("New tag", exact=True).fill("a portrait photo")
    page.get_by_label("New tag", exact=True).press("Enter")
    page.wait_for_timeout(1500)
    camera.shoot("9-dataset-captions")
    camera.widen()
    camera.go("Tagging")
    page.wait_for_timeout(500)
    camera.shoot("9-dataset-tag")
    camera.widen()
    camera.go("Check")
    page.get_by_role("button", name="Look for copies").click()
    page.wait_for_timeout(4000)
    page.get_by_role("button", name="Look at every image").click()
    page.wait_for_timeout(4000)
    camera.shoot("9-dataset-check")
    camera.widen()
    page.locator("button").filter(has_text="Save as UTF-8").click()
    page.wait_for_timeout(2500)
    camera.go("Edits and export")
    camera.shoot("9-dataset-edits")


def image_folders(camera, scratch):
    """The dataset's card of a trainer: several folders, what is wrong with one, a selection, and the form for captions."""
    from trainer_core.curation import selections

    image_pairs(camera, scratch)
    if camera.only == "9-folders-pairs":
        return
    home, page = scratch / "folders", camera.page
    settings = job(home)
    root, others = home / "images" / "elena", home / "images" / "more"
    selections.keep(root, "production", [f"elena{number:02}.png" for number in range(18)])
    draw(others / "10_red coat")
    for path in sorted((others / "10_red coat").iterdir())[12:]:
        path.unlink()
    shutil.copytree(root, others / "women")
    folders = [
        {"path": str(others / "10_red coat"), "repeats": 10, "caption": "red coat", "keep_tokens": 1},
        {"path": str(others / "women"), "kind": "regularisation", "caption": "a woman"},
    ]
    more = {"dataset.subsets": folders, "dataset.selection": "production"}
    (root / "elena05.txt").unlink()
    camera.open(home, {**settings, **more})
    page.wait_for_function("() => document.querySelectorAll('.easel-folder').length === 3")
    # The bar stays in sight, and would cover what is to be seen.
    page.add_style_tag(content=".easel-more-folders, .easel-folder-adding, .easel-machine { scroll-margin-top: 260px }")
    camera.shoot("9-folders-closed", themes=THEMES[:2], at=".easel-more-folders")
    camera.widen()
    page.get_by_role("button", name="Selection, masks and held-out images").click()
    page.locator(".easel-folder summary").first.click()
    page.wait_for_timeout(1000)
    camera.shoot("9-folders", themes=THEMES[:2], at=".easel-more-folders")
    camera.widen()
    page.get_by_role("button", name="Add another folder").click()
    page.locator(".easel-folder-adding").wait_for()
    camera.shoot("9-folders-add", themes=THEMES[:2], at=".easel-folder-adding")
    camera.widen()
    page.get_by_role("button", name="Caption these").click()
    page.get_by_role("radio", name="A captioner").wait_for()
    page.wait_for_timeout(1000)
    camera.shoot("9-folders-caption", themes=THEMES[:2], at=".easel-machine")


def image_pairs(camera, scratch):
    """The dataset's card of a trainer with a model that edits images: its pairs, and images without a partner."""
    home, page = scratch / "pairs", camera.page
    settings = job(home)
    model = recorded_headers.write("folder-flux-kontext", home / "models")
    root, before = home / "images" / "elena", home / "images" / "before"
    before.mkdir()
    for path in sorted(root.glob("*.png"))[1:]:
        Image.open(path).convert("L").save(before / path.name)
        path.with_suffix(".txt").write_text(f"add the colours of image {path.stem[-2:]}")
    (before / "elena05.png").rename(before / "elena99.png")
    paired = {"model.path": str(model), "dataset.controls": str(before), "dataset.trigger": ""}
    camera.open(home, {**settings, **paired})
    page.get_by_role("button", name="Control images").click()
    page.wait_for_function(
        "() => document.querySelectorAll('.easel-pairs-shown .easel-gallery-tile img[src]').length === 16"
    )
    page.add_style_tag(content=".easel-pairs-shown { scroll-margin-top: 260px }")
    camera.shoot("9-folders-pairs", themes=THEMES[:2], at=".easel-pairs-shown")


def files(camera, scratch):
    """The file uploader: empty, with files that arrive, a folder with one of them chosen, and the trash."""
    from trainer_core.keeping import bounds, trash

    home, page = scratch / "files", camera.page
    camera.open(scratch / "files-first", notebook="File_Uploader")
    camera.shoot("9-files-first")
    os.environ["EASEL_HOME"] = str(home)
    draw(home / "datasets" / "elena")
    (home / "models" / "checkpoints").mkdir(parents=True)
    (home / "outputs").mkdir()
    for name, size in (
        ("elena_v3.safetensors", 151_000_000),
        ("elena_v2.safetensors", 75_500_000),
        ("elena_v3-public.safetensors", 151_000_000),
        ("notes.txt", 2_400),
        ("samples.zip", 48_000_000),
    ):
        with (home / "outputs" / name).open("wb") as file:
            file.truncate(size)
    trash.delete(bounds.named("outputs/elena_v2.safetensors"))
    trash.delete(bounds.named("datasets/elena/elena03.png"))
    send = scratch / "send"
    send.mkdir()
    for name, size in (("elena_v3.safetensors", 60_000_000), ("photos.zip", 90_000_000)):
        with (send / name).open("wb") as file:
            file.truncate(size)
    camera.open(home, notebook="File_Uploader")
    camera.widen()
    page.get_by_role("radio", name="Results of your trainings").click()
    chosen = page.locator(".easel-arrive input[type=file]").first
    chosen.set_input_files([send / "photos.zip"])
    page.locator(".easel-arrive-is-ok").wait_for()
    chosen.set_input_files([send / "elena_v3.safetensors"])
    page.get_by_role("button", name="Keep both").wait_for()
    camera.shoot("9-files-arriving")
    camera.widen()
    page.get_by_role("button", name="Leave it out").click()
    continued(camera, home, send)
    camera.go("From a link")
    page.wait_for_timeout(500)
    camera.shoot("9-files-link")
    camera.widen()
    camera.go("Files")
    page.get_by_label("Folder", exact=True).select_option(label="Results of your trainings")
    page.locator(".easel-files-row").filter(has_text="elena_v3.safetensors").click()
    page.wait_for_timeout(1500)
    camera.shoot("9-files-list")
    camera.widen()
    camera.go("Trash")
    page.wait_for_timeout(500)
    camera.shoot("9-files-trash")


def continued(camera, home, send):
    """A part of a file in another folder than the chosen one: its row, the question, and the bar while the file arrives."""
    from trainer_core.keeping import bounds, receiving

    page = camera.page
    large = send / "base.safetensors"
    with large.open("wb") as file:
        file.truncate(610_000_000)
    (home / "models" / "checkpoints").mkdir(exist_ok=True)
    receiver = receiving.Receiver(bounds.spot("models", "checkpoints"))
    [one] = receiver.announce([{"path": large.name, "size": large.stat().st_size}])
    for number in range(20):
        receiver.write(one.id, number << 23, bytes(8 << 20))
    receiver.close()
    page.get_by_role("radio", name="Models").first.click()
    page.get_by_role("button", name="Continue with models/checkpoints/base.safetensors").wait_for()
    page.locator(".easel-arrive input[type=file]").first.set_input_files([large])
    page.get_by_role("button", name="Continue in models/checkpoints").wait_for()
    camera.shoot("9-files-continue", themes=THEMES[:2])
    camera.widen()
    page.get_by_role("button", name="Continue in models/checkpoints").click()
    page.locator(".easel-files-bar:visible").get_by_text("Sending 1 of 1").wait_for()
    page.get_by_role("button", name="Pause").click()
    camera.shoot("9-files-sending", themes=THEMES[:2])
    camera.widen()
    page.get_by_role("button", name="Stop", exact=True).locator("visible=true").click()


def spoil(folder):
    """Makes some of the images and captions as they come from elsewhere."""
    first, second, third = sorted(folder.glob("*.png"))[:3]
    shutil.copy(first, folder / "copy of elena00.png")
    Image.open(second).resize((384, 512)).save(folder / "small copy.jpg")
    Image.open(third).filter(ImageFilter.GaussianBlur(14)).save(folder / "blurred.png")
    (folder / "web.jpg").write_text("<html>404</html>")
    (folder / "elena05.txt").write_bytes(b"")
    (folder / "elena06.txt").write_bytes("elenavr, on a Brücke".encode("latin-1"))
    (folder / "elena07.txt").unlink()
    (folder / "elena08.txt").write_text("(masterpiece:1.3), elenavr, a woman")
