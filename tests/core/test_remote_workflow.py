"""The workflow of a remote training, against the recorded nodes of ComfyUI-FluxTrainer."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.remote import LoRATrainingWorkflow, load_workflow_template
from trainer_core.remote.training import checking
from trainer_core.remote.training.hyperparams import TYPES
from trainer_core.remote.training.workflow import TEMPLATE, TEMPLATES


def built(**values):
    return LoRATrainingWorkflow(**{"class_tokens": "tok", "training_type": "custom-styles", **values}).build()


def test_every_template_is_accepted():
    names = [path.stem for path in TEMPLATES.glob("*.json")]
    assert TEMPLATE in names
    assert {name: checking.problems(load_workflow_template(name)) for name in names} == {name: [] for name in names}


def test_the_record_says_where_the_nodes_come_from():
    record = json.loads((TEMPLATES.parent / "nodes.json").read_text())
    assert "kijai/ComfyUI-FluxTrainer" in record["source"]
    assert (record["licence"], len(record["commit"])) == ("Apache-2.0", 40)
    assert len(record["nodes"]) > 20
    assert "UploadToHuggingFace" not in record["nodes"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("steps", [1, 2, 100, 101, 10_000])
def test_what_is_built_is_accepted(kind, steps):
    made = built(training_type=kind, max_train_steps=steps, network_dim=32)
    assert checking.problems(made) == []
    assert (made["107"]["inputs"]["network_dim"], made["107"]["inputs"]["network_alpha"]) == (32, 32)


def change(node, key, value):
    def apply(made):
        made[node]["inputs"][key] = value

    return apply


def remove(node, key=None):
    def apply(made):
        if key is None:
            del made[node]
        else:
            del made[node]["inputs"][key]

    return apply


BROKEN = [
    (change("107", "lr_scheduler", "cosine"), r"no input lr_scheduler. Node 95 \(OptimizerConfig\) has it"),
    (change("107", "optimizer_type", "adamw8bit"), r"Node 95 \(OptimizerConfig\) has it"),
    (change("107", "batch_size", 4), r"Node 109 \(TrainDatasetAdd\) has it"),
    (change("107", "network_dmi", 4), "Was network_dim meant"),
    (change("95", "optimizer_type", "AdamW8bit"), "must be one of adamw8bit"),
    (change("107", "network_dim", 0), "at least 1"),
    (change("107", "network_dim", 16.0), "a whole number"),
    (change("107", "network_dim", True), "a whole number"),
    (change("107", "network_alpha", 5000), "at most 2048"),
    (change("107", "learning_rate", float("nan")), "must be a number"),
    (change("107", "highvram", 1), "true or false"),
    (change("107", "flux_models", "flux"), "must be linked"),
    (change("107", "flux_models", ["109", 0]), "JSON and not TRAIN_FLUX_MODELS"),
    (change("107", "flux_models", ["99", 0]), "does not exist"),
    (change("107", "flux_models", ["2", 1]), "which has 1"),
    (change("107", "flux_models", ["2"]), "or a link"),
    (change("2", "transformer", "/etc/passwd"), "file in ComfyUI's folder"),
    (change("2", "transformer", "../../x"), "file in ComfyUI's folder"),
    (change("107", "output_name", "../x"), "without a folder"),
    (change("107", "max_train_steps", 2000), "the training loop has 500 steps"),
    (change("4", "steps", 400), "the training loop has 400 steps"),
    (change("4", "steps", 10_001), "at most 10000"),
    (change("4", "network_trainer", ["133", 0]), "STRING and not NETWORKTRAINER"),
    (change("4", "network_trainer", ["14", 0]), "linked to itself"),
    (change("70", "window_size", 500), "must be less than the 500 steps"),
    (change("109", "min_bucket_reso", 2048), "above max_bucket_reso"),
    (remove("109", "num_repeats"), "needs the input num_repeats"),
    (remove("2"), "node 2, which does not exist"),
]


@pytest.mark.parametrize(("spoil", "match"), BROKEN, ids=[match for _, match in BROKEN])
def test_a_change_that_would_fail_or_have_no_effect_is_named(spoil, match):
    made = built()
    spoil(made)
    found = checking.problems(made)
    assert re.search(match, " ".join(found)), found


def test_a_workflow_without_an_output_is_refused():
    made = built()
    for name in ("133", "9", "90", "8", "70"):
        del made[name]
    assert "No node is an output" in " ".join(checking.problems(made))


def standing(kind, **linked):
    """A node with the defaults of its inputs."""
    inputs = {
        name: about.get("default", about.get("values", ["x"])[0])
        for name, about in checking.nodes()[kind]["inputs"].items()
        if about["required"]
    }
    return {"class_type": kind, "inputs": {**inputs, **linked}}


def test_a_workflow_whose_outputs_need_no_training_is_refused():
    made = {
        "2": standing("FluxTrainModelSelect"),
        "5": standing("FluxKohyaInferenceSampler", flux_models=["2", 0]),
        "6": standing("SaveImage", images=["5", 0]),
    }
    assert checking.problems(made) == [
        "No output needs a node that trains (InitFluxLoRATraining or InitFluxTraining), so nothing would be trained."
    ]


@pytest.mark.parametrize(
    "workflow",
    [None, [], {}, {"1": 5}, {1: {}}, {"1": {"class_type": "X"}}, {"1": {"class_type": ["x"], "inputs": {}}}, "text"],
)
def test_what_is_no_workflow_is_refused(workflow):
    assert checking.problems(workflow)


def test_a_node_that_takes_a_token_is_refused():
    made = built()
    made["89"] = {"class_type": "UploadToHuggingFace", "inputs": {"network_trainer": ["14", 0], "token": "hf_x"}}
    assert "no node of a training" in " ".join(checking.problems(made))


def test_two_loops_after_each_other_train_the_sum_of_their_steps():
    made = built()
    made["4"]["inputs"]["steps"] = 200
    made["44"] = {"class_type": "FluxTrainLoop", "inputs": {"network_trainer": ["4", 0], "steps": 300}}
    made["14"]["inputs"]["network_trainer"] = ["44", 0]
    assert checking.problems(made) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["2", "4", "107"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(sorted(load_workflow_template(TEMPLATE))), st.data())
def test_whatever_stands_in_an_input_the_check_gives_sentences(node, data):
    made = built()
    key = data.draw(st.sampled_from(sorted(made[node]["inputs"])))
    made[node]["inputs"][key] = data.draw(values)
    assert all(isinstance(each, str) and each for each in checking.problems(made))
