"""Which variant of its family a model is: seen in the header, guessed from the name, or asked for; never assumed."""

from dataclasses import replace

import pytest

from tests.support import engine_plans
from trainer_core.draft import recommend
from trainer_core.draft.checks import Case, model
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.engines import registry, trainable
from trainer_core.models import variants
from trainer_core.models.detection import Detection
from trainer_core.models.detection.result import Guess

ENGINE = registry.get("simpletuner")
Z_IMAGE = Detection("z_image", "checkpoint", "base", "flow", layout="pipeline")
TURBO = Guess(
    "z_image_turbo", "Z-Image Turbo, distilled to few steps", "file name", "its name", "turbo", distilled=True
)


def draft(found, **values):
    facts = Facts(engine_plans.machine(engine_plans.CARD), found)
    return Draft(facts).with_values(Source.USER, {f"model.{name}": value for name, value in values.items()})


def said(made):
    return list(model.variant_is_known(Case(made.sketch(), made.facts, ENGINE)))


def test_what_no_header_shows_is_asked_for_instead_of_assumed():
    (problem,) = said(draft(Z_IMAGE))
    assert (problem.path, problem.severity) == ("model.variant", "error")
    assert "base or turbo" in problem.message
    assert problem.fix
    assert not said(draft(Z_IMAGE).with_values(Source.USER, problem.fix.changes))
    assert not said(draft(Z_IMAGE, variant="turbo"))


def test_a_header_that_shows_what_the_name_says_needs_no_word():
    shown = Detection("qwen_image", "checkpoint", "edit-2511", "flow", layout="diffusers")
    named = replace(shown, guess=Guess("qwen_image_edit_2511", "Qwen-Image-Edit 2511", "file name", "", "edit-2511"))
    assert not said(draft(named, family="qwen_image", variant="edit-2511"))


def test_a_name_is_used_and_told():
    named = replace(Z_IMAGE, guess=TURBO)
    made = draft(named)
    assert made.sketch().model.variant == "turbo"
    (problem,) = said(made)
    assert problem.severity == "info"
    assert "By its name this is Z-Image Turbo" in problem.message
    assert problem.fix
    assert problem.fix.changes == {"model.variant": "base"}
    assert not said(draft(named, variant="base"))


def test_training_takes_the_distillation_back_unless_the_engine_has_an_adapter_that_keeps_it():
    named = draft(replace(Z_IMAGE, guess=TURBO))
    (problem,) = model.model_is_not_distilled(Case(named.sketch(), named.facts, registry.get("musubi")))
    assert "Z-Image Turbo" in problem.message
    assert problem.severity == "warning"
    assert not list(model.model_is_not_distilled(Case(named.sketch(), named.facts, ENGINE)))


@pytest.mark.parametrize("engine", ["kohya", "musubi"])
def test_a_network_that_is_added_while_another_is_trained_may_keep_the_distillation(engine):
    added = draft(replace(Z_IMAGE, guess=TURBO)).with_values(
        Source.USER, {"native": {engine: {"base_weights": ["/adapters/v2.safetensors"]}}}
    )
    (problem,) = model.model_is_not_distilled(Case(added.sketch(), added.facts, registry.get(engine)))
    assert problem.severity == "info"
    assert "base_weights is added to it" in problem.message
    none = added.with_values(Source.USER, {"native": {engine: {"base_weights": []}}})
    (problem,) = model.model_is_not_distilled(Case(none.sketch(), none.facts, registry.get(engine)))
    assert problem.severity == "warning"


def test_a_distilled_variant_is_known_by_its_header_and_by_what_the_user_says_too():
    turbo = Detection("krea2", "checkpoint", "turbo")
    assert variants.distilled("krea2", turbo).startswith("This is the variant turbo of Krea 2")
    assert not variants.distilled("krea2", turbo, "raw")
    assert not variants.distilled("krea2", Detection("krea2", "checkpoint", "raw"))
    assert variants.distilled("z_image", Z_IMAGE, "turbo")
    assert not variants.distilled("z_image", Z_IMAGE, "base")
    assert recommend._of_samples(draft(turbo), "krea2")["sampling.inference_steps"] == 8
    assert recommend._of_samples(draft(Z_IMAGE, variant="turbo"), "z_image")["sampling.inference_steps"] == 8


@pytest.mark.parametrize(
    ("found", "family", "variant"),
    [
        (Detection("flux2", "checkpoint", "klein-4b"), "flux2", "klein-4b"),
        (replace(Detection("flux2", "checkpoint", "klein-4b"), guess=TURBO), "flux2", "klein-4b"),
        (Detection("flux2", "checkpoint", "klein-4b"), "z_image", ""),
        (Detection("krea2", "checkpoint", ""), "krea2", ""),
        (replace(Detection("krea2", "checkpoint", ""), guess=TURBO), "krea2", "turbo"),
        (replace(Detection("krea2", "checkpoint", "raw"), guess=TURBO), "krea2", "raw"),
        (Detection(None, "unknown"), "", ""),
        (None, "z_image", ""),
    ],
)
def test_the_likely_variant_is_that_of_the_header(found, family, variant):
    assert variants.likely(family, found) == variant


def test_a_variant_of_a_model_on_another_machine_is_asked_for():
    (problem,) = said(draft(None, family="krea2"))
    assert "raw or turbo" in problem.message
    assert not said(draft(None, family="sdxl"))


def test_an_engine_refuses_a_variant_with_its_reason():
    dev = Detection("flux2", "checkpoint", "dev", "flow", layout="pipeline")
    assert "Mistral-Small" in trainable.why_not(dev, ENGINE.manifest)
    assert not trainable.why_not(replace(dev, variant="klein-9b"), ENGINE.manifest)
