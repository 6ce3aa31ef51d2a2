"""Epochs and steps: exact in both directions, and shown without a false whole number."""

from __future__ import annotations

import math
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given

from backends.kohya import backend as kohya
from backends.simpletuner import backend as simpletuner
from tests.support import engine_plans
from trainer_core.engines import batches, epochs

SIZES = st.lists(st.sampled_from([(1024, 1024), (1216, 832), (832, 1216), (512, 2048)]), min_size=1, max_size=40)
EACH = st.fractions(Fraction(1, 1000), 100_000, max_denominator=1000)


@given(SIZES, st.integers(1, 12), st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(1, 60))
def test_sd_scripts_ends_an_epoch_with_a_step(sizes, repeats, batch, adds, processes, wanted):
    plan = engine_plans.plan(
        "sdxl",
        dataset__repeats=repeats,
        schedule__batch_size=batch,
        schedule__gradient_accumulation=adds,
        native={"kohya": {"launch": {"num_processes": processes}}},
    )
    each = batches.steps_of_epoch(plan, sizes, kohya.manifest)
    counts = batches.of_buckets(plan, sizes, kohya.manifest)
    loaded = sum(math.ceil(images * repeats / batch) for images in counts.values())
    assert each == math.ceil(math.ceil(loaded / processes) / adds)
    assert epochs.to_epochs(epochs.to_steps(Fraction(wanted), each), each) == wanted, "whole epochs stay whole"


def balanced(images, of_class, repeats):
    """How often each class image is used, exactly as sd-scripts counts it (library/train_util.py, DreamBoothDataset)."""
    uses, n, first = [0] * of_class, 0, True
    while n < images:
        for number in range(of_class):
            more = repeats if first else 1
            uses[number] += more
            n += more
            if n >= images:
                break
        first = False
    return uses


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 60), st.integers(1, 9))
def test_class_images_are_repeated_as_sd_scripts_repeats_them(images, repeats, of_class, class_repeats):
    plan = engine_plans.plan(
        "sd15",
        dataset__repeats=repeats,
        dataset__class_path="/dogs",
        dataset__class_repeats=class_repeats,
    )
    found = [each for many, each in batches.class_uses(plan, images, of_class, kohya.manifest) for _ in range(many)]
    expected = balanced(images * repeats, of_class, class_repeats)
    assert found == expected[: len(found)]
    assert not any(expected[len(found) :])


def test_class_images_double_an_epoch_with_an_engine_that_trains_them():
    sizes, of_class = [(512, 512)] * 10, [(512, 512)] * 4 + [(768, 512)]

    def steps(engine, method="lora", **more):
        plan = engine_plans.plan("sd15", model__method=method, dataset__resolution=512, **more)
        return batches.steps_of_epoch(plan, sizes, engine.manifest, of_class)

    path = {"dataset__class_path": "/dogs"}
    assert steps(kohya) == 10
    assert steps(kohya, **path) == steps(kohya, "dreambooth", **path) == 20
    assert steps(kohya, **path, schedule__batch_size=4) == math.ceil(18 / 4) + 1, "two of them are in another bucket"
    assert steps(kohya, "full", **path) == 10
    assert steps(simpletuner, **path) == steps(simpletuner)


@given(SIZES, st.integers(1, 12), st.integers(1, 8), st.integers(1, 8))
def test_another_engine_continues_a_step_in_the_next_epoch(sizes, repeats, batch, adds):
    plan = engine_plans.plan(
        "sdxl", dataset__repeats=repeats, schedule__batch_size=batch, schedule__gradient_accumulation=adds
    )
    each = batches.steps_of_epoch(plan, sizes, simpletuner.manifest)
    assert each == Fraction(batches.of_epoch(plan, sizes, simpletuner.manifest), adds)


@given(EACH, st.fractions(Fraction(1, 100), 1000, max_denominator=100))
def test_steps_are_the_fewest_that_are_enough(each, wanted):
    steps = epochs.to_steps(wanted, each)
    assert epochs.to_epochs(steps, each) >= wanted
    assert steps == 1 or epochs.to_epochs(steps - 1, each) < wanted


@given(EACH, st.integers(1, 1_000_000))
def test_steps_come_back_from_their_epochs(each, steps):
    assert epochs.to_steps(epochs.to_epochs(steps, each), each) == steps


@given(st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_a_number_that_is_not_whole_never_looks_whole(steps, each):
    found = Fraction(steps, each)
    text = epochs.shown(found)
    assert (Fraction(text.replace(",", "")).denominator == 1) == (found.denominator == 1), text
    assert abs(Fraction(text.replace(",", "")) - found) <= Fraction(1, 20)


@pytest.mark.parametrize(
    ("epochs_", "text"),
    [(Fraction(20), "20"), (Fraction(196, 10), "19.6"), (Fraction(1997, 100), "20.0"), (Fraction(1200), "1,200")],
)
def test_epochs_for_people(epochs_, text):
    assert epochs.shown(epochs_) == (text if text != "20.0" else "19.97")


@pytest.mark.parametrize(("text", "found"), [("20", 20), (" 2.5 ", Fraction(5, 2)), ("1,000", 1000), ("3 epochs", 3)])
def test_epochs_that_people_write(text, found):
    assert epochs.parse(text) == found


@pytest.mark.parametrize("text", ["", "0", "-1", "ten", "1/0", "1/2", "nan", "inf", "1e9", "9" * 30])
def test_what_is_no_number_of_epochs_is_refused(text):
    with pytest.raises(ValueError, match="is not a number of epochs"):
        epochs.parse(text)


def test_one_step_makes_an_epoch():
    assert (epochs.sentence(Fraction(1)), epochs.sentence(Fraction(96))) == (
        "1 step makes an epoch.",
        "96 steps make an epoch.",
    )
