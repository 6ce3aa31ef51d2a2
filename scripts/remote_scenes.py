"""What `photograph_notebook.py` shows of the notebook for training on other machines."""

import json
import os

from scripts.photographed_files import job

THEMES = ("light", "dark")
STYLE = "resources/style_images/16_foggy_valleys"
VERSIONS = [
    (
        "v1.0",
        "completed",
        1e-4,
        1200,
        "s3://my-bucket/easel/runs/style_16_v1.0-0f3a9c21/output/style_16_v1.0.safetensors",
    ),
    ("v1.1", "training", 4e-4, 1000, None),
    ("test_001", "failed", 4e-4, 600, None),
]


def written(home):
    """A home with a form of the LoRA Trainer, a machine, an endpoint, prices, and a style with three versions."""
    from trainer_core.prepare import kept_form
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.remote import kept_settings
    from trainer_core.remote.machines import book

    os.environ["EASEL_HOME"] = str(home)
    bench = Workbench(engine="rehearsal")
    bench.set(job(home, steps_per_second=20))
    kept_form.keep(kept_form.kept_in("lora_trainer"), kept_form.form_of(bench))
    book.keep(book.Entry("gpu-box", "me@gpu-box.example:2222"))
    kept_settings.keep_setting("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", "abc123def456")
    kept_settings.keep_setting("S3_USER_BUCKET", "my-bucket")
    kept_settings.keep(styles=str(home), gpu="RTX 4090")
    kept_settings.keep_price("runpod", 0.69)
    folder = home / STYLE
    folder.mkdir(parents=True)
    rows = []
    for number, (name, status, rate, steps, lora) in enumerate(VERSIONS):
        parameters = {"network_dim": 16, "network_alpha": 16, "learning_rate": rate, "max_train_steps": steps}
        made = f"2026-11-{20 + number}T10:30:00Z"
        row = {"id": f"style_16_{number}", "name": name, "timestamp": made, "parameters": parameters, "status": status}
        rows.append({**row, "imageCount": 30, "selectionSetId": 1, **({"loraUrl": lora} if lora else {})})
    (folder / "training_versions.json").write_text(json.dumps({"versions": rows}))
    sets = [{"id": 1, "name": "Set 1", "images": [f"image_{number:03}.jpg" for number in range(30)]}]
    (folder / "selection_sets.json").write_text(json.dumps({"sets": sets}))


def take(camera, scratch):
    """The notebook before anything was set, with a trainer chosen, its versions, and the accounts."""
    page = camera.page
    camera.open(scratch / "remote-first", notebook="Remote_Training")
    camera.shoot("9-remote-first", themes=THEMES)
    home = scratch / "remote"
    written(home)
    camera.open(home, notebook="Remote_Training")
    camera.widen()
    page.get_by_role("radio", name="RunPod").click()
    page.wait_for_timeout(1500)
    camera.shoot("9-remote-ready", themes=THEMES)
    camera.widen()
    page.get_by_role("radio", name="A style or an actor").click()
    page.wait_for_timeout(2000)
    camera.shoot("9-remote-style", ("1280", "390"), THEMES)
    camera.go("Versions")
    page.locator(".easel-acts-item").first.wait_for()
    camera.shoot("9-remote-versions", themes=THEMES)
    camera.go("Accounts")
    page.wait_for_timeout(1000)
    camera.shoot("9-remote-accounts", themes=THEMES)
