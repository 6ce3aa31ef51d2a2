"""`easel remote test`: each line says what is wrong and what to do; no secret is shown, no job is started, nothing is left behind."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from tests.support import runpod_runs
from tests.support.buckets import KEYS
from tests.support.runpod_twin import KEY, Fault
from trainer_core import cli
from trainer_core.errors import RemoteError
from trainer_core.remote import checking
from trainer_core.remote.credentials import settings

FOLDER = "resources/style_images/16_water"


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with runpod_runs.cloud(monkeypatch) as found:
        monkeypatch.setenv("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", "eptest")
        yield found


def connection(capsys, *arguments):
    """The exit code and the lines by what they are about."""
    try:
        cli.main(["remote", "test", "--json", *arguments])
        code = 0
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    for secret in (KEY, *KEYS.values()):
        assert secret not in said.out + said.err
    found = json.loads(said.out)
    assert found["ok"] == (code == 0)
    return code or 0, {line["what"]: line for line in found["lines"]}


def with_style(cloud, *, captions=True):
    for name in ("a", "b"):
        cloud.place.put(f"styles/16/{name}.jpg", b"image")
        if captions:
            cloud.place.put(f"styles/16/{name}.txt", b"caption")
    sets = {"sets": [{"id": 1, "name": "Set 1", "images": ["a.jpg", "b.jpg"]}]}
    cloud.place.put(f"{FOLDER}/selection_sets.json", json.dumps(sets).encode())


def test_all_is_well(cloud, capsys):
    with_style(cloud)
    before = cloud.place.keys()
    code, lines = connection(capsys, "--style", "16", "--selection", "Set 1")
    assert code == 0, lines
    for what in ("endpoint", "bucket: write", "bucket: read", "bucket: list", "bucket: delete", "selection set"):
        assert lines[what]["state"] == "ok", lines[what]
    assert lines["webhook"]["state"] == "not used"
    assert "RUNPOD_API_KEY" in lines["MODEL_TRAINING_RUNPOD_API_KEY or RUNPOD_API_KEY"]["said"]
    assert cloud.place.keys() == before, "nothing is left in the bucket"
    assert not cloud.twin.jobs


def test_people_read_the_same(cloud, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["remote", "test"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "ok  endpoint: RunPod answers" in out
    assert KEY not in out


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("RUNPOD_API_KEY", "MODEL_TRAINING_RUNPOD_API_KEY or RUNPOD_API_KEY"),
        ("MODEL_TRAINING_RUNPOD_ENDPOINT_ID", "MODEL_TRAINING_RUNPOD_ENDPOINT_ID"),
        ("S3_USER_BUCKET", "S3_USER_BUCKET"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_missing_setting_is_named_with_where_to_set_it(cloud, capsys, monkeypatch, name, what):
    monkeypatch.delenv(name)
    code, lines = connection(capsys)
    assert (code, lines[what]["state"]) == (1, "wrong")
    assert f"Set {name} in the environment" in lines[what]["advice"]


def test_an_endpoint_that_refuses_the_key_is_named_and_the_bucket_is_tested_all_the_same(cloud, capsys):
    cloud.twin.faults = [Fault(401, '{"error":"no"}')]
    code, lines = connection(capsys)
    assert (code, lines["endpoint"]["state"], lines["bucket: write"]["state"]) == (1, "wrong", "ok")
    assert "RUNPOD_API_KEY" in lines["endpoint"]["advice"]


def test_an_endpoint_without_free_gpus_is_named(cloud, capsys):
    workers = {"ready": 0, "running": 0, "throttled": 2}
    cloud.twin.faults = [Fault(200, json.dumps({"jobs": {"inQueue": 3}, "workers": workers}))]
    _, lines = connection(capsys)
    assert lines["endpoint"]["state"] == "wrong"
    assert "no free GPU" in lines["endpoint"]["said"]


@pytest.mark.parametrize(
    ("method", "what", "right"),
    [
        ("PUT", "bucket: write", "s3:PutObject"),
        ("GET", "bucket: read", "s3:GetObject"),
        ("DELETE", "bucket: delete", "s3:DeleteObject"),
    ],
)
def test_a_missing_right_is_named(cloud, capsys, method, what, right):
    cloud.place.network.fault(method=method, path="easel/test-", status=403, code="AccessDenied")
    code, lines = connection(capsys)
    assert (code, lines[what]["state"]) == (1, "wrong")
    assert right in lines[what]["advice"]


def test_a_wrong_clock_is_named(cloud, capsys):

    cloud.place.network.clock = dt.timedelta(hours=2)
    _, lines = connection(capsys)
    assert "clock" in lines["bucket: write"]["said"]
    assert lines["bucket: delete"]["state"] == "not tested"


def test_a_bucket_that_does_not_exist_is_named(cloud, capsys):
    code, lines = connection(capsys, "--storage", "s3://no-such-bucket-here")
    assert (code, lines["bucket: write"]["state"]) == (1, "wrong")
    assert "There is no bucket no-such-bucket-here" in lines["bucket: write"]["said"]


def test_a_selection_set_with_missing_captions_is_named(cloud, capsys):
    with_style(cloud, captions=False)
    _, lines = connection(capsys, "--style", "16")
    assert lines["selection set"]["state"] == "wrong"
    assert "2 objects of 4 are missing" in lines["selection set"]["said"]
    _, lines = connection(capsys, "--style", "16", "--selection", "Set 9")
    assert "Set 1 (1)" in lines["selection set"]["advice"]


def test_a_webhook_that_runpod_cannot_reach_is_named(cloud, capsys, monkeypatch):
    for base in ("http://127.0.0.1:8000", "http://localhost", "http://192.168.1.4", "http://box"):
        monkeypatch.setenv("BASE_URL", base)
        code, lines = connection(capsys)
        assert (code, lines["webhook"]["state"]) == (1, "wrong"), base
        assert "private network" in lines["webhook"]["said"]


def test_a_webhook_that_answers_and_one_that_does_not(cloud, monkeypatch):
    # No public host is in reach of the tests, so only the question whether it is public is answered here.
    monkeypatch.setattr(checking, "_is_private", lambda _: False)
    monkeypatch.setenv("BASE_URL", cloud.place.endpoint)
    line = checking._webhook(settings())
    assert (line.state, "answers from here" in line.said) == ("ok", True)
    monkeypatch.setenv("BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="does not answer"):
        checking._webhook(settings())
