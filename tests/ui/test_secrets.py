"""A secret of its own from every source that Easel has, and after remote runs of every kind that can run here: it is nowhere else."""

import json
import traceback

import pytest
from ipywidgets import Widget

from tests.support import buckets, planted, runpod_runs, runpod_twin, second_home, serving, small_models
from tests.support.page import click, enter, go, hear, inside, wait_for
from tests.support.planted import Processes, in_files, in_text, secret
from tests.support.remote_runs import Homes
from tests.support.runpod_runs import Worker
from tests.support.runpod_twin import Fault
from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.models import tokens
from trainer_core.notifications import webhooks
from trainer_core.prepare.workbench import Workbench
from trainer_core.remote import credentials
from trainer_core.remote.runs import carrier, starting
from trainer_core.remote.serve import keys
from trainer_ui.apps.file_uploader import FileUploader
from trainer_ui.apps.remote_training import RemoteTraining

OF_ENVIRONMENT = {
    **buckets.KEYS,
    "RUNPOD_API_KEY": secret(1, "rpa_"),
    "EASEL_SERVE_TOKEN": secret(2),
    "HF_TOKEN": secret(3, "hf_"),
    "CIVITAI_TOKEN": secret(4),
}
OF_DOTENV = {"MODEL_TRAINING_RUNPOD_API_KEY": runpod_twin.KEY, "AWS_SESSION_TOKEN": secret(5)}
OF_NOTEBOOK = {"NGROK_AUTHTOKEN": secret(6)}
OF_FIELDS = {"a token beside a link": secret(7, "hf_"), "a key that is not kept": secret(8, "rpa_")}
OF_FILES = {"the address of a webhook": secret(9)}
TYPED = {
    "MODEL_TRAINING_RUNPOD_API_KEY, typed": secret(10, "rpa_"),
    "AWS_ACCESS_KEY_ID, typed": secret(11, "AKIA"),
    "AWS_SECRET_ACCESS_KEY, typed": secret(12),
}
ALL = {**OF_ENVIRONMENT, **OF_DOTENV, **OF_NOTEBOOK, **OF_FIELDS, **OF_FILES, **TYPED}


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    """RunPod's twin and a bucket, with the keys where people keep them."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with runpod_runs.cloud(monkeypatch) as found:
        for name in credentials.KNOWN:
            if credentials.KNOWN[name].is_secret:
                monkeypatch.delenv(name, raising=False)
        for name, value in OF_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", runpod_twin.ENDPOINT)
        # Nothing outside of this machine is asked.
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{found.twin.server_port}")
        (tmp_path / "work/.env").write_text("".join(f"{name}={value}\n" for name, value in OF_DOTENV.items()))
        yield found
    for name in credentials.KNOWN:
        credentials.forget(name)
    tokens.forget("huggingface")


@pytest.fixture
def homes(tmp_path, monkeypatch, cloud):
    made = Homes(tmp_path / "homes", monkeypatch)
    # Its gigabytes would be searched, too.
    (made.folder / "sd15.safetensors").unlink()
    yield made
    made.close()


@pytest.fixture
def processes(tmp_path):
    return Processes(ALL, tmp_path)


def shown(app):
    """All that an app has sent to its page, as a notebook that saves the states of its widgets has it in its file."""
    parts = [json.dumps(Widget.get_manager_state(widgets=list(inside(app.root))), default=repr)]
    parts += [str(widget.trait_values()) for widget in inside(app.root)]
    return "\n".join([*parts, app.session.message])


def use_the_fields(opening):
    """Types into the masked fields of the notebooks: one key is kept, one is cancelled, one goes beside a link. What the pages have then."""
    remote = opening(RemoteTraining, Workbench(engine="rehearsal"))
    go(remote, "accounts")
    card = remote.accounts.keys
    ((name, value),) = OF_NOTEBOOK.items()
    hear(card.list, {"kind": "act", "item": name, "act": "enter"})
    enter(card.field, value)
    click(card.keep)
    hear(card.list, {"kind": "act", "item": "RUNPOD_API_KEY", "act": "enter"})
    enter(card.field, OF_FIELDS["a key that is not kept"])
    click(card.cancel)
    click(remote.accounts.tunnel.start)
    wait_for(lambda: "tunnel" in remote.desk.said)
    uploader = opening(FileUploader)
    panel = uploader.link
    panel.link.value = "hf:owner/name/a.safetensors"
    enter(panel.token, OF_FIELDS["a token beside a link"])
    click(panel.fetch)
    wait_for(lambda: uploader.session.jobs.job is not None and not uploader.session.jobs.is_live)
    assert tokens.find("huggingface") is not None
    return shown(remote) + shown(uploader)


def run_over_a_carrier(homes, processes):
    """A run on a trainer in another home, started as the notebook starts it: with the kept keys lent to what it starts."""
    with credentials.lent(carrier.get(second_home.KIND).variables):
        run = starting.start(
            homes.bench(more={"model.path": str(small_models.sd15_file(homes.folder))}, steps_per_second=100.0),
            homes.target,
        )
    processes.until(lambda: run.state in FINAL_STATES)
    assert run.state is JobState.COMPLETED
    return json.dumps([str(run.diagnosis), run.result, run.folder.versions], default=str)


def run_on_runpod(cloud, tmp_path):
    """A run on the twin, with a refusal in between; all that was said."""
    said = []
    run = runpod_runs.prepared(tmp_path / "runpod")
    there = cloud.carrier(*run)
    there.begin(said.append)
    worker = Worker(cloud).take()
    assert worker.begin()
    worker.step(1)
    cloud.twin.faults.extend([Fault(401)] * 3)
    for ask in (
        there.state,
        lambda: there.read("../../.env", 0),
        lambda: there.fetch("output/nothing", tmp_path / "x"),
    ):
        with pytest.raises(EaselError) as error:
            ask()
        said.append("".join(traceback.format_exception(error.value)))
    cloud.twin.faults.clear()
    worker.step(2)
    worker.end()
    assert there.state().phase == "ended"
    said.append(str(there.state()) + str(dict(there.files())))
    return "\n".join(said)


def run_over_the_server(cloud, tmp_path, processes):
    """A training over `easel remote serve`; all that it answered and said."""
    token = OF_ENVIRONMENT["EASEL_SERVE_TOKEN"]
    with serving.process(tmp_path / "work", "--port", "0") as server:
        processes.look()
        body = {
            "styleId": "16",
            "imageUrls": ["s3://bucket/styles/16/a.jpg"],
            "webhook": f"{server.address}/api/training-webhook",
        }
        said = [serving.call(server.address, "POST", "/api/training/start", body, token=token)]
        assert said[0].status == 200
        said.append(serving.call(server.address, "GET", "/api/styles/16/training-versions", token=token))
        said.append(serving.call(server.address, "POST", "/api/training/start", body, token=f"{token}x"))
        cloud.twin.finish(cloud.twin.jobs[said[0].data["runpod_job_id"]], "FAILED", error="no images")
        cloud.twin.called()
        ended = server.end()
    return "\n".join(map(str, [*said, *ended]))


def test_no_secret_is_anywhere_but_where_the_user_has_put_it(cloud, homes, processes, opening, tmp_path):
    webhooks.save([webhooks.webhook(f"http://127.0.0.1:9/{OF_FILES['the address of a webhook']}")])
    pages = use_the_fields(opening)
    over = run_over_a_carrier(homes, processes)
    on = run_on_runpod(cloud, tmp_path)
    by = run_over_the_server(cloud, tmp_path, processes)
    secrets = {**ALL, "the code of webhooks": keys.webhook_secret().reveal()}

    # What people and other machines get to read.
    requests = [
        (each.method, each.path, each.body, {k: v for k, v in each.headers.items() if k != "Authorization"})
        for each in cloud.twin.asked
    ]
    assert len(requests) > 3
    assert in_text(secrets, pages, over, on, by, requests) == []
    assert in_text(secrets, [(job.input, job.output, job.error) for job in cloud.twin.jobs.values()]) == []
    sent = {each.headers["Authorization"] for each in cloud.twin.asked}
    assert sent == {f"Bearer {runpod_twin.KEY}"}, "only the key of the service itself goes there"

    # What is kept: here, on the trainer, in the bucket.
    own = {tmp_path / "work/.env", places.home() / "webhooks.json", keys.folder() / keys.WEBHOOK_FILE}
    assert all(path.stat().st_mode & 0o077 == 0 for path in own if path.name != ".env")
    assert in_files(secrets, [tmp_path], own) == []
    stored = cloud.place.keys()
    assert stored
    assert in_text(secrets, *((key, cloud.place.get(key)) for key in stored)) == []

    # What processes show to others, and what they inherit that they do not need.
    assert processes.in_arguments == set()
    assert processes.held_by("remote serve") >= {"RUNPOD_API_KEY"}, "the look itself finds what is there"
    for pattern in (r"follower $", r"play\.py"):
        assert processes.held_by(pattern) == set(), pattern


def test_what_is_typed_at_a_masked_question_is_not_shown_and_not_written(cloud, processes, tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    key, *pair = TYPED.values()
    ask = ["remote", "runpod", "status", "job-1", "--endpoint", runpod_twin.ENDPOINT, "--ask-key"]
    code, said = planted.typed(ask, [key], tmp_path / "work", processes)
    assert (code, "API key of RunPod" in said) == (1, True), said
    assert cloud.twin.asked[-1].headers["Authorization"] == f"Bearer {key}", "what was typed was used"
    for name in buckets.KEYS:
        monkeypatch.delenv(name)
    ask = ["remote", "s3", "list", f"s3://{cloud.place.name}/", "--ask-key"]
    code, listed = planted.typed(ask, [*pair, ""], tmp_path / "work", processes)
    assert code == 0, listed
    assert in_text(ALL, said, listed) == []
    assert processes.in_arguments == set()
    assert in_files(ALL, [tmp_path], {tmp_path / "work/.env"}) == []
