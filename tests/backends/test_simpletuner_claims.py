"""What SimpleTuner's claims say before a start of families that were not tried with real weights."""

from __future__ import annotations

import pytest

from tests.support import engine_plans
from trainer_core.engines import registry
from trainer_core.plan import fields

SIMPLETUNER = registry.get("simpletuner")
CLAIMS = SIMPLETUNER.manifest.families
CLIPPING = "optimizer.max_grad_norm"
UNPROVED = ("auraflow", "ernie_image", "kandinsky5_image", "longcat_image", "pixart")


def said(family, path, **values):
    return [
        each for each in engine_plans.problems(SIMPLETUNER, engine_plans.plan(family, **values)) if each.path == path
    ]


def test_these_families_are_not_proved():
    assert sorted(family for family, claim in CLAIMS.items() if claim.unproved) == sorted(UNPROVED)


@pytest.mark.parametrize("family", UNPROVED)
def test_an_unproved_family_says_so_with_what_was_tried(family):
    messages = [each.message for each in said(family, "model.family") if each.severity == "info"]
    assert any("not proved on real weights" in each and CLAIMS[family].unproved in each for each in messages)
    assert all(note in messages for note in CLAIMS[family].notes)


def test_a_proved_family_says_nothing():
    assert not said("flux", "model.family")


def test_clipping_that_the_engine_lowers_is_reported_and_the_fix_solves_it():
    (problem,) = said("pixart", CLIPPING, optimizer__max_grad_norm=1.0)
    assert problem.severity == "warning"
    assert problem.fix.changes == {CLIPPING: 0.01}
    assert not said("pixart", CLIPPING, optimizer__max_grad_norm=0.01)
    assert not said("pixart", CLIPPING, optimizer__max_grad_norm=0.0), "the engine keeps lower values"
    assert not said("longcat_image", CLIPPING, optimizer__max_grad_norm=1.0)


@pytest.mark.parametrize("family", [family for family, claim in CLAIMS.items() if claim.forced])
def test_a_replaced_setting_is_one_of_the_plan(family):
    assert CLAIMS[family].forced.keys() <= fields.all_fields().keys()


@pytest.mark.parametrize("family", SIMPLETUNER.manifest.refused)
def test_a_refused_family_is_not_claimed_and_has_a_reason(family):
    assert family not in CLAIMS
    assert SIMPLETUNER.manifest.refused[family].endswith(".")
