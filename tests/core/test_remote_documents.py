"""What the document "LoRA Training Module" shows, sentence by sentence, against a twin of RunPod on loopback."""

import re
import socket

import pytest

from tests.support import document_snippets as snippets
from tests.support import runpod_twin
from tests.support.runpod_twin import ENDPOINT, KEY, Fault
from trainer_core.remote import (
    LoRATrainingWorkflow,
    TrainingClient,
    compute_hyperparams,
    load_workflow_template,
    train_actor,
    train_style,
)
from trainer_core.remote.runpod.connection import BASE_URL_NAME

STYLE = {"style_id": "my-style-123", "image_urls": snippets.IMAGES, "user_id": "user-456", "tenant_id": "tenant-789"}
NAMES = (*snippets.ENVIRONMENT, "GATEWAY_BASE_URL", "BASE_URL", "S3_ENDPOINT_URL", "MODEL_TRAINING_RUNPOD_API_KEY")


@pytest.fixture
def twin():
    with runpod_twin.running() as found:
        yield found


@pytest.fixture(autouse=True)
def environment(twin, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(BASE_URL_NAME, twin.url)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", ENDPOINT)


def sent(twin):
    return twin.asked[-1].data


def config(twin):
    return sent(twin)["input"]["training_config"]


# ---- Quick start ----
def test_basic_style_training(twin, capsys):
    """print(f"Job ID: {result['job_id']}"); print(f"Status: {result['status']}")  # "started"."""
    snippets.run(snippets.BASIC_STYLE)
    said = capsys.readouterr().out
    assert re.search(r"^Job ID: custom-styles_style_my-style-123_\d{10}$", said, re.MULTILINE)
    assert "Status: started" in said
    assert sent(twin)["input"]["training_data"]["s3_urls"] == [
        "s3://bucket/user/style/image1.jpg",
        "s3://bucket/user/style/image2.jpg",
    ]


def test_basic_actor_training(twin):
    """result = train_actor(actor_id="actor-abc", image_urls=["s3://bucket/user/actor/image1.jpg"], ...)."""
    result = snippets.run(snippets.BASIC_ACTOR)["result"]
    assert (result["status"], result["training_type"], result["model_name"]) == (
        "started",
        "custom-actors",
        "actor_actor-abc",
    )
    assert (config(twin)["max_train_steps"], config(twin)["learning_rate"]) == (800, 4e-4)


def test_using_training_client(twin):
    """client = TrainingClient(api_key="your-runpod-api-key", endpoint_id="your-endpoint-id")."""
    result = snippets.run(snippets.CLIENT)["result"]
    assert result["status"] == "failed"
    asked = twin.asked[-1]
    assert (asked.path, asked.headers["Authorization"]) == ("/v2/your-endpoint-id/run", "Bearer your-runpod-api-key")


# ---- Features ----
def test_dynamic_hyperparameters(capsys):
    """Compute for 15 style images."""
    snippets.run(snippets.HYPERPARAMS)
    assert capsys.readouterr().out == "Learning rate: 0.0004\nTraining steps: 750\n"


@pytest.mark.parametrize(
    ("kind", "images", "rate", "steps"),
    [
        ("custom-styles", 1, 4e-4, 500),
        ("custom-styles", 15, 4e-4, 750),
        ("custom-styles", 100, 4e-4, 2000),
        ("custom-actors", 1, 4e-4, 800),
        ("custom-actors", 10, 4e-4, 1000),
        ("custom-actors", 11, 3e-4, 1100),
        ("custom-actors", 20, 3e-4, 2000),
        ("custom-actors", 21, 2.5e-4, 2100),
        ("custom-actors", 100, 2.5e-4, 3000),
    ],
)
def test_default_behavior(kind, images, rate, steps):
    """Styles: 0.0004, images x 50 (min 500, max 2000). Actors: tiered (1-10, 11-20, 21+), images x 100 (min 800, max 3000)."""
    found = compute_hyperparams(kind, images)
    assert (found.learning_rate, found.max_train_steps) == (rate, steps)


def test_custom_hyperparameters(twin):
    """Override computed values: learning_rate=0.0005, max_train_steps=1500."""
    assert snippets.run(snippets.CUSTOM)["result"]["status"] == "started"
    nodes = sent(twin)["input"]["workflow"]
    assert (config(twin)["learning_rate"], config(twin)["max_train_steps"]) == (0.0005, 1500)
    assert (nodes["107"]["inputs"]["learning_rate"], nodes["107"]["inputs"]["max_train_steps"]) == (0.0005, 1500)
    assert nodes["4"]["inputs"]["steps"] == 1500


def test_workflow_builder(twin):
    """Build workflows programmatically; use in custom training requests."""
    given = dict.fromkeys(("user_id", "tenant_id", "request_id", "model_name"), "x1")
    made = snippets.run(
        snippets.BUILDER, CONFIG={**given, "mode": "custom-styles", "learning_rate": 0.0004, "max_train_steps": 1000}
    )
    inputs = made["workflow"]["107"]["inputs"]
    assert (inputs["learning_rate"], inputs["max_train_steps"]) == (0.0004, 1000)
    assert made["workflow"]["109"]["inputs"]["class_tokens"] == "my-style-token"
    result = TrainingClient().submit(made["payload"])
    assert (result["status"], result["job_id"]) == ("started", "x1")
    assert sent(twin)["input"] == made["payload"]["input"]


# ---- Environment variables ----
def test_the_training_specific_key_comes_first(twin, monkeypatch):
    """RUNPOD_API_KEY, OR for training-specific key MODEL_TRAINING_RUNPOD_API_KEY."""
    monkeypatch.setenv("RUNPOD_API_KEY", "another-key")
    monkeypatch.setenv("MODEL_TRAINING_RUNPOD_API_KEY", KEY)
    assert train_style(**STYLE)["status"] == "started"


def test_the_webhook_is_at_the_gateway(twin, monkeypatch):
    """GATEWAY_BASE_URL=https://api.yourdomain.com, BASE_URL=https://api.yourdomain.com."""
    monkeypatch.setenv("BASE_URL", "https://base.example.com")
    assert train_style(**STYLE)["webhook_url"] == "https://base.example.com/core/training-webhooks/runpod-serverless"
    monkeypatch.setenv("GATEWAY_BASE_URL", "https://api.yourdomain.com/")
    result = train_style(**STYLE)
    assert (
        sent(twin)["webhook"]
        == result["webhook_url"]
        == "https://api.yourdomain.com/core/training-webhooks/runpod-serverless"
    )


def test_the_shown_values_are_the_defaults(monkeypatch):
    """SB_HP_STYLE_LR=0.0004 ... SB_HP_ACTOR_MAX=3000."""
    asked = [
        (kind, images) for kind in ("custom-styles", "custom-actors") for images in (1, 10, 11, 15, 20, 21, 30, 60)
    ]
    before = [compute_hyperparams(*each) for each in asked]
    for name, text in snippets.ENVIRONMENT.items():
        monkeypatch.setenv(name, text)
    assert [compute_hyperparams(*each) for each in asked] == before


@pytest.mark.parametrize("name", snippets.ENVIRONMENT)
def test_each_variable_is_read_when_it_is_used_and_a_bad_number_is_a_clear_error(name, monkeypatch):
    """Hyperparameter tuning."""
    kind = "custom-styles" if "STYLE" in name else "custom-actors"
    before = [compute_hyperparams(kind, images) for images in range(1, 45)]
    text = {"LR": "0.0001", "SPI": "70", "MIN": "900", "MAX": "1100", "T1_MAX": "12", "T2_MAX": "25"}
    monkeypatch.setenv(
        name, next(value for end, value in reversed(text.items()) if name.endswith(end) or f"_{end}_" in name)
    )
    assert [compute_hyperparams(kind, images) for images in range(1, 45)] != before
    for bad in ("many", "-1", "0", "nan", "1e999", "0x10"):
        monkeypatch.setenv(name, bad)
        with pytest.raises(ValueError, match=f"{name} is '{bad}', but it must be"):
            compute_hyperparams(kind, 15)


def test_limits_that_contradict_each_other_are_an_error(twin, monkeypatch):
    monkeypatch.setenv("SB_HP_STYLE_MIN", "3000")
    with pytest.raises(ValueError, match=r"SB_HP_STYLE_MIN \(3000\) must be at most SB_HP_STYLE_MAX \(2000\)"):
        train_style(**STYLE)
    assert twin.asked == []


# ---- Training flow ----
def test_https_addresses_become_s3_addresses(twin):
    """Convert URLs: HTTPS S3 URLs -> s3://bucket/key format."""
    urls = [
        "https://my-bkt.s3.us-west-1.amazonaws.com/a/one%20two.jpg?X-Amz-Signature=0123456789abcdef&X-Amz-Credential=AKIA",
        "https://s3-accelerate.amazonaws.com/my-bkt/a/b.png",
    ]
    assert train_style(**{**STYLE, "image_urls": urls})["status"] == "started"
    assert sent(twin)["input"]["training_data"]["s3_urls"] == ["s3://my-bkt/a/one two.jpg", "s3://my-bkt/a/b.png"]
    assert b"X-Amz" not in twin.asked[-1].body


def test_the_request_is_a_post_to_run_with_a_policy(twin):
    """Submit Request: POST to RunPod /run endpoint with webhook URL."""
    train_style(**STYLE, run_s=7200, queue_s=3600)
    assert (twin.asked[-1].method, twin.asked[-1].path) == ("POST", f"/v2/{ENDPOINT}/run")
    assert sent(twin)["policy"] == {"executionTimeout": 7_200_000, "ttl": 10_800_000}


def test_without_a_time_the_steps_decide_how_long_a_training_may_take(twin):
    train_style(**STYLE)
    short = sent(twin)["policy"]["executionTimeout"]
    train_style(**STYLE, max_train_steps=5000)
    assert 600_000 < short < sent(twin)["policy"]["executionTimeout"] <= 7 * 86_400_000


def test_response_format(twin, monkeypatch):
    """The response format has nine keys, with these names and values."""
    monkeypatch.setenv("GATEWAY_BASE_URL", "https://api.yourdomain.com")
    result = train_style(**STYLE)
    assert re.fullmatch(r"custom-styles_style_my-style-123_\d{10}", result["job_id"])
    assert list(result.items()) == [
        ("status", "started"),
        ("job_id", config(twin)["request_id"]),
        ("runpod_job_id", next(iter(twin.jobs))),
        ("user_id", "user-456"),
        ("tenant_id", "tenant-789"),
        ("training_type", "custom-styles"),
        ("model_name", "style_my-style-123"),
        ("message", "Training started, completion will be notified via webhook"),
        ("webhook_url", "https://api.yourdomain.com/core/training-webhooks/runpod-serverless"),
    ]


def test_without_a_webhook_nothing_says_that_one_will_be_called(twin):
    result = train_style(**STYLE)
    assert "webhook" not in sent(twin)
    assert (result["webhook_url"], "will be notified" in result["message"]) == (None, False)


def test_two_requests_at_once_have_two_ids():
    """A result is stored under the id of its request."""
    client = TrainingClient()
    assert len({client.train_style(**STYLE)["job_id"] for _ in range(5)}) == 5


# ---- Workflow details ----
def test_the_workflow_has_what_the_document_lists():
    """Flux Dev FP8, 16-dimensional LoRA, buckets 256-1024, batch size 2 with 10 repeats, loss visualization, validation samples, BF16."""
    nodes = load_workflow_template("lora_training_workflow_headless")
    kinds = {name: node["class_type"] for name, node in nodes.items()}
    assert {name: kinds[name] for name in ("2", "4", "107", "109", "14")} == {
        "2": "FluxTrainModelSelect",
        "4": "FluxTrainLoop",
        "107": "InitFluxLoRATraining",
        "109": "TrainDatasetAdd",
        "14": "FluxTrainSave",
    }
    assert nodes["2"]["inputs"]["transformer"] == "flux1-dev-fp8.safetensors"
    start, dataset = nodes["107"]["inputs"], nodes["109"]["inputs"]
    assert (start["network_dim"], start["gradient_dtype"], start["save_dtype"], start["fp8_base"]) == (
        16,
        "bf16",
        "bf16",
        True,
    )
    assert (dataset["min_bucket_reso"], dataset["max_bucket_reso"], dataset["enable_bucket"]) == (256, 1024, True)
    assert (dataset["batch_size"], dataset["num_repeats"]) == (2, 10)
    assert {"VisualizeLoss", "FluxTrainValidate", "FluxTrainEnd"} <= set(kinds.values())


# ---- Error handling ----
def test_error_handling(twin, capsys, monkeypatch):
    """A configuration error is a ValueError; a training that did not start has the status "failed" and an error."""
    snippets.run(snippets.ERRORS, ARGUMENTS=STYLE)
    twin.faults = [Fault(400, '{"error": "no workers"}')]
    snippets.run(snippets.ERRORS, ARGUMENTS=STYLE)
    monkeypatch.delenv("RUNPOD_API_KEY")
    snippets.run(snippets.ERRORS, ARGUMENTS=STYLE)
    started, failed, wrong = capsys.readouterr().out.splitlines()
    assert started.startswith("started: custom-styles_")
    assert failed.startswith("failed: ")
    assert "no workers" in failed
    assert wrong == "Configuration error: RunPod API key is required"


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_failed_answer_has_two_keys(twin, status):
    """{"status": "failed", "error": ...}."""
    twin.faults = [Fault(status, "{}")]
    result = train_style(**STYLE)
    assert (list(result), result["status"]) == (["status", "error"], "failed")
    assert str(status) in result["error"]


# ---- Advanced usage ----
def test_load_workflow_template():
    """template = load_workflow_template("lora_training_workflow_headless"); modify template as needed."""
    template = snippets.run(snippets.TEMPLATE)["template"]
    template["109"]["inputs"]["batch_size"] = 99
    assert load_workflow_template("lora_training_workflow_headless")["109"]["inputs"]["batch_size"] == 2


@pytest.mark.parametrize(
    "name", ["other", "../nodes", "", "/etc/passwd", "../templates/lora_training_workflow_headless"]
)
def test_a_template_that_does_not_exist_is_an_error_with_the_known_ones(name):
    with pytest.raises(ValueError, match="Known: lora_training_workflow_headless"):
        load_workflow_template(name)


def test_custom_workflow_modifications(twin):
    """workflow["109"]["inputs"]["batch_size"] = 4; workflow["107"]["inputs"]["network_dim"] = 32."""
    workflow = snippets.run(snippets.CHANGES)["workflow"]
    given = {**dict.fromkeys(("user_id", "tenant_id", "request_id", "model_name"), "x1"), "mode": "custom-styles"}
    data = {"workflow": workflow, "training_data": {"s3_urls": snippets.IMAGES}, "training_config": given}
    assert TrainingClient().submit({"input": data})["status"] == "started"
    nodes = sent(twin)["input"]["workflow"]
    assert (nodes["109"]["inputs"]["batch_size"], nodes["107"]["inputs"]["network_dim"]) == (4, 32)


def test_a_change_that_would_have_no_effect_is_refused_with_the_reason(twin):
    """lr_scheduler and batch_size belong to other nodes, and the loop must have the steps of the training."""
    workflow = LoRATrainingWorkflow(class_tokens="my-token", training_type="custom-styles").build()
    workflow["107"]["inputs"]["lr_scheduler"] = "cosine"
    given = {**dict.fromkeys(("user_id", "tenant_id", "request_id", "model_name"), "x1"), "mode": "custom-styles"}
    data = {"workflow": workflow, "training_data": {"s3_urls": snippets.IMAGES}, "training_config": given}
    with pytest.raises(ValueError, match=r"has no input lr_scheduler. Node 95 \(OptimizerConfig\) has it"):
        TrainingClient().submit({"input": data})
    del workflow["107"]["inputs"]["lr_scheduler"]
    workflow["107"]["inputs"]["max_train_steps"] = 2000
    with pytest.raises(ValueError, match="the training loop has 500 steps"):
        TrainingClient().submit({"input": data})
    assert twin.asked == []


# ---- Troubleshooting ----
def test_no_api_key(monkeypatch):
    """ValueError: RunPod API key is required."""
    monkeypatch.setenv("RUNPOD_API_KEY", " ")
    with pytest.raises(ValueError, match=r"\ARunPod API key is required\Z"):
        TrainingClient()


def test_no_endpoint(monkeypatch):
    """ValueError: MODEL_TRAINING_RUNPOD_ENDPOINT_ID environment variable is required."""
    monkeypatch.delenv("MODEL_TRAINING_RUNPOD_ENDPOINT_ID")
    with pytest.raises(ValueError, match=r"\AMODEL_TRAINING_RUNPOD_ENDPOINT_ID environment variable is required\Z"):
        train_actor("a", snippets.IMAGES, "u", "t")


def test_timeout(twin):
    """{"status": "failed", "error": "Training request timeout"}: increase timeout."""
    twin.faults = [Fault(how="slow", wait_s=0.6)]
    assert TrainingClient(timeout=0.2).train_style(**STYLE) == {"status": "failed", "error": "Training request timeout"}
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        # The one place in the queue of this server is taken: a connection is never accepted.
        client = TrainingClient(timeout=0.1, base_url=f"http://127.0.0.1:{full.getsockname()[1]}/v2")
        assert client.train_style(**STYLE) == {"status": "failed", "error": "Training request timeout"}
    twin.faults = [Fault(how="slow", wait_s=0.6)]
    assert TrainingClient(timeout=5).train_style(**STYLE)["status"] == "started"
