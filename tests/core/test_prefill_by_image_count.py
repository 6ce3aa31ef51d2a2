"""The values that follow from the number of images: at every limit of a dataset size, and what follows from them.

Source: the owner's document "Training Parameters Auto-Prefill Implementation" (seed 003).
"""

import pytest

from tests.support.policy_cases import draft, prefilled, with_policy
from trainer_core import policies

TIERS = [
    (1, "Preset A (up to 15 images)", 1500, 2e-4, 2),
    (15, "Preset A (up to 15 images)", 1500, 2e-4, 2),
    (16, "Preset B (16-30 images)", 2000, 2.5e-4, 2),
    (30, "Preset B (16-30 images)", 2000, 2.5e-4, 2),
    (31, "Preset C (31-60 images)", 2500, 1.5e-4, 1),
    (60, "Preset C (31-60 images)", 2500, 1.5e-4, 1),
    (61, "Very large (61 or more images)", 3000, 1e-4, 1),
    (5000, "Very large (61 or more images)", 3000, 1e-4, 1),
]


@pytest.mark.parametrize(("images", "name", "steps", "rate", "repeats"), TIERS)
def test_seed_003_sets_these_values_at_each_limit(images, name, steps, rate, repeats):
    found = prefilled("flux-guide", images)
    assert found.values == {
        "schedule.steps": steps,
        "optimizer.learning_rate": rate,
        "dataset.repeats": repeats,
        "network.rank": 16,
        "network.alpha": 8.0,
        "schedule.scheduler": "cosine",
        "schedule.warmup_steps": steps // 5,
    }
    assert found.message.startswith(f"{name} for {images} image")
    assert set(found.reasons) == set(found.values)
    assert all(found.reasons.values())
    assert found.owns == set(found.values)


def test_seed_003_shows_all_values_in_one_message():
    assert prefilled("flux-guide", 25, schedule__batch_size=2).message == (
        "Preset B (16-30 images) for 25 images: 2000 optimizer steps, learning rate 0.00025 (cosine), "
        "rank/alpha 16/8, repeats 2, warm-up 400 steps, about 80 epochs. Why: the usual size for an identity."
    )


@pytest.mark.parametrize(("images", "epochs"), [(15, 50), (23, 43), (50, 50), (75, 40)])
def test_seed_003_has_these_epochs(images, epochs):
    assert round(prefilled("flux-guide", images).epochs) == epochs
    assert f"about {epochs} epochs" in prefilled("flux-guide", images).message


def test_epochs_include_batch_size_and_accumulation():
    assert policies.epochs(2000, batch=2, accumulation=4, images=25, repeats=2) == 320
    assert policies.epochs(2000, 1, 1, 0, 2) is None
    many = prefilled("flux-guide", 25, schedule__batch_size=2, schedule__gradient_accumulation=4)
    assert many.epochs == 320


@pytest.mark.parametrize(("steps", "warmup"), [(1000, 200), (1999, 399), (4, 0), (1, 0), (1_000_000, 200_000)])
def test_the_warm_up_follows_every_change_of_steps(steps, warmup):
    mine = with_policy("flux-guide", draft(25, schedule__steps=steps))
    assert (mine.values["schedule.steps"], mine.values["schedule.warmup_steps"]) == (steps, warmup)
    assert warmup < steps


def test_a_warm_up_set_by_the_user_stays():
    mine = with_policy("flux-guide", draft(25, schedule__steps=1000, schedule__warmup_steps=50))
    assert mine.values["schedule.warmup_steps"] == 50


def test_a_schedule_without_a_warm_up_gets_none():
    mine = with_policy("flux-guide", draft(25, schedule__scheduler="constant"))
    assert mine.values["schedule.warmup_steps"] == 0


def test_alpha_is_half_of_a_rank_set_by_the_user():
    mine = with_policy("flux-guide", draft(25, network__rank=32))
    assert (mine.values["network.rank"], mine.values["network.alpha"]) == (32, 16.0)


@pytest.mark.parametrize(("images", "is_warned"), [(60, False), (61, True), (5000, True)])
def test_above_sixty_images_a_warning_says_to_curate(images, is_warned):
    warnings = [note for note in prefilled("flux-guide", images).notes if note.severity == "warning"]
    assert bool(warnings) == is_warned
    assert all("best 30 to 60" in warning.message for warning in warnings)


def test_the_source_says_where_the_document_contradicts_itself():
    told = " ".join(policies.get("flux-guide").sources)
    assert "32/16" in told
    assert "repeats 10" in told
