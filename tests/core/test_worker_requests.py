"""The input of a job is checked strictly; models, images and the folder in the bucket, without RunPod's library."""

import copy
import threading

import pytest

from tests.support import buckets, machines, model_forms
from trainer_core.errors import EaselError, RemoteError
from trainer_core.remote.credentials import settings
from trainer_core.remote.runs.request import Request
from trainer_core.remote.training.workflow import LoRATrainingWorkflow
from trainer_core.remote.worker import answers, asked, images, models
from trainer_core.remote.worker.__main__ import lack_of_engines
from trainer_core.remote.worker.asked import OfWorkflow
from trainer_core.remote.worker.mirror import Mirror

VALUES = settings(environment={"S3_USER_BUCKET": "mine"})
OWN = {
    "easel": {
        "request": {
            "version": 1,
            "id": "mika-0123abcd",
            "engine": "kohya",
            "plan": {"output": {"name": "mika"}},
            "chosen": {},
        },
        "storage": "s3://mine/team/easel/runs/mika-0123abcd/",
    }
}
DOCUMENTS = {
    "workflow": LoRATrainingWorkflow("style_16", "custom-styles", 0.0001, 1200, captioned=True).build(),
    "training_data": {"s3_urls": ["s3://mine/a.jpg", "s3://mine/a.txt"]},
    "training_config": {
        "mode": "custom-styles",
        "user_id": "u",
        "tenant_id": "t",
        "request_id": "16_1",
        "model_name": "style_16_v1.0",
        "learning_rate": 0.0001,
        "max_train_steps": 1200,
    },
}


def changed(data, path, value):
    """A copy in which the entry at a path has another value; ... removes it."""
    found = copy.deepcopy(data)
    *above, last = path.split(".")
    at = found
    for name in above:
        at = at[name]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return found


def test_both_forms_are_read():
    own, documents = asked.read(OWN, VALUES), asked.read(DOCUMENTS, VALUES)
    assert isinstance(own.wants, Request)
    assert (own.id, own.stem, own.storage.key) == ("mika-0123abcd", "mika", "team/easel/runs/mika-0123abcd/")
    assert (documents.id, documents.stem, documents.storage.uri) == (
        "16_1",
        "style_16_v1.0",
        "s3://mine/easel/runs/16_1/",
    )
    assert isinstance(documents.wants, OfWorkflow)
    assert documents.wants.images.images == 1


@pytest.mark.parametrize(
    ("data", "path", "value", "said"),
    [
        (DOCUMENTS, "training_config.request_id", ..., "Missing required training_config fields: request_id"),
        (DOCUMENTS, "training_config", "x", "Missing required training_config fields: mode, user_id"),
        (DOCUMENTS, "training_config.request_id", "../up", "training_config.request_id is ../up, but must be"),
        (DOCUMENTS, "training_config.model_name", "a/b", "training_config.model_name is a/b"),
        (DOCUMENTS, "training_config.mode", "styles", "There is no training type 'styles'"),
        (DOCUMENTS, "training_config.extra", 1, "training_config has an unknown field extra"),
        (DOCUMENTS, "training_config.learning_rate", 0.5, "training_config.learning_rate is 0.5, but Node 107"),
        (DOCUMENTS, "training_config.max_train_steps", 7, "training_config.max_train_steps is 7, but Node 107"),
        (DOCUMENTS, "training_data", {}, "The input has no training_data with a list s3_urls"),
        (DOCUMENTS, "training_data.more", 1, "training_data has an unknown entry more"),
        (DOCUMENTS, "training_data.s3_urls", ["s3://other/a.jpg"], "may not use the bucket other. It may use mine."),
        (DOCUMENTS, "training_data.s3_urls", ["s3://mine/a.txt"], "There is no image"),
        (DOCUMENTS, "workflow", ..., "The workflow has no nodes"),
        (DOCUMENTS, "webhook", "x", "The input has an unknown entry webhook"),
        (OWN, "easel.extra", 1, "must have a request and a storage, and nothing else"),
        (OWN, "easel.request.id", "x/../y-0123abcd", "is not the id of a remote run"),
        (
            OWN,
            "easel.storage",
            "s3://mine/other/",
            "The storage of this request must end in /easel/runs/mika-0123abcd/",
        ),
        (OWN, "easel.storage", "s3://other/easel/runs/mika-0123abcd/", "may not use the bucket other"),
        (OWN, "workflow", {}, "The input has an unknown entry workflow"),
    ],
)
def test_whatever_is_wrong_is_refused_with_its_name(data, path, value, said):
    with pytest.raises(EaselError) as caught:
        asked.read(changed(data, path, value), VALUES)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "data", [None, [], "x", 1, {}, {"easel": None}, {"easel": {"request": None, "storage": "s3://mine/"}}]
)
def test_whatever_is_no_request_is_an_error_of_easel(data):
    with pytest.raises(EaselError):
        asked.read(data, VALUES)
    assert isinstance(asked.id_of(data), str)


def test_without_a_list_of_buckets_none_may_be_used():
    with pytest.raises(RemoteError, match="It may use none"):
        asked.read(OWN, settings(environment={}))
    two = settings(environment={"S3_USER_BUCKET": "mine", "EASEL_WORKER_BUCKETS": "yours, ours"})
    assert asked.buckets(two) == ("yours", "ours")
    with pytest.raises(RemoteError, match="It may use yours, ours"):
        asked.read(OWN, two)


# ---- models ----
@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "volume"
    for sub, form in (("models/unet", "flux"), ("clip", "clip-l"), ("vae", "vae-ldm")):
        (folder / sub).mkdir(parents=True)
        model_forms.write(form, folder / sub)
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    return folder


def bring(volume, text, path="model.path", **environment):
    values = settings(environment={"EASEL_WORKER_MODELS": str(volume), **environment})
    return models.bring(text, path, values, threading.Event())


def test_a_model_is_found_below_the_names_of_comfyui(volume):
    assert bring(volume, "flux.safetensors") == volume / "models/unet/flux.safetensors"
    assert bring(volume, "models/unet/flux.safetensors") == volume / "models/unet/flux.safetensors"
    assert bring(volume, "clip-l.safetensors", "model.clip_l") == volume / "clip/clip-l.safetensors"


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("../secret.safetensors", "model.path", "is no name of a model"),
        ("/etc/passwd", "model.path", "is not in the folder of models"),
        ("nothing.safetensors", "model.path", "There is no model nothing.safetensors on this worker"),
        ("clip-l.safetensors", "model.vae", "model.vae: clip-l.safetensors is not a vae, but a text encoder."),
        ("vae-ldm.safetensors", "model.path", "is not a checkpoint or diffusion model, but a vae."),
        ("https://example.com/model.safetensors", "model.path", "leads to neither the Hub nor a bucket"),
        ("s3://foreign/model.safetensors", "model.path", "may not use the bucket foreign"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(volume, text, path, said):
    with pytest.raises(RemoteError) as caught:
        bring(volume, text, path)
    assert said in caught.value.message


def test_a_model_of_a_bucket_is_fetched_once_and_read(volume, tmp_path):
    with buckets.place() as place:
        small = model_forms.write("vae-ldm", tmp_path)
        place.put("models/ae.safetensors", small.read_bytes())
        uri, environment = f"s3://{place.name}/models/ae.safetensors", place.environment
        found = bring(volume, uri, "model.vae", **environment)
        assert found.name == "ae.safetensors"
        assert found.is_relative_to(tmp_path / "home" / "models" / "fetched")
        before = len(place.network.of("GET"))
        assert bring(volume, uri, "model.vae", **environment) == found
        assert len(place.network.of("GET")) == before


# ---- images ----
def test_the_token_is_written_once_before_captions_that_lack_it(tmp_path):
    for name, text in {"a": "a hill, Style_16", "b": "a lake", "c": "style_1600 bridge"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    assert images.name_subject(tmp_path, "style_16") == 2
    found = {path.stem: path.read_text().strip() for path in tmp_path.iterdir()}
    assert found == {"a": "a hill, Style_16", "b": "style_16 a lake", "c": "style_16 style_1600 bridge"}
    assert images.name_subject(tmp_path, "style_16") == 0
    assert images.name_subject(tmp_path, "") == 0


# ---- the folder in the bucket ----
@pytest.fixture
def place():
    with buckets.place() as found:
        yield found


def test_a_failed_attempt_is_cleared_and_a_finished_one_is_kept(place):
    mirror = Mirror(place.connect(), "easel/runs/r/")
    kept = ("request.json", "running.json", "stop", "images/a.png")
    for name in (*kept, "engine.log", "engine.log.0001", "output/old.safetensors"):
        place.put(f"easel/runs/r/{name}", b"{}")
    failed = answers.recorded(answers.failure("r", "no"), "FAILED", None, ())
    place.put("easel/runs/r/result.json", failed)
    assert mirror.earlier(is_final=True) == answers.failure("r", "no")
    assert mirror.earlier(is_final=False) is None
    mirror.clear()
    left = place.keys("easel/runs/r/")
    assert {key.removeprefix("easel/runs/r/") for key in left} == set(kept)
    done = answers.success("r", "mika", "s3://b/k", 5)
    place.put("easel/runs/r/result.json", answers.recorded(done, "COMPLETED", {"outputs": ["a"]}, ("note",)))
    assert mirror.earlier(is_final=False) == done


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'{"after": "now"}', "now"),
        (b'{"version": 1, "after": "save"}', "save"),
        (b"", "now"),
        (b"[]", "now"),
        (None, None),
    ],
)
def test_a_stop_is_heard_whatever_its_content(place, content, wanted):
    if content is not None:
        place.put("r/stop", content)
    assert Mirror(place.connect(), "r/").stop_wanted() == wanted


def test_an_error_contains_no_secret_and_has_a_length():
    said = answers.failure("r", "Authorization: Bearer hf_abcdefghijklmnopqrstuvwxyz012345 " + "x" * 5000)["error"]
    assert "hf_abcdef" not in said
    assert len(said) <= answers.LONGEST_ERROR + 1


def test_a_worker_says_which_engine_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    monkeypatch.setenv("EASEL_WORKER_ENGINE", "kohya")
    assert "No engine is installed in this worker" in lack_of_engines()
    machines.install("simpletuner", "registry", "cuda", "2.10.0")
    assert "names kohya, which is not installed. This worker has simpletuner." in lack_of_engines()
    for named in ("simpletuner", ""):
        monkeypatch.setenv("EASEL_WORKER_ENGINE", named)
        assert lack_of_engines() == ""
