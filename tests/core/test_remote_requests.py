"""Requests of the document "LoRA Training System": images with captions, its format and its policy; and what a request never has."""

import json

import pytest

from tests.support import runpod_twin
from tests.support.runpod_twin import ENDPOINT, KEY, Fault
from trainer_core.remote import TrainingClient, compute_hyperparams, credentials
from trainer_core.remote.runpod.connection import BASE_URL_NAME

PAIRS = [f"s3://bucket/styles/16/image_00{number}.{end}" for number in range(1, 9) for end in ("jpg", "txt")]
IMAGES = [url for url in PAIRS if url.endswith(".jpg")]
WHO = {"user_id": "actor_maker_user", "tenant_id": "actor_maker"}


@pytest.fixture
def twin(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (*credentials.KNOWN, "RUNPOD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with runpod_twin.running() as found:
        monkeypatch.setenv(BASE_URL_NAME, found.url)
        yield found


@pytest.fixture
def client(twin):
    made = TrainingClient(KEY, ENDPOINT)
    yield made
    made.close()


def test_request_format(twin, client):
    """The request format: workflow, training_data.s3_urls with images and captions, training_config with seven fields; the webhook."""
    hook = "https://abc123.ngrok.io/api/training-webhook"
    result = client.train_style("16", PAIRS, model_name="style_16_v1.0", preset="style-002", webhook_url=hook, **WHO)
    sent = twin.asked[-1].data
    assert (list(sent), sent["webhook"]) == (["input", "policy", "webhook"], hook)
    assert list(sent["input"]) == ["workflow", "training_data", "training_config"]
    assert sent["input"]["training_data"] == {"s3_urls": PAIRS}
    assert sent["input"]["training_config"] == {
        "mode": "custom-styles",
        "user_id": "actor_maker_user",
        "tenant_id": "actor_maker",
        "request_id": result["job_id"],
        "model_name": "style_16_v1.0",
        "learning_rate": 0.0001,
        "max_train_steps": 500,
    }
    nodes = sent["input"]["workflow"]
    assert nodes["2"]["inputs"]["transformer"] == "flux1-dev-fp8.safetensors"
    assert nodes["109"]["inputs"]["dataset_path"] == "/training_data"
    assert nodes["107"]["inputs"]["output_name"] == "style_16_v1.0"


@pytest.mark.parametrize(("images", "steps"), [(8, 500), (15, 600), (20, 800), (30, 1200), (50, 2000), (200, 8000)])
def test_image_count_guidelines(images, steps):
    """Small 500-1000, sweet spot about 40 steps per image, larger 2000-8000 steps; LR 0.0001."""
    found = compute_hyperparams("custom-styles", images, preset="style-002")
    assert (found.learning_rate, found.max_train_steps) == (1e-4, steps)


def test_recommended_starting_values(client, twin):
    """network_dim 16, network_alpha same, cosine_with_restarts, adamw8bit, batch_size 2, num_repeats 10, gradient_dtype bf16."""
    client.train_style("16", PAIRS, preset="style-002", **WHO)
    nodes = {name: node["inputs"] for name, node in twin.asked[-1].data["input"]["workflow"].items()}
    assert (nodes["107"]["network_dim"], nodes["107"]["network_alpha"], nodes["107"]["gradient_dtype"]) == (
        16,
        16,
        "bf16",
    )
    assert (nodes["95"]["lr_scheduler"], nodes["95"]["optimizer_type"]) == ("cosine_with_restarts", "adamw8bit")
    assert (nodes["109"]["batch_size"], nodes["109"]["num_repeats"]) == (2, 10)


def test_or_32_for_complex_styles(client, twin):
    client.train_style("16", PAIRS, preset="style-002-complex", **WHO)
    inputs = twin.asked[-1].data["input"]["workflow"]["107"]["inputs"]
    assert (inputs["network_dim"], inputs["network_alpha"]) == (32, 32)


@pytest.mark.parametrize(("urls", "token"), [(PAIRS, ""), (IMAGES, "style_16")])
def test_a_trigger_that_is_in_the_captions_is_not_written_before_them_again(client, twin, urls, token):
    """A caption is "Scene description, trigger_token", and class_tokens is prepended to every caption."""
    client.train_style("16", urls, **WHO)
    nodes = twin.asked[-1].data["input"]["workflow"]
    assert nodes["109"]["inputs"]["class_tokens"] == token
    assert nodes["107"]["inputs"]["sample_prompts"].count("style_16") == 3


def test_captions_count_as_no_images(client, twin):
    client.train_actor("a", PAIRS, **WHO)
    with_captions = twin.asked[-1].data["input"]["training_config"]["max_train_steps"]
    client.train_actor("a", IMAGES, **WHO)
    assert with_captions == twin.asked[-1].data["input"]["training_config"]["max_train_steps"] == 800


def test_a_caption_comes_after_its_image_in_whatever_order_they_are_listed(client, twin):
    client.train_style("16", sorted(PAIRS, reverse=True), **WHO)
    sent = twin.asked[-1].data["input"]["training_data"]["s3_urls"]
    assert sent == [url for image in sorted(IMAGES, reverse=True) for url in (image, image.replace(".jpg", ".txt"))]


WRONG = [
    ([], "There is no image"),
    (["s3://bkt/a.txt"], "There is no image"),
    ([*IMAGES, IMAGES[0]], "listed twice"),
    ([*IMAGES, "s3://bkt/other/image_001.jpg"], "have the same file name"),
    ([*PAIRS[:3]], "has no caption, but other images do"),
    ([*PAIRS, "s3://bkt/alone.txt"], "is the caption of no image"),
    ([*PAIRS, "s3://bkt/image_001.png"], "would have the same caption"),
    (["s3://bkt/a.gif"], "neither an image"),
    (["https://example.com/a.jpg"], "example.com"),
    (["s3://bkt/../a.jpg"], "cannot be used"),
    (["s3://bkt/folder/"], "no object"),
    ([...], "one of them is no text"),
    ("s3://bkt/a.jpg", "must be a list"),
]


@pytest.mark.parametrize(("urls", "match"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_list_that_a_worker_could_not_use_is_refused_before_anything_is_sent(client, twin, urls, match):
    with pytest.raises(ValueError, match=match):
        client.train_style("16", urls, **WHO)
    assert twin.asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"style_id": "../x"},
        {"style_id": ""},
        {"style_id": "a/b"},
        {"user_id": "a b"},
        {"tenant_id": "a\n"},
        {"tenant_id": 5},
        {"model_name": "a..b"},
        {"model_name": "-rf"},
        {"class_tokens": "a|b"},
        {"class_tokens": "a --n x"},
        {"class_tokens": "x" * 101},
        {"learning_rate": 0},
        {"learning_rate": -1e-4},
        {"learning_rate": float("nan")},
        {"learning_rate": True},
        {"learning_rate": "1e-4"},
        {"max_train_steps": 0},
        {"max_train_steps": 10_001},
        {"max_train_steps": 2.5},
        {"network_dim": -1},
        {"preset": "none-such"},
        {"preset": "repeats-civitai-flux"},
        {"webhook_url": "ftp://x"},
        {"webhook_url": "https://user:pw@x"},
        {"run_s": 8 * 86400},
        {"run_s": 0},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_trained_with_is_refused_before_anything_is_sent(client, twin, change):
    given = {"style_id": "16", "image_urls": IMAGES, **WHO}
    with pytest.raises(ValueError):
        client.train_style(**{**given, **change})
    assert twin.asked == []


@pytest.mark.parametrize("field", ["mode", "user_id", "tenant_id", "request_id", "model_name"])
def test_missing_required_training_config_fields(client, twin, field):
    """Error: "Missing required training_config fields"."""
    client.train_style("16", IMAGES, **WHO)
    data = twin.asked[-1].data["input"]
    del data["training_config"][field]
    with pytest.raises(ValueError, match=f"Missing required training_config fields: {field}"):
        client.submit({"input": data})


@pytest.mark.parametrize("payload", [{}, {"input": 5}, {"input": {}}, {"input": {"training_config": 5}}])
def test_a_request_of_another_form_is_refused(client, payload):
    with pytest.raises(ValueError):
        client.submit(payload)


def test_addresses_of_another_storage_service_are_understood_if_it_is_set(client, twin, monkeypatch):
    with pytest.raises(ValueError):
        client.train_style("16", ["http://127.0.0.1:9000/bkt/a.jpg"], **WHO)
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert client.train_style("16", ["http://127.0.0.1:9000/bkt/a.jpg"], **WHO)["status"] == "started"
    assert twin.asked[-1].data["input"]["training_data"]["s3_urls"] == ["s3://bkt/a.jpg"]


# ---- secrets ----
PLANTED = {
    "RUNPOD_API_KEY": "planted-in-dotenv-runpod",
    "AWS_SECRET_ACCESS_KEY": "planted-in-environment-aws-secret",
    "AWS_ACCESS_KEY_ID": "planted-in-environment-aws-id",
    "AWS_SESSION_TOKEN": "planted-in-environment-aws-token",
}


def test_no_key_is_in_anything_that_is_sent_returned_said_or_written(twin, monkeypatch, tmp_path, capsys, caplog):
    (tmp_path / ".env").write_text(
        f"RUNPOD_API_KEY={PLANTED['RUNPOD_API_KEY']}\nMODEL_TRAINING_RUNPOD_ENDPOINT_ID={ENDPOINT}\n"
    )
    for name, text in PLANTED.items():
        if name.startswith("AWS"):
            monkeypatch.setenv(name, text)
    caplog.set_level(0)
    everything = []
    for client in (TrainingClient(), TrainingClient("planted-as-an-argument")):
        everything += [
            repr(client),
            str(client),
            repr(vars(client)),
            str(vars(client._client)),
            str(vars(client._client._connection)),
        ]
        key = twin_key(client)
        for fault in (
            None,
            Fault(400, f"who is {key}"),
            Fault(500, json.dumps({"error": f"Bearer {key}"})),
            Fault(how="slow"),
        ):
            twin.faults = [fault] if fault else []
            everything.append(str(client.train_style("16", PAIRS, **WHO)))
        for bad in ({"style_id": "/"}, {"image_urls": ["x"]}):
            with pytest.raises(ValueError) as found:
                client.train_style(**{"style_id": "16", "image_urls": IMAGES, **WHO, **bad})
            everything.append(f"{found.value!r} {found.value.__cause__!r} {found.value.__context__!r}")
    assert {each.headers["Authorization"] for each in twin.asked} == {
        "Bearer planted-in-dotenv-runpod",
        "Bearer planted-as-an-argument",
    }
    everything += [each.path + each.body.decode() for each in twin.asked]
    everything += ["".join(capsys.readouterr()), caplog.text]
    everything += [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".env"]
    assert "planted" not in "".join(everything)


def twin_key(client):
    return client._client._connection._key.reveal()


def test_a_request_with_a_key_in_it_is_refused_and_the_key_is_not_repeated(client, twin, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED["AWS_SECRET_ACCESS_KEY"])
    client.train_style("16", IMAGES, **WHO)
    data, asked = twin.asked[-1].data["input"], len(twin.asked)
    for key in (KEY, PLANTED["AWS_SECRET_ACCESS_KEY"]):
        with pytest.raises(ValueError, match="A worker gets its keys from its own settings") as found:
            client.submit({"input": {**data, "env": {"KEY": key}}})
        assert key not in str(found.value)
    assert len(twin.asked) == asked
