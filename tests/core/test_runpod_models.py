"""How a plan's model becomes something that a worker of RunPod has, and the training versions of styles that follow a run."""

from __future__ import annotations

import json
import threading
import urllib.request

import pytest

from tests.support import misbehaving, runpod_runs
from tests.support.downloading import server, shared_server
from tests.support.runpod_runs import FOLDER, Worker
from trainer_core import cli
from trainer_core.errors import EaselError, JobError, RemoteError
from trainer_core.remote import style_places
from trainer_core.remote.runpod import worker_models
from trainer_core.remote.runpod.carrier import RunPodCarrier
from trainer_core.remote.runpod.target import RunPodTarget
from trainer_core.remote.runs.carrier import NotNow
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.styles import Version

__all__ = ["server", "shared_server"]

STYLE = "resources/style_images/16_water"


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with runpod_runs.cloud(monkeypatch) as found:
        yield found


def place(cloud, text):
    return worker_models.place_of(text, cloud.place.connect(), FOLDER)


def bring(cloud, capsys, *arguments):
    """The exit code, and what was written."""
    with pytest.raises(SystemExit) as end:
        cli.main(["remote", "runpod", "bring", "--to", f"s3://{cloud.place.name}/{FOLDER}", *map(str, arguments)])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


# ---- models ----
def test_a_name_on_the_network_volume_is_its_path_there(cloud):
    assert place(cloud, "runpod-volume:models/flux1-dev.safetensors").there == "models/flux1-dev.safetensors"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\\b", "C:x", "a\nb", "a//b", "\u202ea"])
def test_a_name_that_leads_out_of_the_volume_is_refused(cloud, name):
    with pytest.raises(JobError, match="no file of a network volume"):
        place(cloud, f"runpod-volume:{name}")


def test_an_object_must_exist_in_the_storage_of_the_run(cloud):
    cloud.place.put("models/a.safetensors", b"model")
    address = f"s3://{cloud.place.name}/models/a.safetensors"
    assert place(cloud, address).there == address
    with pytest.raises(RemoteError, match="There is no object"):
        place(cloud, f"s3://{cloud.place.name}/models/b.safetensors")
    with pytest.raises(RemoteError, match="another bucket"):
        place(cloud, "s3://other-bucket/models/a.safetensors")


def test_a_file_of_the_hub_must_exist_if_the_hub_can_be_asked(cloud, server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.hub("owner/name", {"a.safetensors": b"x" * 40})
    assert place(cloud, "hf:owner/name/a.safetensors").there == "hf:owner/name/a.safetensors"
    with pytest.raises(JobError):
        place(cloud, "hf:owner/name/b.safetensors")
    with pytest.raises(JobError, match="names no file of the Hub"):
        place(cloud, "hf:owner/name")


def test_a_file_of_this_machine_is_uploaded_once_after_a_yes_and_its_size_is_said(cloud, capsys, tmp_path, monkeypatch):
    model = tmp_path / "small.safetensors"
    model.write_bytes(misbehaving.model())
    run = runpod_runs.prepared(tmp_path, model={"path": str(model), "family": "sd15"})
    carrier = cloud.carrier(*run)
    with pytest.raises(JobError, match="easel remote runpod bring") as refused:
        carrier.begin(print)
    assert "bytes" in refused.value.message or "iB" in refused.value.message
    assert not cloud.twin.jobs
    monkeypatch.setattr("click.confirm", lambda *_, **__: (_ for _ in ()).throw(SystemExit(1)))
    code, _, err = bring(cloud, capsys, model)
    assert (code, str(model) in err) == (1, True), "without a yes nothing is sent"
    assert not cloud.place.keys(f"{FOLDER}easel/models/")
    assert bring(cloud, capsys, model, "--yes")[0] == 0
    (key,) = cloud.place.keys(f"{FOLDER}easel/models/")
    assert "was there already" in bring(cloud, capsys, model)[1]
    carrier.begin(print)
    assert Worker(cloud).take().request["plan"]["model"]["path"] == f"s3://{cloud.place.name}/{key}"


def test_a_run_whose_user_agreed_uploads_its_model_and_says_the_size(cloud, tmp_path):
    model = tmp_path / "small.safetensors"
    model.write_bytes(misbehaving.model())
    said = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        run = runpod_runs.prepared(tmp_path / name, model={"path": str(model), "family": "sd15"})
        cloud.carrier(*run, sends_models=True).begin(said.append)
    (key,) = cloud.place.keys(f"{FOLDER}easel/models/")
    assert Worker(cloud).take().request["plan"]["model"]["path"] == f"s3://{cloud.place.name}/{key}"
    told = [line for line in said if str(model) in line]
    assert len(told) == 1, "what is there is not sent again"
    assert "is sent to the bucket" in told[0]


def test_a_missing_file_is_refused_with_what_to_do(cloud, tmp_path):
    with pytest.raises(EaselError, match="runpod-volume:NAME"):
        place(cloud, str(tmp_path / "missing.safetensors"))


# ---- training versions ----
def version(number=1):
    return Version(
        f"style_16_{number}", f"v{number}.0", "2026-01-01T00:00:00Z", {"network_dim": 16}, "pending", "", 1, 3
    )


def of_style(cloud, run, at, number=1):
    target = RunPodTarget.named(cloud.text)
    named = {"at": at, "style": "16", "version": f"style_16_{number}"}
    target = RunPodTarget(target.endpoint, target.storage, style=named)
    assert RunPodTarget.of(target.as_dict()) == target
    return RunPodCarrier(target, run[1], run[0], Notes(run[0]))


def kept(at, number=1):
    return {one.id: one for one in style_places.opened(at).styles.versions("16")}[f"style_16_{number}"]


@pytest.fixture(params=["disk", "bucket"])
def at(request, cloud, tmp_path):
    """Where the styles are, with one version."""
    where = str(tmp_path / "app") if request.param == "disk" else f"s3://{cloud.place.name}/app/"
    if request.param == "disk":
        (tmp_path / "app").mkdir()
    style_places.opened(where).styles.add_version("16", version(), "water")
    return where


def test_a_version_follows_its_run_to_the_address_of_the_lora(cloud, tmp_path, at):
    run = runpod_runs.prepared(tmp_path)
    carrier = of_style(cloud, run, at)
    carrier.begin(print)
    carrier.state()
    assert kept(at).status == "pending"
    worker = Worker(cloud).take()
    worker.begin()
    carrier.state()
    assert kept(at).status == "training"
    worker.end()
    assert carrier.state().phase == "ended"
    found = kept(at)
    assert (found.status, found.lora_url) == (
        "completed",
        f"s3://{cloud.place.name}/{worker.prefix}output/cg_mika.safetensors",
    )
    assert found.as_dict() == {**version().as_dict(), "status": "completed", "loraUrl": found.lora_url}


def test_a_version_of_a_run_that_failed_is_failed_and_stays_so(cloud, tmp_path, at):
    run = runpod_runs.prepared(tmp_path)
    carrier = of_style(cloud, run, at)
    carrier.begin(print)
    worker = Worker(cloud).take()
    worker.begin()
    worker.end(is_success=False, error="out of memory")
    carrier.state()
    assert kept(at).status == "failed"
    styles = style_places.opened(at).styles
    assert styles.advance("16", "style_16_1", "training").status == "failed"
    assert styles.advance("16", "style_16_1", "completed", "s3://bkt/x").status == "failed"


def test_versions_of_many_runs_that_change_at_once_are_all_kept(at, cloud):
    styles = style_places.opened(at).styles
    for number in range(2, 9):
        styles.add_version("16", version(number))

    def follow(number):
        mine = style_places.opened(at).styles
        for status in ("training", "completed"):
            mine.advance("16", f"style_16_{number}", status, f"s3://bkt/{number}" if status == "completed" else "")

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = style_places.opened(at).styles.versions("16")
    assert {(one.id, one.status, one.lora_url) for one in found} == {
        (f"style_16_{number}", "completed", f"s3://bkt/{number}") for number in range(1, 9)
    }


def test_a_version_that_cannot_be_written_does_not_end_the_run_and_its_end_says_so(cloud, tmp_path):
    run = runpod_runs.prepared(tmp_path)
    (tmp_path / "app").mkdir()
    carrier = of_style(cloud, run, str(tmp_path / "app"))
    carrier.begin(print)
    assert carrier.state().phase == "waiting"
    worker = Worker(cloud).take()
    worker.begin()
    worker.end()
    with pytest.raises(NotNow):
        carrier.state()
    carrier._looker.grace_s = 0.0
    found = carrier.state()
    assert found.phase == "ended"
    assert "could not be set to completed" in found.sentence


def test_a_result_that_the_bucket_once_does_not_show_is_no_failure_of_the_version(cloud, tmp_path, at):
    carrier = of_style(cloud, runpod_runs.prepared(tmp_path), at)
    carrier.begin(print)
    worker = Worker(cloud).take()
    worker.begin()
    worker.end()
    cloud.place.network.fault(method="GET", path="/result.json", status=404, code="NoSuchKey")
    with pytest.raises(NotNow):
        carrier.state()
    assert carrier.state().phase == "ended"
    assert kept(at).status == "completed"


def test_an_address_of_another_place_that_a_worker_says_is_not_taken_over(cloud, tmp_path, at):
    run = runpod_runs.prepared(tmp_path)
    carrier = of_style(cloud, run, at)
    carrier.begin(print)
    worker = Worker(cloud).take()
    worker.begin()
    said = {"status": "success", "job_id": run[1], "loraName": "x.safetensors", "loraUrl": "https://evil.example/x"}
    worker.put("result.json", json.dumps({"document": said}))
    carrier.state()
    assert (kept(at).status, kept(at).lora_url) == ("completed", "")


# ---- the commands ----
def test_the_commands_list_styles_and_versions_with_links(cloud, capsys, tmp_path, monkeypatch):
    cloud.place.put("a/lora.safetensors", b"lora")
    sets = {"sets": [{"id": 1, "name": "Set 1", "images": ["a.jpg"]}]}
    cloud.place.put(f"{STYLE}/selection_sets.json", json.dumps(sets).encode())
    style_places.opened(f"s3://{cloud.place.name}").styles.add_version("16", version())
    address = f"s3://{cloud.place.name}/a/lora.safetensors"
    style_places.opened(f"s3://{cloud.place.name}").styles.advance("16", "style_16_1", "completed", address)

    def easel(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(["remote", *arguments])
        return end.value.code, capsys.readouterr().out

    found = json.loads(easel("styles", "--json")[1])["styles"]
    assert found == [
        {"id": "16", "title": "water", "sets": [{"id": 1, "name": "Set 1", "images": 1}], "versions": 1, "problem": ""}
    ]
    assert "Set 1 (1): 1" in easel("styles")[1]
    (row,) = json.loads(easel("versions", "16", "--json")[1])["versions"]
    assert row["loraUrl"] == address

    with urllib.request.urlopen(row["link"]) as answer:
        assert answer.read() == b"lora"
    assert row["link"].partition("?")[0] in easel("versions", "16")[1]
    assert easel("versions", "99")[0] == 2
