"""Training on another machine in JupyterLab: from the choice to the downloaded LoRA, by keyboard, and without findings of axe-core.

The other machine is a second home of Easel, which a carrier of the tests reaches by starting programs there.
"""

import json
import re

from playwright.sync_api import expect

from tests.support import lab, shipped
from tests.support.axe import READY, TWO, load, look, seen
from tests.support.pages import go
from tests.support.remote_runs import Homes
from trainer_core.prepare import kept_form
from trainer_core.remote import kept_settings
from trainer_core.remote.machines import book
from trainer_core.training.run import list_runs

SECRET = "rpa_PLANTED0123456789SECRET"
ROW = {
    "id": "style_16_1",
    "name": "v1.0",
    "timestamp": "2026-11-20T10:30:00Z",
    "parameters": {"network_dim": 16, "max_train_steps": 1200},
    "status": "completed",
    "loraUrl": "s3://my-bucket/runs/v1.safetensors",
}


def numbers(content):
    """What follows the header of a safetensors file."""
    return content[8 + int.from_bytes(content[:8], "little") :]


def opened(server, page, homes, name):
    """The shipped notebook with a kernel that knows the carrier of the tests."""
    shipped.write(server, name, {"EASEL_HOME": str(homes.here), "EASEL_ENGINE": "rehearsal"}, shipped="Remote_Training")
    content = json.loads((server.root / name).read_text())
    found = [str(homes.folder / "site"), str(lab.ROOT)]
    known = f"import os, sys; sys.path[:0] = {found!r}; os.environ['PYTHONPATH'] = os.pathsep.join({found!r})\n"
    content["cells"][1]["source"] = known + content["cells"][1]["source"]
    (server.root / name).write_text(json.dumps(content))
    lab.Notebook(page, server, name).open().run()
    page.wait_for_selector(READY)


def choose(page, homes):
    """Chooses the second home as the place, by keyboard; JupyterLab takes none of the keys."""
    cells = page.locator(".jp-Cell").count()
    card = page.get_by_role("radio", name=re.compile("^Settings of LoRA Trainer"))
    expect(card).to_be_checked()
    card.focus()
    for key in ("d", "d", "b", "a"):
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells
    page.get_by_role("button", name="Another trainer", exact=True).press("Enter")
    field = page.get_by_label("Another trainer", exact=True).locator("visible=true").and_(page.locator("input"))
    field.fill(f"home:{homes.there}")
    field.press("Enter")
    expect(page.get_by_text("Which GPU trains is known only when it trains")).to_be_visible()
    expect(page.locator(".easel-card").filter(has_text="What happens at the start")).to_contain_text(
        "3 images and 3 captions"
    )
    link = page.get_by_role("link", name="LoRA Trainer")
    assert link.get_attribute("href") == "LoRA_Trainer.ipynb"


def enter_key(page):
    """Enters a key into its masked field; it is nowhere on the page afterwards."""
    go(page, "Accounts")
    page.get_by_role("button", name="Enter API key of RunPod", exact=True).press("Enter")
    key = page.get_by_label("RUNPOD_API_KEY", exact=True)
    expect(key).to_be_focused()
    assert key.get_attribute("type") == "password"
    key.fill(SECRET)
    page.get_by_role("button", name="Keep it in memory").press("Enter")
    expect(page.get_by_text("RUNPOD_API_KEY, found: this session")).to_be_visible()
    assert SECRET not in page.content()


def check_machine(page):
    """The button that asks a machine what it has keeps the keyboard while it is asked, and afterwards."""
    row = page.locator(".easel-acts-item").filter(has_text="box-a")
    check = page.get_by_role("button", name="Check what box-a has")
    check.press("Enter")
    expect(row).to_contain_text(re.compile(r"127\.0\.0\.1:1\. (?!Asking)"))
    expect(check).to_be_enabled()
    expect(check).to_be_focused()


def refuse_machine(page):
    """What is wrong with a new machine is said beside the button that was pressed, in sight on a narrow page, by keyboard."""
    page.set_viewport_size({"width": 700, "height": 600})
    fold = page.get_by_role("button", name="Add a machine", exact=True)
    if fold.get_attribute("aria-expanded") != "true":
        fold.press("Enter")
    add = page.get_by_role("button", name="Add the machine")
    add.press("Enter")
    expect(page.get_by_label("Name of the machine", exact=True)).to_be_focused()
    page.keyboard.type("my box")
    page.keyboard.press("Tab")
    page.get_by_label("Address", exact=True).fill("me@127.0.0.1:1")
    add.press("Enter")
    said = page.get_by_role("status").filter(has_text="cannot be the name of a machine")
    expect(said).to_be_in_viewport()
    expect(add).to_be_focused()
    page.set_viewport_size({"width": 1360, "height": 900})


def check_widths(page):
    """Nothing is wider than the page."""
    for width in (1600, 1280, 700, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for place in ("Prepare", "Versions", "Accounts"):
            go(page, place)
            wide = page.evaluate(
                "() => { const app = document.querySelector('.easel'); return app.scrollWidth - app.clientWidth }"
            )
            assert wide <= 1, f"{place} at {width} is {wide} pixels too wide"


def test_a_training_goes_to_another_machine_and_its_lora_is_downloaded(server, page, home, tmp_path, monkeypatch):
    homes = Homes(tmp_path / "homes", monkeypatch)
    # Few files: each is fetched by a program of its own.
    bench = homes.bench(steps=4, more={"output.save_every_steps": 0, "sampling.every_steps": 0})
    kept_form.keep(kept_form.kept_in("lora_trainer"), kept_form.form_of(bench))
    folder = homes.here / "resources" / "style_images" / "16_foggy"
    folder.mkdir(parents=True)
    (folder / "training_versions.json").write_text(json.dumps({"versions": [ROW]}))
    kept_settings.keep(styles=str(homes.here))
    for name in ("box-a", "box-b"):
        book.keep(book.Entry(name, "me@127.0.0.1:1"))
    opened(server, page, homes, "remote.ipynb")
    load(page)

    choose(page, homes)
    found = look(page, "Prepare", TWO)
    page.get_by_role("button", name=re.compile("^Start on ")).press("Enter")

    # A remote run is a run: it is watched like any other, while the other places are used.
    expect(page.get_by_role("tab", name=re.compile("^Watch"))).to_have_attribute("aria-selected", "true")
    go(page, "Versions")
    expect(page.locator(".easel-acts-item").filter(has_text="v1.0")).to_contain_text("completed")
    found += look(page, "Versions", TWO)
    enter_key(page)
    check_machine(page)
    refuse_machine(page)
    found += seen(page, "Accounts")
    assert found == []

    go(page, "Watch")
    page.wait_for_function("() => document.querySelector('.easel-monitor')?.dataset.state === 'COMPLETED'")
    go(page, "Results")
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("^Download")).first.press("Enter")
    saved = tmp_path / "lora.safetensors"
    waiting.value.save_as(saved)
    [there] = list_runs(homes.there / "remote-runs")
    [trained] = [path.read_bytes() for path in there.folder.output.rglob("*.safetensors")]
    # The header got more about the training here; the numbers are those of the other machine.
    assert numbers(saved.read_bytes()) == numbers(trained)
    for path in homes.here.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    check_widths(page)
    for session in server.call("sessions"):
        server.call(f"sessions/{session['id']}", "DELETE")
