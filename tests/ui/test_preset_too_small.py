"""A memory preset that is too small for the job is the first thing that is seen."""

from tests.support import engine_plans, recorded_headers
from tests.support.page import click, on_page, unfold
from trainer_core.hardware import Accelerator
from trainer_core.prepare.workbench import Workbench
from trainer_ui.apps.lora_trainer import LoraTrainer

GIB = 2**30
MACHINE = engine_plans.machine(Accelerator("cuda", "a card", 16 * GIB, 15 * GIB, "8.6"))


def test_a_preset_that_is_too_small_is_the_first_thing_that_is_seen(home):
    home.mkdir(parents=True)
    recorded_headers.write("flux-dev", home)
    values = {"model.path": str(home / "flux-dev.safetensors"), "sampling.width": 1024, "model.vae": "/no/vae"}
    app = LoraTrainer(Workbench(MACHINE, "kohya"), values, preset="flux-16")
    app.open()
    try:
        unfold(app.memory.step)
        choice, problems = app.memory.choice, app.launch.problems
        assert on_page(choice.lacks)
        assert choice.widget.children[0] is choice.lacks
        assert "may not fit into the 16 GB" in choice.short.value
        assert "easel-mark-warn" in app.memory.step.head.value
        at_once = [row for row in problems.rows if on_page(row.widget) and "easel-later" not in row.widget._dom_classes]
        assert any("may not fit into the 16 GB" in row.text.value for row in at_once)
        first = next(one for one in app.session.problems if one.severity == "warning")
        assert "may not fit into the 16 GB" in first.message
        click(choice.mend)
        assert not on_page(choice.lacks)
    finally:
        app.close()
