"""Which columns of samples Results shows when a run saves and makes samples at different steps."""

from __future__ import annotations

from tests.support.page import go, prepare
from tests.support.sampled import add_samples
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.prepare.workbench import Workbench
from trainer_ui.components.sample_grid import FEW, Column, few


def test_of_many_checkpoints_those_with_samples_are_shown_first(tmp_path):
    image = {0: tmp_path / "sample.png"}
    columns = [Column(step, str(step), image if step % 250 == 0 else {}, star=False) for step in range(10, 801, 10)]
    assert [columns[at].key for at in few(columns)] == [250, 500, 750]
    without = [Column(step, str(step), {}, star=False) for step in range(10, 801, 10)]
    assert len(few(without)) == FEW
    filled = [Column(step, str(step), image, star=step == 30) for step in range(10, 801, 10)]
    assert len(few(filled)) == FEW
    assert {10, 30, 800} <= {filled[at].key for at in few(filled)}


def test_samples_without_a_checkpoint_stand_between_those_next_to_them(home, open_app):
    bench = Workbench(engine="rehearsal")
    bench.set({**prepare(home, 40, steps_per_second=0), "output.save_every_steps": 10, "sampling.every_steps": 0})
    run = bench.start()
    assert run.wait(120) in FINAL_STATES
    add_samples(run, (15, 25), prompts=1)
    app = open_app()
    go(app, "results")
    grid = app.results.parts.grid
    columns = {one["key"]: one for one in grid.content["columns"]}
    assert [one["title"] for one in columns.values()] == ["10", "15", "20", "25", "30", "40"]
    assert (columns[15]["more"], columns[15]["star"]) == ("no checkpoint", None)
    grid._handle_custom_msg({"kind": "choose", "key": 15}, [])
    assert grid.chosen == 40, "what is chosen is a checkpoint"
