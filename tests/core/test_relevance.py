"""Which settings a form shows: according to the catalogue and the engine's claim, and consistent with the rules."""

from dataclasses import replace

import pytest

from tests.support import engine_plans
from trainer_core import catalog
from trainer_core.draft import checks
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft, Source
from trainer_core.draft.relevance import Scope
from trainer_core.engines import contract, registry
from trainer_core.engines.claim import Cell, FamilyClaim
from trainer_core.engines.status import Trial
from trainer_core.models.detection import Detection
from trainer_core.plan import fields

CLAIM = FamilyClaim(
    "flux",
    {"lora": Cell(swap={"": 35}, convolutions=True), "full": Cell(), "textual_inversion": Cell()},
    parts={"vae": "ae", "clip_l": "clip_l", "t5xxl": "t5xxl"},
    optional_parts=("vae",),
    algorithms=("lora", "lokr", "ia3"),
)
REHEARSAL = registry.get("rehearsal").manifest
MANIFEST = replace(
    REHEARSAL,
    families={"flux": CLAIM},
    optimizers={"AdamW": "a", "Prodigy": "p"},
    schedulers={"cosine": "c", "linear": "l"},
)


def scope(manifest=MANIFEST, detection=None, trials=None, **values):
    draft = Draft(Facts(engine_plans.machine())).with_values(
        Source.USER, {"model.family": "flux", **{path.replace("__", "."): value for path, value in values.items()}}
    )
    return Scope(draft.values, manifest, detection, trials or {})


def shown(found, section):
    return {path.partition(".")[2] for path in fields.all_fields() if path.startswith(section) and found.applies(path)}


def test_companion_files_and_methods_are_those_of_the_claim():
    assert shown(scope(), "model.") == {"path", "method", "family", "prediction", "vae", "clip_l", "t5xxl"}
    only = replace(MANIFEST, families={"flux": replace(CLAIM, methods={"lora": Cell()}, parts={})})
    assert shown(scope(only), "model.") == {"path", "family", "prediction"}
    assert shown(scope(None), "model.") == {"path", "family", "prediction"}
    skips = replace(
        MANIFEST, families={"flux": replace(CLAIM, methods={**CLAIM.methods, "lora": Cell(clip_skip=True)}, parts={})}
    )
    assert "clip_skip" in shown(scope(skips), "model.")


def test_companion_files_are_needed_for_a_diffusion_model_and_not_for_a_complete_checkpoint():
    assert scope().needed_parts() == ("model.clip_l", "model.t5xxl")
    whole = Detection("flux", "checkpoint", parts=("vae", "clip_l", "t5xxl"))
    assert scope(detection=whole).needed_parts() == ()
    assert scope(detection=replace(whole, parts=("clip_l",))).needed_parts() == ("model.t5xxl",)
    apart = replace(MANIFEST, families={"flux": replace(CLAIM, parts_inside=False)})
    assert scope(apart, detection=whole).needed_parts() == ("model.clip_l", "model.t5xxl")


@pytest.mark.parametrize("name", catalog.algorithms())
def test_only_network_settings_that_the_algorithm_reads_are_shown(name):
    found = shown(scope(network__algorithm=name), "network.")
    assert found == {"algorithm", "train_text_encoder", *catalog.algorithms()[name].settings}


@pytest.mark.parametrize("name", catalog.optimizers())
def test_only_settings_that_the_optimizer_reads_are_shown(name):
    found = shown(scope(optimizer__name=name), "optimizer.")
    assert found == {"name", "learning_rate", "max_grad_norm", *catalog.optimizers()[name].settings}


def test_the_text_encoder_learning_rate_is_shown_if_it_is_trained():
    assert scope(network__train_text_encoder=True).applies("optimizer.text_encoder_learning_rate")


@pytest.mark.parametrize("name", catalog.schedulers())
def test_only_settings_that_the_schedule_reads_are_shown(name):
    curve = {name for scheduler in catalog.schedulers().values() for name in scheduler.settings}
    assert shown(scope(schedule__scheduler=name), "schedule.") & curve == set(catalog.schedulers()[name].settings)
    free = scope(schedule__scheduler=name, optimizer__name="AdamWScheduleFree")
    assert shown(free, "schedule.") & curve == {"warmup_steps"}


def test_textual_inversion_and_full_finetuning_have_their_own_settings():
    assert shown(scope(), "embedding.") == set()
    assert shown(scope(model__method="textual_inversion"), "embedding.") == {"init_word", "vectors"}
    assert shown(scope(model__method="textual_inversion"), "network.") == set()
    assert shown(scope(model__method="full"), "network.") == {"train_text_encoder"}
    assert scope().applies("memory.fp8_base")
    assert not scope(model__method="full").applies("memory.fp8_base")
    assert scope(model__method="full").applies("memory.fused_backward")


def test_a_flow_model_has_flow_shift_and_no_noise_settings():
    flow, noise = scope(model__prediction="flow"), scope(model__prediction="epsilon")
    assert (flow.applies("schedule.flow_shift"), noise.applies("schedule.flow_shift")) == (True, False)
    for path in ("schedule.min_snr_gamma", "schedule.noise_offset"):
        assert (flow.applies(path), noise.applies(path)) == (False, True)


def test_settings_of_some_models_apply_if_the_engine_declares_them():
    assert scope().applies("memory.blocks_to_swap")
    assert not scope().applies("memory.offload_checkpointing")
    assert not scope(model__method="full").applies("memory.blocks_to_swap")
    assert not scope(None).applies("memory.blocks_to_swap")
    flat = replace(MANIFEST, families={"flux": replace(CLAIM, methods={"lora": Cell()})})
    assert scope(network__algorithm="lokr").applies("network.conv_rank")
    assert not scope(flat, network__algorithm="lokr").applies("network.conv_rank")


def test_choices_are_those_of_the_engine_and_the_current_one_with_its_reason():
    assert scope().choices("optimizer.name") == {"AdamW": "", "Prodigy": ""}
    assert scope(optimizer__name="CAME").choices("optimizer.name")["CAME"] == f"not supported by {MANIFEST.title}"
    failed = scope(trials={"Prodigy": Trial(works=False, reason="no CUDA")}).choices("optimizer.name")
    assert failed == {"AdamW": "", "Prodigy": "does not work on this machine"}
    assert set(scope().choices("network.algorithm")) == set(CLAIM.algorithms)
    assert set(scope().choices("schedule.scheduler")) == {"cosine", "linear"}
    assert set(scope().choices("model.method")) == set(CLAIM.methods)
    assert set(scope(None).choices("optimizer.name")) == set(catalog.optimizers())


def test_an_empty_setting_means_the_default_of_the_optimizer():
    assert scope(optimizer__name="Prodigy").default("optimizer.beta2") == 0.999
    assert scope(optimizer__name="Prodigy").default("optimizer.momentum") is None
    assert scope().default("network.conv_rank") is None


@pytest.mark.parametrize("value", [5, [1], None, "nonsense"])
def test_a_draft_with_invalid_values_has_a_scope(value):
    wrong = dict.fromkeys(("model__family", "model__method", "optimizer__name", "network__algorithm"), value)
    found = scope(**wrong, schedule__scheduler=value)
    for path, field in fields.all_fields().items():
        assert found.applies(path) in (True, False)
        assert not field.choices or found.choices(path)


def contexts():
    for name in catalog.optimizers():
        yield {"optimizer.name": name}
    for name in catalog.schedulers():
        yield {"schedule.scheduler": name}
    for name in catalog.algorithms():
        yield {"network.algorithm": name}
    for method in ("full", "dreambooth", "textual_inversion"):
        yield {"model.method": method}


@pytest.mark.parametrize("context", list(contexts()), ids=lambda context: next(iter(context.values())))
def test_settings_that_the_rules_report_as_without_effect_do_not_apply(context):
    kohya = registry.get("kohya")
    for path, field in fields.all_fields().items():
        if path in context or path in ("model.method", "model.family"):
            continue
        values = {**context, path: contract.other_value(field)}
        plan = engine_plans.plan("sdxl", **{key.replace(".", "__"): value for key, value in values.items()})
        found = checks.check(checks.Case(plan, Facts(engine_plans.machine()), kohya))
        said = [problem.message for problem in found if problem.path == path]
        flat = {**fields.flatten(plan.model_dump()), **values}
        if any(f"{field.title} has no effect" in message for message in said):
            assert not Scope(flat, kohya.manifest).applies(path), (path, said)


def test_readers_are_listed_if_a_choice_decides():
    assert fields.readers("schedule.power") == ("polynomial",)
    assert "Prodigy" in fields.readers("optimizer.d_coef")
    assert fields.readers("dataset.flip") == fields.readers("optimizer.learning_rate") == ()


def test_a_choice_from_the_catalogue_has_its_entry():
    known = fields.all_fields()
    assert known["optimizer.name"].chooses["CAME"].title == "CAME"
    assert "nonsense" not in known["optimizer.name"].chooses
    assert known["memory.mixed_precision"].chooses == known["model.method"].chooses == {}


def test_every_setting_that_does_not_apply_says_why():
    # A setting that another one replaces is in a section without a choice from the catalogue.
    prompts = [{"text": "a dog"}]
    for found in (scope(sampling__prompts=prompts), scope(None, sampling__prompts=prompts), scope(), scope(None)):
        for path in fields.all_fields():
            assert bool(found.why_not(path)) is not found.applies(path), path
    assert "replaces it" in scope(sampling__prompts=prompts).why_not("sampling.prompt")
