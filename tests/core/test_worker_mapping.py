"""A workflow of ComfyUI as settings of a plan: every input of every node has a row, and every value is a setting, a note or a refusal."""

import copy
import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import kohya_plans
from trainer_core import catalog
from trainer_core.engines import contract, registry
from trainer_core.engines.status import EngineStatus
from trainer_core.errors import RemoteError
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import blocking
from trainer_core.remote.training import checking
from trainer_core.remote.training.workflow import LoRATrainingWorkflow
from trainer_core.remote.worker import mapping
from trainer_core.remote.worker.mapping import mapped

SCHEMA = checking.nodes()
ROWS = {(kind, name): row for kind, name, row in mapping.rows()}
WITH_ROWS = [kind for kind in SCHEMA if "refused" not in mapping.table()[kind]]


def workflow(**changes):
    made = LoRATrainingWorkflow("style_16", "custom-styles", 0.0004, 1000, captioned=True).build()
    for node, inputs in changes.items():
        made[node.removeprefix("n")]["inputs"] |= inputs
    return made


def refusal(made):
    with pytest.raises(RemoteError) as caught:
        mapped(made)
    return caught.value.message


def outcome(made):
    """What a workflow asks for, or None and the sentences with which it is refused."""
    try:
        return mapped(made), ""
    except RemoteError as error:
        return None, error.message


def test_every_class_and_every_input_of_a_node_has_a_row_and_no_other():
    assert set(mapping.table()) == set(SCHEMA)
    for kind in WITH_ROWS:
        assert {name for known, name in ROWS if known == kind} == set(SCHEMA[kind]["inputs"]), kind


def test_rows_name_settings_and_values_that_exist():
    for (kind, name), row in ROWS.items():
        about, where = SCHEMA[kind]["inputs"][name], f"{kind}.{name}"
        literals = about.get("values", ())
        for path in (
            row.get("setting"),
            row.get("file"),
            *(path for each in row.get("sets", {}).values() for path in each),
        ):
            assert path is None or path in fields.all_fields(), where
        assert set(row.get("values", row.get("sets", {}))) <= set(literals) or not literals, where
        for path, value in [
            *((row["setting"], value) for value in row.get("values", {}).values()),
            *(pair for each in row.get("sets", {}).values() for pair in each.items()),
        ]:
            assert not fields.check(path, value)[1], where
        for other, wanted in row.get("only_with", {}).items():
            known = SCHEMA[kind]["inputs"][other]
            assert set(wanted) <= set(known.get("values", wanted)), where
        is_link = about["type"] not in checking._LITERALS
        assert ("link" in row) == is_link, where


def test_options_of_the_engine_are_those_of_sd_scripts():
    known = registry.get("kohya").manifest.options
    names = {row["native"] for row in ROWS.values() if "native" in row}
    assert names
    assert names <= {name for group in known.native.values() for name in group}


def test_the_workflow_of_the_document_becomes_the_plan_that_it_describes():
    found = mapped(workflow())
    plan = TrainingPlan.model_validate(fields.nest(dict(found.values)))
    assert (plan.network.rank, plan.network.alpha, plan.schedule.steps, plan.optimizer.learning_rate) == (
        16,
        16,
        1000,
        0.0004,
    )
    assert (plan.optimizer.name, plan.schedule.scheduler, plan.schedule.batch_size) == (
        "AdamW8bit",
        "cosine_with_restarts",
        2,
    )
    assert (plan.dataset.repeats, plan.dataset.resolution, plan.memory.fp8_base) == (10, 1024, True)
    assert (plan.memory.mixed_precision, plan.memory.half_weights, plan.output.save_precision) == ("bf16", True, "bf16")
    assert found.files == {
        "model.path": "flux1-dev-fp8.safetensors",
        "model.vae": "ae.safetensors",
        "model.clip_l": "clip_l.safetensors",
        "model.t5xxl": "t5xxl_fp8_e4m3fn.safetensors",
    }
    assert found.native == {"apply_t5_attn_mask": True, "min_bucket_reso": 256, "max_bucket_reso": 1024}
    assert [prompt["text"] for prompt in found.values["sampling.prompts"]][1].endswith("style_16")
    assert found.values["sampling.every_steps"] == 1000


def _values(about):
    """Values of an input as the schema allows them, and some that it does not."""
    kind = about["type"]
    if kind == "one of":
        return st.sampled_from([*about["values"], "something else"])
    if kind == "BOOLEAN":
        return st.booleans()
    if kind == "INT":
        return st.integers(about.get("min", -5) - 1, min(about.get("max", 10**6), 10**6) + 1)
    if kind == "FLOAT":
        return st.floats(about.get("min", -1.0), about.get("max", 100.0), allow_nan=False)
    return st.sampled_from(["", "a", "a|b=1", about.get("default", "x")])


LITERALS = [
    (name, key)
    for name, node in workflow().items()
    for key, about in SCHEMA[node["class_type"]]["inputs"].items()
    if about["type"] in checking._LITERALS
]


@given(st.data())
def test_whatever_the_value_it_is_a_setting_a_note_or_a_refusal_that_names_it(data):
    made = workflow()
    name, key = data.draw(st.sampled_from(LITERALS))
    kind = made[name]["class_type"]
    value = data.draw(_values(SCHEMA[kind]["inputs"][key]))
    before = mapped(made)
    made[name]["inputs"][key] = value
    found, refused = outcome(made)
    if found is None:
        assert f"Node {name} ({kind})" in refused or f"node {name}" in refused
        assert key in refused
        return
    row = ROWS[kind, key]
    where = f"Node {name} ({kind}): {key}"
    noted = any(note.startswith(where) for note in found.notes)
    if "no_effect" in row:
        assert noted
    elif "only" in row:
        assert value in row["only"]
    elif "link" not in row and "read" not in row and not noted:
        assert where in found.sources.values()
        if "setting" in row:
            wanted = row["values"][value] if "values" in row else value
            # A whole number may stand for a number.
            assert found.values[row["setting"]] == wanted
        if "native" in row and "split" not in row:
            usual = row.get("left_out", before.native.get(row["native"]))
            assert found.native.get(row["native"], usual) == value or key in ("min_bucket_reso", "max_bucket_reso")


@given(st.sampled_from(sorted(catalog.optimizers())))
def test_an_optimizer_of_the_nodes_gets_the_weight_decay_of_its_own_library(name):
    names = {value: key for key, value in ROWS["OptimizerConfig", "optimizer_type"]["values"].items()}
    if name in names:
        found = mapped(workflow(n95={"optimizer_type": names[name]}))
        settings = catalog.optimizers()[name].settings
        assert found.values.get("optimizer.weight_decay") == settings.get("weight_decay")


def test_a_contradiction_between_two_nodes_is_refused_with_both():
    made = workflow()
    made["4"]["inputs"]["steps"] = 900
    assert "max_train_steps of node 107 is 1000, but the training loop has 900 steps (node 4)" in refusal(made)


def test_a_second_dataset_is_refused():
    made = workflow()
    made["110"] = copy.deepcopy(made["109"])
    made["110"]["inputs"]["dataset_config"] = ["109", 0]
    made["107"]["inputs"]["dataset"] = ["110", 0]
    assert "Node 110 (TrainDatasetAdd) is the second node of its class" in refusal(made)


def test_a_node_that_no_output_needs_changes_nothing_and_is_noted():
    made = workflow()
    made["200"] = {"class_type": "OptimizerConfig", "inputs": {**made["95"]["inputs"], "optimizer_type": "Lion"}}
    found = mapped(made)
    assert found.values["optimizer.name"] == "AdamW8bit"
    assert "Node 200 (OptimizerConfig) has no effect: no output needs it." in found.notes


def test_the_token_is_read_and_stands_in_the_plan_once():
    found = mapped(workflow(n109={"class_tokens": " style_16 "}))
    assert (found.token, found.values["dataset.trigger"]) == ("style_16", "style_16")


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("FluxTrainBlockSelect", {"include": "lora_unet_single_blocks_20_linear2"}),
        ("FluxTrainResume", {"load_state_path": "/state", "skip_until_initial_step": False}),
    ],
)
def test_a_node_that_cannot_be_trained_with_is_refused_with_its_reason(kind, inputs):
    made = workflow()
    made["300"] = {"class_type": kind, "inputs": inputs}
    key = {"FluxTrainBlockSelect": "block_args", "FluxTrainResume": "resume_args"}[kind]
    made["107"]["inputs"][key] = ["300", 0]
    assert f"Node 300 ({kind}) cannot be used: {mapping.table()[kind]['refused']}" in refusal(made)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.sets(st.integers(0, 4)))
def test_samples_after_loops_come_at_equal_distances_or_are_refused(lengths, sampled):
    made = workflow()
    for name in ("14", "8", "9", "70", "90", "133", "4"):
        del made[name]
    made["107"]["inputs"]["max_train_steps"] = sum(lengths)
    at, before = "107", 0
    positions = set()
    for number, steps in enumerate(lengths):
        made[f"l{number}"] = {"class_type": "FluxTrainLoop", "inputs": {"network_trainer": [at, 0], "steps": steps}}
        at, before = f"l{number}", before + steps
        if number in sampled:
            inputs = {"network_trainer": [at, 0], "validation_settings": ["37", 0]}
            made[f"v{number}"] = {"class_type": "FluxTrainValidate", "inputs": inputs}
            at = f"v{number}"
            positions.add(before)
    made["e"] = {"class_type": "FluxTrainEnd", "inputs": {"network_trainer": [at, 0], "save_state": False}}
    total = sum(lengths)
    found, refused = outcome(made)
    if found is None:
        assert "(FluxTrainValidate): its work comes after steps" in refused
        return
    every = found.values["sampling.every_steps"]
    done = set(range(every, total + 1, every)) if every else set()
    assert positions <= done <= positions | {total}
    assert math.gcd(*positions) == every if positions else every == 0


def test_sd_scripts_gets_the_values_of_the_workflow():
    # No value is the engine's own or Easel's, which would be there without the workflow.
    other = {
        "n107": {
            "network_dim": 24,
            "network_alpha": 6.0,
            "learning_rate": 0.0003,
            "discrete_flow_shift": 2.5,
            "guidance_scale": 2.0,
        },
        "n95": {"max_grad_norm": 0.5, "lr_scheduler_num_cycles": 3, "lr_warmup_steps": 20},
        "n109": {"batch_size": 3, "num_repeats": 7},
    }
    made = workflow(**other)
    found = mapped(made)
    files = {path: f"/models/{name}" for path, name in found.files.items()}
    more = {"model.family": "flux", "dataset.path": "/images", "output.name": "mika"}
    values = {**found.values, **files, **more, "native": {"kohya": dict(found.native)}}
    plan = TrainingPlan.model_validate(fields.nest(values))
    backend = registry.get("kohya")
    assert not blocking(backend.problems(plan, contract.MACHINE, EngineStatus(installed=True)))
    tables = [
        tomllib.loads(text)
        for name, text in backend.render(plan, kohya_plans.place()).files.items()
        if name.suffix == ".toml"
    ]
    got = {}
    for table in tables:
        for part in table.values():
            got |= part if isinstance(part, dict) else {}
        for dataset in table.get("datasets", ()):
            got |= dataset | dataset["subsets"][0]
    sent = {**made["107"]["inputs"], **made["95"]["inputs"], **made["109"]["inputs"]}
    same = (
        *("network_dim", "network_alpha", "learning_rate", "max_train_steps", "apply_t5_attn_mask", "fp8_base"),
        *("guidance_scale", "discrete_flow_shift", "timestep_sampling", "model_prediction_type", "lr_scheduler"),
        *("lr_scheduler_num_cycles", "lr_warmup_steps", "max_grad_norm", "batch_size", "num_repeats", "enable_bucket"),
        *("min_bucket_reso", "max_bucket_reso"),
    )
    assert {name: got.get(name) for name in same} == {name: sent[name] for name in same}
    assert (got["optimizer_type"].lower(), got["full_bf16"], got["save_precision"]) == ("adamw8bit", True, "bf16")
    assert (got["mixed_precision"], got["resolution"]) == ("bf16", 1024)
