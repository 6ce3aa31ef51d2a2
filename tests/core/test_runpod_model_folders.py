"""A model that is a folder: uploaded by its files, each once, and downloaded by the worker's own code, which compares every file."""

import hashlib
import json
import shutil
import threading

import pytest

from tests.support import buckets, runpod_runs, small_models
from tests.support.runpod_runs import FOLDER, Worker
from trainer_core import cli
from trainer_core.errors import JobError, RemoteError
from trainer_core.remote import model_folders
from trainer_core.remote.credentials import settings
from trainer_core.remote.model_folders import ENDING, FolderList
from trainer_core.remote.runpod import worker_models
from trainer_core.remote.worker import models

START = f"{FOLDER}easel/models/"


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    with buckets.place() as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    """A small SD1.5 in a folder of diffusers, as a cache of the Hub has it: with a link to a file, and with hidden files."""
    made = small_models.sd15_folder(tmp_path)
    (made / ".cache").mkdir()
    (made / ".cache/x").write_text("no part of it")
    (made / ".gitattributes").write_text("no part of it")
    weights = made / "text_encoder/model.safetensors"
    weights.symlink_to(weights.rename(tmp_path / "blob"))
    return made


def files(root):
    """The contents by path, without hidden files."""
    found = (path for path in root.rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix(): path.read_bytes() for path in found}
    return {name: data for name, data in names.items() if not name.startswith(".")}


def uploaded(place, folder):
    """Where a worker has the folder, after it was brought to the bucket."""
    bucket = place.connect()
    found = worker_models.place_of(str(folder), bucket, FOLDER)
    if worker_models.is_missing(found, bucket):
        worker_models.upload(found, bucket)
    assert not worker_models.is_missing(found, bucket)
    return found


def fetched(place, address):
    """The folder on a worker."""
    return models.bring(address, "model.path", settings(environment=place.environment), threading.Event())


def listed(place, rows, **more):
    """The address of a list with these files, whatever they are."""
    data = json.dumps({"version": 1, "files": rows} | more).encode()
    key = f"{START}{hashlib.sha256(data).hexdigest()}/model{ENDING}"
    place.put(key, data)
    return f"s3://{place.name}/{key}"


def test_a_folder_arrives_complete_and_under_its_name(place, folder):
    there = fetched(place, uploaded(place, folder).there)
    assert there.name == folder.name
    assert files(there) == files(folder)
    assert not (there / ".gitattributes").exists()
    before = len(place.network.of("GET"))
    assert fetched(place, uploaded(place, folder).there) == there
    assert len(place.network.of("GET")) <= before + 1, "only the list is read again"


def test_only_a_file_that_changed_is_sent_again(place, folder):
    first = uploaded(place, folder)
    (folder / "model_index.json").write_text((folder / "model_index.json").read_text() + "\n")
    before = set(place.keys(START))
    second = uploaded(place, folder)
    assert {key.rpartition("/")[2] for key in set(place.keys(START)) - before} == {
        "model_index.json",
        f"{folder.name}{ENDING}",
    }
    assert files(fetched(place, second.there)) == files(folder)
    assert files(fetched(place, first.there)) != files(folder), "a run that was sent before keeps its model"


def test_a_file_that_was_uploaded_by_itself_is_a_part_of_the_folder(place, folder):
    alone = folder / "unet/diffusion_pytorch_model.safetensors"
    bucket = place.connect()
    worker_models.upload(worker_models.place_of(str(alone), bucket, FOLDER), bucket)
    found = worker_models.place_of(str(folder), bucket, FOLDER)
    total = sum(len(data) for data in files(folder).values())
    assert worker_models.size_to_send(found, bucket) <= total - alone.stat().st_size


def test_an_upload_that_was_cut_goes_on_and_the_list_comes_last(place, folder):
    place.network.fault(method="PUT", path="diffusion_pytorch_model.safetensors", times=50, status=403)
    with pytest.raises(RemoteError):
        uploaded(place, folder)
    place.network.faults.clear()
    assert not [key for key in place.keys(START) if key.endswith(ENDING)]
    assert files(fetched(place, uploaded(place, folder).there)) == files(folder)


def test_a_file_in_the_bucket_that_is_another_one_is_refused(place, folder):
    there = uploaded(place, folder).there
    key = next(key for key in place.keys(START) if key.endswith("/model.safetensors"))
    place.put(key, b"x" * len(place.get(key)))
    with pytest.raises(RemoteError, match="is not the file that the list"):
        fetched(place, there)


def test_a_list_that_was_changed_is_refused(place, folder):
    address = uploaded(place, folder).there
    key = address.removeprefix(f"s3://{place.name}/")
    place.put(key, place.get(key).replace(b"unet/", b"vnet/"))
    with pytest.raises(RemoteError, match="its SHA-256 is not that in its address"):
        fetched(place, address)


EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"path": "../evil", "sha256": EMPTY, "size": 0}],
        [{"path": "/etc/evil", "sha256": EMPTY, "size": 0}],
        [{"path": "unet/../../evil", "sha256": EMPTY, "size": 0}],
        [{"path": "a\\evil", "sha256": EMPTY, "size": 0}],
        [{"path": "", "sha256": EMPTY, "size": 0}],
        [{"path": "a", "sha256": "../x", "size": 0}],
        [{"path": "a", "sha256": EMPTY, "size": -1}],
        [{"path": "a", "sha256": EMPTY}],
        [{"path": "a", "sha256": EMPTY, "size": 0, "key": "other"}],
        [{"path": name, "sha256": EMPTY, "size": 0} for name in ("a", "A")],
        [{"path": name, "sha256": EMPTY, "size": 0} for name in ("a", "a/b")],
        ["a"],
        {},
    ],
    ids=str,
)
def test_a_list_that_leads_out_or_says_nothing_writes_nothing(place, tmp_path, rows):
    for name in ("evil", "a", "A", "b"):
        place.put(f"{START}{EMPTY}/{name}", b"")
    with pytest.raises(RemoteError):
        fetched(place, listed(place, rows))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name in {"evil", "a", "A", "b"}]


def test_what_an_earlier_request_left_in_the_folder_is_no_part_of_the_model(place, folder, tmp_path):
    there = fetched(place, uploaded(place, folder).there)
    (there / "unet/other.safetensors").write_bytes(b"x")
    shutil.rmtree(there / "text_encoder")
    (there / "text_encoder").symlink_to(tmp_path)
    with pytest.raises(RemoteError, match="a link that leads out"):
        fetched(place, uploaded(place, folder).there)
    (there / "text_encoder").unlink()
    assert files(fetched(place, uploaded(place, folder).there)) == files(folder)


def test_folders_that_cannot_be_sent_are_refused_before_anything_is(place, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/unet").symlink_to(tmp_path / "empty")
    for name, said in (("empty", "has 0 files"), ("linked", "is a link to a folder")):
        with pytest.raises(RemoteError, match=said):
            FolderList.of(tmp_path / name)
    assert not place.keys()
    assert model_folders.is_list(f"x/model{ENDING}")
    assert not model_folders.is_list("x/model.json")


def test_a_run_names_the_list_after_a_yes_and_the_command_says_what_is_sent(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with runpod_runs.cloud(monkeypatch) as cloud:
        run = runpod_runs.prepared(tmp_path, model={"path": str(folder), "family": "sd15"})
        carrier = cloud.carrier(*run)
        with pytest.raises(JobError, match="6 files") as refused:
            carrier.begin(print)
        assert "easel remote runpod bring" in refused.value.hint
        with pytest.raises(SystemExit) as end:
            cli.main(
                [
                    "remote",
                    "runpod",
                    "bring",
                    "--json",
                    "--yes",
                    "--to",
                    f"s3://{cloud.place.name}/{FOLDER}",
                    str(folder),
                ]
            )
        assert end.value.code == 0
        (row,) = json.loads(capsys.readouterr().out)["models"]
        assert (row["file"], row["sent"]) == (str(folder), True)
        carrier.begin(print)
        path = Worker(cloud).take().request["plan"]["model"]["path"]
        assert path == row["address"]
        assert path.endswith(f"/{folder.name}{ENDING}")
