"""The recommended values: starting values, the three sizes of a dataset, and the values for the gaps between them.

Source: the owner's document "LoRA Training System - Complete Implementation" (seed 002).
"""

import pytest

from tests.support import engine_plans
from tests.support.policy_cases import prefilled
from trainer_core import policies
from trainer_core.draft import prefill
from trainer_core.draft.facts import Facts
from trainer_core.hardware import Accelerator

STEPS = [
    (1, 500), (7, 500),  # fewer images than it was made for
    (8, 500), (12, 500), (13, 520), (15, 600),  # 8-15: 500-1000
    (16, 640), (19, 760),  # not in the document: treated as the small size
    (20, 800), (25, 1000), (30, 1200),  # 20-30: 800-1200
    (31, 1240), (49, 1960),  # not in the document: between the limits of the sizes around it
    (50, 2000), (200, 8000),  # 50-200: 2000-8000
    (201, 8000), (5000, 8000),  # more images than it was made for
]  # fmt: skip


@pytest.mark.parametrize(("images", "steps"), STEPS)
@pytest.mark.parametrize("policy", ["style-002", "style-002-complex", "style-002-fast"])
def test_seed_002_steps(policy, images, steps):
    assert prefilled(policy, images).values["schedule.steps"] == steps


def test_seed_002_sets_the_whole_recommendation():
    found = prefilled("style-002", 30)
    assert found.values == {
        "network.rank": 16,
        "network.alpha": 16.0,
        "optimizer.learning_rate": 1e-4,
        "schedule.steps": 1200,
        "schedule.scheduler": "cosine_with_restarts",
        "optimizer.name": "AdamW8bit",
        "schedule.batch_size": 2,
        "dataset.repeats": 10,
    }


@pytest.mark.parametrize(("capability", "precision"), [("8.9", "bf16"), ("7.5", "fp16")])
def test_its_bf16_is_used_if_the_gpu_supports_it(capability, precision):
    card = prefill.values(Facts(engine_plans.machine(Accelerator("cuda", "a card", architecture=capability))))
    whole = policies.layered(card, prefilled("style-002", 30))
    assert whole["memory.mixed_precision"] == precision


def test_complex_styles_differ_only_in_rank_and_alpha_32():
    plain, large = prefilled("style-002", 25).values, prefilled("style-002-complex", 25).values
    assert {path: large[path] for path in large if large[path] != plain[path]} == {
        "network.rank": 32,
        "network.alpha": 32.0,
    }


@pytest.mark.parametrize(("images", "rate"), [(8, 1e-4), (19, 1e-4), (20, 4e-4), (30, 4e-4), (31, 1e-4), (200, 1e-4)])
def test_the_higher_learning_rate_is_used_where_the_document_recommends_it(images, rate):
    plain, fast = prefilled("style-002", images).values, prefilled("style-002-fast", images).values
    assert fast == {**plain, "optimizer.learning_rate": rate}


@pytest.mark.parametrize(
    ("images", "said"), [(7, "Fewer than 8"), (8, ""), (49, ""), (50, "averaged"), (200, "averaged"), (201, "averaged")]
)
def test_sizes_outside_the_document_and_large_ones_have_a_note(images, said):
    notes = prefilled("style-002", images).notes
    assert [said in note.message for note in notes] == ([True] if said else [])
    assert all((note.severity == "warning") == (images < 8 or images > 200) for note in notes)


def test_the_sources_say_how_the_gaps_are_filled():
    told = " ".join(policies.get("style-002").sources)
    assert "16-19" in told
    assert "31-49" in told
