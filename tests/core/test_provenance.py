"""Where each value comes from: its layer, what set it, and the reason."""

import pytest

from tests.support.policy_cases import CARD, draft
from trainer_core import policies, profiles
from trainer_core.catalog import presets
from trainer_core.draft.layers import Source
from trainer_core.plan import fields
from trainer_core.prepare.provenance import Provenance, provenance


def test_each_value_has_its_layer_its_origin_and_its_reason():
    profile, preset = profiles.shipped()["sdxl-character"], presets.get("low-memory")
    card = {**CARD, "model.vae": "/models/vae.safetensors", **preset.values}
    before = draft(25, output__name="mika").with_layer(Source.PROFILE, profile.settings)
    found = policies.recompute(policies.get("flux-guide"), before, card, {})
    whole = before.with_layer(Source.PREFILL, policies.layered(card, found))
    told = {path: provenance(whole, path, profile, preset, found) for path in fields.all_fields()}
    assert told["output.name"] == Provenance(Source.USER, "you")
    assert told["schedule.warmup_steps"] == Provenance(
        Source.PREFILL, "the policy Low rates and few repeats, by the number of images", "20 % of 2000 steps."
    )
    assert told["schedule.batch_size"].by == f"the memory preset {preset.title}"
    assert told["memory.mixed_precision"].by == "this machine"
    assert told["memory.mixed_precision"].reason
    assert told["model.vae"].by == "the model library"
    assert told["dataset.resolution"].by == f"the profile {profile.title}"
    assert told["dataset.resolution"].reason == profile.reasons.get("dataset.resolution", "")
    assert told["dataset.flip"] == Provenance(Source.DEFAULT, "the default")
    assert (
        str(told["schedule.warmup_steps"])
        == "the policy Low rates and few repeats, by the number of images: 20 % of 2000 steps."
    )
    assert all(told[path].source is whole.source_of(path) for path in told)


@pytest.mark.parametrize("path", ["dataset.resolution", "schedule.seed"])
def test_a_layer_of_unknown_origin_still_has_a_name(path):
    bare = draft(3).with_layer(Source.PROFILE, {"dataset.resolution": 768})
    assert provenance(bare, path).by in ("a profile", "the default")
