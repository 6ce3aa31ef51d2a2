"""Aspect buckets and batches are those of the engines, whose own code gave the same answers for 50,000 random sizes.

The comparison: docs/records/2026-11-29-rules.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import engine_plans
from trainer_core.datasets import buckets
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.draft.checks import Case, dataset
from trainer_core.draft.facts import Facts
from trainer_core.engines import batches, registry
from trainer_core.estimate import estimate
from trainer_core.problems import Problem

KOHYA, SIMPLETUNER = registry.get("kohya"), registry.get("simpletuner")


def images(*sizes: tuple[int, int]) -> Facts:
    shown = tuple(
        DatasetImage(f"{number}.png", *size, "blobbert", None, Path(f"/images/{number}.png"))
        for number, size in enumerate(sizes)
    )
    return Facts(engine_plans.machine(engine_plans.CARD), dataset=Dataset(Path("/images"), shown, (), ()))


def said(backend, facts: Facts, **values) -> list[Problem]:
    return list(dataset.batches_are_filled(Case(engine_plans.plan("sdxl", **values), facts, backend)))


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((512, 512), "512 x 512"),
        ((1024, 1024), "512 x 512"),
        ((1000, 1500), "384 x 640"),
        ((1920, 1080), "640 x 384"),
        ((4000, 100), "1024 x 256"),
        ((704, 320), "704 x 320"),
    ],
)
def test_an_image_goes_to_the_nearest_shape_of_the_list(size, bucket):
    """The answers of BucketManager.select_bucket of sd-scripts for 512 px in steps of 64 px."""
    assert dict(buckets.listed([size], 512, 64, *buckets.limits(512, 64))) == {bucket: 1}


@pytest.mark.parametrize(
    ("size", "bucket"), [((300, 200), "256 x 192"), ((1000, 1500), "384 x 576"), ((512, 512), "512 x 512")]
)
def test_an_image_is_only_shrunk_and_cut(size, bucket):
    """The answers of the same function with bucket_no_upscale."""
    assert dict(buckets.shrunk([size], 512, 64)) == {bucket: 1}


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((512, 512), "1.0"), ((1000, 1500), "0.7"), ((1920, 1080), "1.83"), ((4000, 100), "51.0"), ((516, 512), "1.0")],
)
def test_sides_are_rounded(size, bucket):
    """The answers of calculate_new_size_by_pixel_area of SimpleTuner for 512 px and an alignment of 64 px."""
    assert dict(buckets.rounded([size], 512, 64)) == {bucket: 1}


WIDE, TALL = (1500, 1000), (1000, 1500)


def test_simpletuner_stops_at_a_bucket_that_cannot_fill_a_step():
    facts = images(*[WIDE] * 8, TALL)
    found = said(SIMPLETUNER, facts, schedule__batch_size=2, schedule__gradient_accumulation=2)
    assert [(each.path, each.severity) for each in found] == [("dataset.repeats", "error")]
    assert "1 of 2 buckets" in found[0].message
    assert found[0].fix.changes == {"dataset.repeats": 4}
    assert not said(SIMPLETUNER, facts, schedule__batch_size=2, schedule__gradient_accumulation=2, dataset__repeats=4)
    assert not said(SIMPLETUNER, facts), "single images always fill a batch"
    assert not said(SIMPLETUNER, facts, schedule__batch_size=4, dataset__bucketing=False), "there is one bucket"


def test_each_process_needs_batches_of_its_own():
    launch = {"launch": {"num_processes": 2}}
    facts = images(WIDE, TALL)
    assert said(SIMPLETUNER, facts, native={"simpletuner": launch})[0].fix.changes == {"dataset.repeats": 2}
    assert not said(SIMPLETUNER, facts, native={"kohya": launch}), "the other engine's launcher starts nothing here"


def test_simpletuner_fills_buckets_if_asked_and_if_no_repeats_are_set():
    native, facts = {"simpletuner": {"allow_dataset_oversubscription": True}}, images(WIDE, TALL)
    assert not said(SIMPLETUNER, facts, schedule__batch_size=4, native=native)
    assert said(SIMPLETUNER, facts, schedule__batch_size=4, dataset__repeats=2, native=native)[0].severity == "error"


def test_sd_scripts_trains_smaller_batches_and_shorter_steps():
    facts = images(*[WIDE] * 8, TALL)
    assert [each.severity for each in said(KOHYA, facts, schedule__batch_size=4)] == ["info"]
    found = said(KOHYA, facts, schedule__gradient_accumulation=16)
    assert [(each.path, each.severity) for each in found] == [("schedule.gradient_accumulation", "warning")]
    assert found[0].fix.changes == {"dataset.repeats": 2}
    assert not said(KOHYA, facts, schedule__gradient_accumulation=9)


def test_nothing_is_said_about_buckets_that_easel_does_not_know():
    facts = images(WIDE, TALL)
    native = {"simpletuner": {"aspect_bucket_rounding": 1}}
    assert not said(SIMPLETUNER, facts, schedule__batch_size=4, native=native)
    for wrong in ("512", 10**12, -1, None):
        native = {"kohya": {"max_bucket_reso": wrong, "launch": wrong}}
        assert not said(KOHYA, facts, schedule__batch_size=4, native=native)
    assert not said(SIMPLETUNER, replace(facts, dataset=None), schedule__batch_size=4)
    assert not said(registry.get("rehearsal"), facts, schedule__batch_size=4)


def test_epochs_count_processes_and_the_batches_of_each_bucket():
    sizes = [WIDE, WIDE, WIDE, TALL]
    plan = engine_plans.plan("sdxl", schedule__steps=60, schedule__batch_size=2)
    assert batches.of_epoch(plan, sizes, KOHYA.manifest) == 3, "two wide batches, and one tall image"
    assert batches.epochs(plan, sizes, KOHYA.manifest) == 20
    two = plan.model_copy(update={"native": {"kohya": {"launch": {"num_processes": 2}}}})
    assert batches.epochs(two, sizes, KOHYA.manifest) == 30, "each process takes two batches, one of them again"
    assert estimate(two, images(*sizes), manifest=KOHYA.manifest).epochs == 30
    many = engine_plans.plan("sdxl", schedule__steps=60, schedule__gradient_accumulation=100)
    assert batches.epochs(many, sizes, KOHYA.manifest) == 60, "the end of an epoch is also the end of a step"
