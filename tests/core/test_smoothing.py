"""The smoothed loss is one figure everywhere: in the summary, the history, a comparison and the chart of the page."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.support.written_runs import write_events, write_run
from trainer_core import events
from trainer_core.events import Step
from trainer_core.jobs import smoothing
from trainer_core.jobs.summary import Summary
from trainer_core.training import history
from trainer_core.training.losses import Losses
from trainer_core.training.run import Run

CHART = Path(__file__).parents[2] / "trainer_ui" / "components" / "chart.js"
LOSSES = [1.0, 0.5, float("nan"), 0.4, 0.9, *(0.3 + number % 7 / 100 for number in range(200))]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))


def in_the_chart() -> float:
    """The formula of the page's chart, with its own constant."""
    text = CHART.read_text("utf-8")
    smoothest = float(re.search(r"const SMOOTHEST = ([0-9.]+);", text)[1])
    assert "Math.max(SMOOTHEST, 1 / (1 + this.seen++ * 0.1))" in text
    mean, seen = 0.0, 0
    for loss in LOSSES:
        if math.isfinite(loss):
            share = max(smoothest, 1 / (1 + seen * 0.1))
            seen += 1
            mean = loss if seen == 1 else mean + share * (loss - mean)
    return mean


def test_summary_comparison_and_history_have_the_figure_of_the_chart():
    steps = [Step(number, loss, 1e-4) for number, loss in enumerate(LOSSES, 1)]
    summary = Summary()
    summary.take(steps)
    assert summary.smoothed_loss == pytest.approx(in_the_chart())
    assert list(smoothing.smoothed(LOSSES))[-1] == pytest.approx(in_the_chart())
    path = write_run("20260101-100000-a", result={"summary": summary.figures()})
    write_events(path, *steps)
    assert history.past_run(path).loss == pytest.approx(in_the_chart())
    assert Losses.of(Run.attach(path)).final == pytest.approx(in_the_chart(), rel=1e-3)


def test_a_run_of_an_older_easel_gets_its_smoothed_loss_from_its_events():
    path = write_run("20260101-100000-a", result={"summary": {"loss": 7.0}})
    write_events(path, *(Step(number, loss, 1e-4) for number, loss in enumerate(LOSSES, 1)))
    assert history.past_run(path).loss == pytest.approx(in_the_chart(), rel=1e-3)


def test_without_a_loss_there_is_none():
    summary = Summary()
    summary.take([Step(1, None, 1e-4), events.Step(2, float("nan"), 1e-4)])
    assert summary.smoothed_loss is None
    assert history.past_run(write_run("20260101-100000-a", result={"summary": {"loss": None}})).loss is None
