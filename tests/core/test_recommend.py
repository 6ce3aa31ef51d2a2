"""What a user gets who sets nothing: values that suit the model and the dataset, below every profile."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support import engine_plans, recorded_headers
from trainer_core import profiles
from trainer_core.draft import recommend
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import registry
from trainer_core.hardware import Accelerator
from trainer_core.models.families import load_families
from trainer_core.prepare import provenance
from trainer_core.prepare.workbench import NO_POLICY, PLAIN, Workbench


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))

    def make(family, images=20, folder="10_elena", machine=None, **values):
        dataset = tmp_path / folder
        dataset.mkdir()
        for number in range(images):
            Image.new("RGB", (64, 64)).save(dataset / f"{number}.png")
        job = Workbench(machine or engine_plans.machine(engine_plans.CARD))
        job.set({"model.path": str(recorded_headers.write(family, tmp_path)), "dataset.path": str(dataset)})
        job.set({path.replace("__", "."): value for path, value in values.items()})
        return job

    return make


def of(job, *paths):
    return tuple(job.state.draft.values[path] for path in paths)


SIZES = ("dataset.resolution", "sampling.width", "sampling.height")


def test_every_family_that_an_engine_trains_has_a_native_resolution():
    trained = {family for engine in registry.available(include_hidden=True) for family in engine.manifest.families}
    assert {
        family: load_families()[family].resolution for family in trained if not load_families()[family].resolution
    } == {}


@pytest.mark.parametrize(("family", "side"), [("sd15", 512), ("sdxl", 1024), ("flux-dev", 1024)])
def test_the_resolution_and_the_size_of_samples_are_those_of_the_model(bench, family, side):
    job = bench(family)
    assert of(job, *SIZES) == (side,) * 3
    assert {job.state.draft.source_of(path) for path in SIZES} == {Source.RECOMMENDED}
    assert "native resolution" in str(provenance.of(job.state, "dataset.resolution"))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, 1),
        ({"network__algorithm": "loha"}, 1),
        ({"model__method": "textual_inversion"}, 1),
        ({"network__algorithm": "full"}, 0),
        ({"model__method": "full"}, 0),
        ({"model__method": "dreambooth"}, 0),
        ({"output__keep_states": 3}, 3),
    ],
)
def test_one_state_is_kept_where_it_is_small(bench, values, kept):
    assert of(bench("sd15", **values), "output.keep_states") == (kept,)


def test_stable_diffusion_2_has_two_resolutions(bench):
    assert of(bench("sd2", model__prediction="v_prediction"), "dataset.resolution") == (768,)


@pytest.mark.parametrize(("images", "steps", "every"), [(3, 800, 100), (20, 2000, 250), (200, 3000, 400)])
def test_steps_and_samples_follow_the_number_of_images(bench, images, steps, every):
    job = bench("sdxl", images)
    assert job.state.policy.id == "by-image-count"
    assert of(job, "schedule.steps", "sampling.every_steps") == (steps, every)
    assert f"{images} images" in job.state.prefilled.message


def test_the_name_is_the_trigger_word_or_the_folder_without_its_repeats(bench):
    job = bench("sdxl")
    assert of(job, "output.name") == ("elena",)
    job.set({"dataset.trigger": "mi/ka"})
    assert of(job, "output.name") == ("mi-ka",)
    assert "trigger word" in str(provenance.of(job.state, "output.name"))
    job.set({"output.name": "mine"})
    assert of(job, "output.name") == ("mine",)


def test_no_samples_are_recommended_on_a_cpu(bench):
    assert of(bench("sdxl", machine=engine_plans.machine()), "sampling.every_steps") == (0,)


def test_a_profile_and_the_user_override_what_is_recommended(bench):
    job = bench("sdxl")
    job.use_profile("sdxl-character")
    assert job.state.policy is None or job.state.policy.id != "by-image-count"
    assert job.state.draft.source_of("dataset.resolution") is Source.PROFILE
    assert of(job, "output.name") == ("elena",)
    job.use_profile("")
    job.set({"dataset.resolution": 768, "schedule.steps": 5})
    assert of(job, "dataset.resolution", "schedule.steps") == (768, 5)


def test_plain_defaults_are_one_choice_away_and_back(bench):
    job = bench("sdxl")
    recommended = job.state.draft.values
    job.use_profile(PLAIN)
    assert of(job, *SIZES, "schedule.steps", "sampling.every_steps", "output.name") == (512, 512, 512, 1000, 0, "")
    assert job.state.policy is None
    job.use_profile("")
    assert job.state.draft.values == recommended


def test_a_user_who_wants_no_policy_gets_none(bench):
    job = bench("sdxl")
    job.use_policy(NO_POLICY)
    assert job.state.policy is None
    assert of(job, "schedule.steps", "dataset.resolution") == (1000, 1024)
    job.use_policy("")
    assert of(job, "schedule.steps") == (2000,)


def test_an_image_that_cannot_be_read_can_be_left_out_with_its_fix(bench):
    """After this fix the folder is read again, so the rules alone cannot show that it helps."""
    job = bench("sdxl", 3)
    (dataset,) = of(job, "dataset.path")
    (Path(dataset) / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    job.set({"dataset.path": dataset})
    (found,) = (problem for problem in job.problems if "broken.png" in problem.message)
    assert (found.severity, found.fix.label) == ("error", "Leave it out")
    job.set(found.fix.changes)
    assert not [problem for problem in job.problems if problem.path == "dataset.path" and problem.severity == "error"]


def test_samples_are_made_as_the_model_or_its_name_says(bench, tmp_path):
    paths = ("sampling.guidance", "sampling.inference_steps")
    job = bench("z-image")
    assert of(job, *paths) == (4.0, 30)
    assert {job.state.draft.source_of(path) for path in paths} == {Source.RECOMMENDED}
    assert "such a model" in str(provenance.of(job.state, "sampling.guidance"))
    job.set({"model.path": str((tmp_path / "z-image.safetensors").rename(tmp_path / "z_image_turbo_bf16.safetensors"))})
    assert of(job, *paths) == (1.0, 8)


def test_a_distilled_model_needs_other_samples_than_its_profile_and_the_user_has_the_last_word(bench, tmp_path):
    paths = ("sampling.guidance", "sampling.inference_steps")
    job = bench("z-image", sampling__every_steps=50)
    job.use_profile("z-image-character")
    assert of(job, *paths) == (4.0, 30)
    assert not [one for one in job.problems if "distilled" in one.message]
    job.set({"model.path": str((tmp_path / "z-image.safetensors").rename(tmp_path / "z_image_turbo_bf16.safetensors"))})
    assert of(job, *paths) == (1.0, 8)
    assert str(provenance.of(job.state, paths[0])).startswith("the model: it is distilled to few steps")
    (told,) = [one.message for one in job.problems if "samples are made with" in one.message]
    assert "guidance 1 instead of 4 and sampler steps 8 instead of 30" in told.lower()
    job.set({"sampling.inference_steps": 12})
    assert of(job, *paths) == (1.0, 12)
    assert any("made with guidance 1 instead of 4: the" in one.message.lower() for one in job.problems)
    job.set({"model.variant": "base"})
    assert of(job, *paths) == (4.0, 12)


@pytest.mark.parametrize(
    ("family", "variant", "expected"),
    [("flux", "kontext", (2.5, None)), ("flux", "schnell", (3.5, 4)), ("flux", "dev", (3.5, None))],
)
def test_a_variant_of_a_model_has_samples_of_its_own(family, variant, expected):
    facts = Facts(engine_plans.machine(engine_plans.CARD))
    found = recommend.values(Draft(facts).with_values(Source.USER, {"model.variant": variant}), family)
    assert (found["sampling.guidance"], found.get("sampling.inference_steps")) == expected


def test_a_variant_and_its_profile_have_one_guidance():
    kontext = {**load_families()["flux"].samples, **load_families()["flux"].own_samples["kontext"]}
    assert profiles.known()["flux-edit"].settings["sampling.guidance"] == kontext["guidance"]


def test_the_precision_is_one_with_which_the_engine_trains(bench):
    old = engine_plans.machine(Accelerator("cuda", "an old GPU", 16 * engine_plans.GIB, 15 * engine_plans.GIB, "7.5"))
    job, path = bench("z-image", machine=old), "memory.mixed_precision"
    job.use_engine("musubi")
    assert of(job, path) == ("bf16",)
    said = [each for each in job.state.draft.problems(job.state.backend) if each.path == path]
    assert [(each.severity, each.fix) for each in said] == [("warning", None)]
    job.use_engine("simpletuner")
    assert of(job, path) == ("fp16",)
