"""Download sites: the files of a model, access to them, and reading a header without a download."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.support import misbehaving as bad
from tests.support import recorded_networks
from tests.support.downloading import QUICK, SECRET, hidden, server, shared_server, visible
from trainer_core import places
from trainer_core.errors import DownloadError, HeaderError
from trainer_core.models import downloads, header, tokens
from trainer_core.models.downloads.ranges import RemoteStream
from trainer_core.models.downloads.remote import Remote, RemoteFile

__all__ = ["server", "shared_server"]

MODEL = bad.model()
COMPONENTS = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety": [None, None],
}
PIPELINE = {
    "model_index.json": json.dumps({"_class_name": "X", **COMPONENTS}).encode(),
    "README.md": b"# X",
    "x.safetensors": bad.model(seed=9),
    "unet/config.json": b'{"in_channels": 4}',
    "unet/diffusion_pytorch_model.safetensors": bad.model(seed=3, key="unet_weight"),
    "unet/diffusion_pytorch_model.fp16.safetensors": bad.model(seed=4, size_bytes=1000, key="unet_weight"),
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": bad.model(seed=5, key="vae_weight"),
    "vae_1_0/diffusion_pytorch_model.safetensors": bad.model(seed=6),
}
WANTED = [
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


@pytest.fixture
def civitai(server, monkeypatch):
    monkeypatch.setenv("CIVITAI_ENDPOINT", server.url)
    return server


def resolved(text: str, **more) -> downloads.Remote:
    return downloads.resolve(downloads.parse(text), patience=QUICK, **more)


def fetched(text: str, folder: Path | None, **more) -> Path:
    return downloads.download(downloads.parse(text), folder, patience=QUICK, disk_floor_bytes=0, **more)


def refused(text: str, kind: str, folder: Path) -> DownloadError:
    with pytest.raises(DownloadError) as error:
        fetched(text, folder)
    assert error.value.kind == kind, error.value
    assert visible(folder) == []
    return error.value


# Hugging Face


def test_a_file_of_a_repository(hub, tmp_path):
    hub.hub("org/name", {"a/mika.safetensors": MODEL, "other.safetensors": bad.model(seed=2)})
    found = resolved("hf:org/name/a/mika.safetensors")
    assert (found.name, found.size_bytes, found.sha256) == ("mika.safetensors", len(MODEL), bad.sha256(MODEL))
    assert fetched("hf:org/name/a/mika.safetensors", tmp_path).read_bytes() == MODEL


def test_a_repository_of_one_model(hub, tmp_path):
    hub.hub("org/lora", {"README.md": b"", "mika.safetensors": MODEL, "mika.ckpt": b"x"})
    assert resolved("org/lora").name == "mika.safetensors"
    hub.hub("org/vae", {"config.json": b"{}", "diffusion_pytorch_model.safetensors": MODEL})
    assert resolved("org/vae").name == "vae.safetensors", "a meaningful name"


def test_a_repository_of_several_models_lists_them(hub, tmp_path):
    hub.hub("org/name", {"a.safetensors": MODEL, "sub/b.safetensors": MODEL, "c.bin": b""})
    error = refused("org/name", "choice", tmp_path)
    assert error.choices == ("hf:org/name/a.safetensors", "hf:org/name/c.bin", "hf:org/name/sub/b.safetensors")
    assert resolved(error.choices[2]).name == "b.safetensors"
    error = refused("hf:org/name/missing.safetensors", "missing", tmp_path)
    assert len(error.choices) == 3


def test_a_revision(hub):
    hub.hub("org/name", {"a.safetensors": MODEL})
    assert bad.COMMIT in resolved("hf:org/name@main").files[0].url
    with pytest.raises(DownloadError) as error:
        resolved("hf:org/name@v9")
    assert error.value.kind == "missing"


def test_a_diffusers_repository_is_a_folder_with_the_needed_files(hub, tmp_path):
    hub.hub("org/name", PIPELINE)
    found = resolved("org/name")
    assert found.is_folder
    assert [file.name for file in found.files] == WANTED
    halved = resolved("org/name", variant="fp16")
    assert min(file.size_bytes for file in halved.files if "unet/diff" in file.name) < 2000
    told = []
    path = fetched("org/name", tmp_path, progress=told.append)
    assert path == tmp_path / "name"
    assert sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()) == WANTED
    assert set(header.read(path).tensors) == {"unet/unet_weight", "vae/vae_weight"}
    assert told[-1].done_bytes == told[-1].total_bytes == found.size_bytes
    hub.requests.clear()
    assert fetched("org/name", tmp_path) == path
    assert not [request for request in hub.requests if "diffusion_pytorch_model" in request.path]


def test_a_folder_is_complete_or_absent(hub, tmp_path):
    hub.hub("org/name", PIPELINE)
    hub.files["/cdn/org/name/vae/diffusion_pytorch_model.safetensors"].always = bad.drops(100_000)
    hub.files["/cdn/org/name/vae/diffusion_pytorch_model.safetensors"].faults = [bad.drops(70_000)] + [bad.drops(0)] * 4
    refused("org/name", "broken", tmp_path)
    hub.files["/cdn/org/name/vae/diffusion_pytorch_model.safetensors"].always = None
    hub.requests.clear()
    assert len(list(fetched("org/name", tmp_path).rglob("*.safetensors"))) == 2
    asked = [(r.path.rpartition("/")[2], r.range) for r in hub.requests if r.path.startswith("/cdn/org/name/")]
    assert ("diffusion_pytorch_model.safetensors", "bytes=70000-") in asked
    assert not [path for path, _ in asked if "unet" in path]
    assert hidden(tmp_path) == []


def test_a_folder_that_is_not_a_model_is_not_kept(hub, tmp_path):
    index = json.dumps({"unet": ["diffusers", "UNet2DConditionModel"]}).encode()
    hub.hub("org/name", {"model_index.json": index, "unet/config.json": b"{}"})
    assert "The folder name contains no weights" in refused("org/name", "content", tmp_path).message
    assert hidden(tmp_path) == []


def sharded() -> dict[str, bytes]:
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    return {
        "config.json": b'{"model_type": "t5"}',
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        names[0]: bad.model(seed=1, key="a"),
        names[1]: bad.model(seed=2, key="b"),
    }


def test_a_sharded_component_is_a_folder(hub, tmp_path):
    hub.hub("org/t5", {f"text_encoder/{path}": body for path, body in sharded().items()})
    link = "hf:org/t5/text_encoder"
    assert set(downloads.read_header(downloads.parse(link), patience=QUICK).tensors) == {"a", "b"}
    path = fetched(link, tmp_path)
    assert path.name == "t5-text_encoder"
    assert header.read(path).format == "sharded"
    assert fetched(f"{link}/model.safetensors.index.json", tmp_path) == path


def test_the_error_for_a_private_or_gated_repository_says_what_to_do(hub, tmp_path):
    hub.hub("org/name", {"a.safetensors": MODEL}, token=SECRET)
    error = refused("org/name", "token", tmp_path)
    assert "HF_TOKEN" in error.hint
    tokens.remember("huggingface", "wrong")
    assert "does not accept the token" in refused("org/name", "token", tmp_path).message
    tokens.remember("huggingface", SECRET)
    hub.requests.clear()
    assert fetched("org/name", tmp_path).read_bytes() == MODEL
    there = [
        request.headers.get("authorization", "") for request in hub.requests if not request.path.startswith("/cdn/")
    ]
    far = [request.headers.get("authorization", "") for request in hub.requests if request.path.startswith("/cdn/")]
    assert set(there) == {f"Bearer {SECRET}"}
    assert set(far) == {""}
    hub.files[f"/org/name/resolve/{bad.COMMIT}/a.safetensors"].always = bad.answers(403, {"X-Error-Code": "GatedRepo"})
    error = refused("org/name", "gated", tmp_path / "other")
    assert f"{hub.url}/org/name" in error.hint


def test_a_listing_on_another_host_is_requested_without_the_token(hub):
    hub.hub("org/name", {"a.safetensors": MODEL})
    hub.files["/far"] = hub.files["/api/models/org/name"]
    hub.put("/api/models/org/name", b"", always=bad.redirect(f"{hub.elsewhere}/far"), token=SECRET)
    tokens.remember("huggingface", SECRET)
    assert resolved("org/name").name == "a.safetensors"
    assert "authorization" not in hub.asked("/far")[0].headers


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (bad.answers(404, {"X-Error-Code": "RepoNotFound"}), "missing"),
        (bad.answers(404, {"X-Error-Code": "RevisionNotFound"}), "missing"),
        (bad.answers(401, {"X-Error-Code": "RepoNotFound"}), "token"),
        (bad.answers(403, {"X-Error-Code": "GatedRepo"}), "gated"),
        (bad.answers(429, {"Retry-After": "3600"}), "busy"),
        (bad.answers(200, {}, b"not json"), "content"),
        (bad.answers(200, {}, b"[1]"), "content"),
        (bad.answers(200, {}, b'{"id": 5, "siblings": [{}]}'), "content"),
    ],
)
def test_each_refusal_of_hugging_face_has_its_error(hub, tmp_path, fault, kind):
    hub.hub("org/name", {"a.safetensors": MODEL}, faults=[fault])
    refused("org/name", kind, tmp_path)


def test_a_temporary_error_of_hugging_face_is_retried(hub, tmp_path):
    hub.hub("org/name", {"a.safetensors": MODEL}, faults=[bad.answers(503), bad.drops(3)])
    assert fetched("org/name", tmp_path).exists()


def test_a_path_in_a_repository_stays_in_the_folder(hub):
    hub.hub("org/name", {"../../evil.safetensors": MODEL, "a.safetensors": MODEL})
    assert resolved("org/name").name == "a.safetensors"


# Civitai


@pytest.mark.parametrize("text", ["civitai:5", "civitai:5@7", "civitai:@7", "urn:air:sdxl:lora:civitai:5@7"])
def test_a_model_of_civitai(civitai, tmp_path, text):
    civitai.civitai(5, 7, "mika v1.safetensors", MODEL)
    path = fetched(text, tmp_path)
    assert path.name == "mika v1.safetensors"
    assert path.read_bytes() == MODEL


def test_a_download_link_of_civitai(civitai, tmp_path):
    civitai.civitai(5, 7, "mika.safetensors", MODEL, token=SECRET)
    url = f"{civitai.url}/api/download/models/7?type=Model&format=SafeTensor&token={SECRET}"
    assert fetched(url, tmp_path).read_bytes() == MODEL
    assert SECRET not in " ".join(request.query for request in civitai.requests)
    assert "authorization" not in civitai.asked("/r2/7")[0].headers
    error = refused(f"{civitai.url}/api/download/models/7?fileId=3", "missing", tmp_path / "other")
    assert "mika.safetensors" in error.hint
    refused(f"{civitai.url}/api/download/models/7?type=Model&fp=fp32", "missing", tmp_path / "other")


def test_civitai_wants_a_token(civitai, tmp_path):
    civitai.civitai(5, 7, "mika.safetensors", MODEL, token=SECRET)
    assert "CIVITAI_TOKEN" in refused("civitai:5", "token", tmp_path).hint
    civitai.files["/api/download/models/7"].token = ""
    civitai.files["/api/download/models/7"].always = bad.redirect("/login?returnUrl=%2Fmodels%2F5")
    assert "CIVITAI_TOKEN" in refused("civitai:5", "token", tmp_path).hint


def test_a_wrong_hash_is_an_error_and_a_rounded_size_is_not(civitai, tmp_path):
    civitai.civitai(5, 7, "mika.safetensors", MODEL, sizeKB=1.5)
    told = []
    assert fetched("civitai:5", tmp_path, progress=told.append).read_bytes() == MODEL
    assert told[-1].done_bytes == told[-1].total_bytes == len(MODEL)
    civitai.civitai(6, 8, "other.safetensors", MODEL, hashes={"SHA256": "0" * 64})
    refused("civitai:6", "hash", tmp_path / "other")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"id": 5, "mode": "TakenDown"}, "missing"),
        ({"id": 5, "modelVersions": []}, "missing"),
        ({"id": 5, "modelVersions": ["?"]}, "content"),
        ([], "content"),
    ],
)
def test_a_missing_model_on_civitai_has_an_error(civitai, tmp_path, answer, kind):
    civitai.put("/api/v1/models/5", json.dumps(answer).encode())
    refused("civitai:5", kind, tmp_path)
    refused("civitai:6", "missing", tmp_path)


def test_a_download_address_on_another_host_is_not_used(civitai, tmp_path):
    """A server's answer is untrusted: the token must not be sent to an address in it."""
    civitai.civitai(5, 7, "mika.safetensors", MODEL, downloadUrl=f"{civitai.elsewhere}/steal")
    assert fetched("civitai:5", tmp_path).read_bytes() == MODEL
    assert civitai.asked("/steal") == []


# Headers without a download


def test_a_header_is_read_by_ranges(server):
    body = bad.model(size_bytes=3_000_000)
    url = server.put("/m.safetensors", body)
    found = downloads.read_header(downloads.parse(url), patience=QUICK)
    assert found.tensors["weight"].shape == (3_000_000,)
    assert [request.range for request in server.requests] == ["bytes=0-0", "bytes=0-65535"]


def test_a_long_header_takes_one_more_request(server):
    tensors = {
        f"layer_{number}": {"dtype": "U8", "shape": [1], "data_offsets": [number, number + 1]} for number in range(5000)
    }
    text = json.dumps(tensors).encode()
    server.put("/m.safetensors", len(text).to_bytes(8, "little") + text + bytes(5000))
    with RemoteStream(at(server, "/m.safetensors"), QUICK) as stream:
        assert len(header.read_stream("m", stream, stream.size_bytes).tensors) == 5000
        assert stream.received_bytes < len(text) + 2 * 65536
    assert len(server.requests) == 2


def at(server, path: str):
    return Remote("", "m", (RemoteFile("m", server.url + path),)).asked(RemoteFile("m", server.url + path))


def test_a_remote_stream_reads_like_a_file(server):
    body = bad.model(size_bytes=300_000)
    url = server.put("/m", body)
    assert url
    for always in (None, bad.ignores_ranges):
        server.files["/m"].always = always
        with RemoteStream(at(server, "/m"), QUICK) as there:
            here = io.BytesIO(body)
            for offset, whence, count in [
                (0, 0, 10),
                (100_000, 0, 70_000),
                (5, 1, 3),
                (-20, 2, 50),
                (0, 0, -1),
                (0, 2, 5),
            ]:
                assert there.seek(offset, whence) == here.seek(offset, whence)
                assert there.read(count) == here.read(count)
                assert there.tell() == here.tell()


def test_an_archive_is_opened_by_ranges(server):
    """A file of torch.save has its list of entries at the end."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data/0", bytes(3_000_000))
        archive.writestr("m/data.pkl", b"small")
    server.put("/m.ckpt", file.getvalue())
    with RemoteStream(at(server, "/m.ckpt"), QUICK) as stream:
        assert zipfile.ZipFile(stream).read("m/data.pkl") == b"small"
        assert stream.received_bytes < 300_000


def test_a_server_without_ranges_sends_only_the_start(server):
    url = server.put("/m.safetensors", bad.model(size_bytes=20_000_000), always=bad.ignores_ranges)
    assert downloads.read_header(downloads.parse(url), patience=QUICK).tensors["weight"].shape == (20_000_000,)
    with RemoteStream(at(server, "/m.safetensors"), QUICK) as stream:
        header.read_stream("m", stream, stream.size_bytes)
        assert stream.received_bytes < 300_000


@pytest.mark.parametrize("always", [bad.chunked, bad.other_part(5)])
def test_the_error_says_when_the_whole_file_is_needed(server, always):
    url = server.put("/m.safetensors", MODEL, always=always)
    with pytest.raises(DownloadError) as error:
        downloads.read_header(downloads.parse(url), patience=QUICK)
    assert error.value.kind == "whole"
    assert "whole file" in error.value.message


def test_a_file_that_is_not_a_model_is_refused_without_a_download(server):
    url = server.put("/m.safetensors", b"version https://git-lfs.github.com/spec/v1\n" + bytes(100))
    with pytest.raises(HeaderError, match="LFS"):
        downloads.read_header(downloads.parse(url), patience=QUICK)


def test_the_header_of_a_diffusers_repository(hub):
    hub.hub("org/name", PIPELINE)
    found = downloads.read_header(downloads.parse("org/name"), patience=QUICK)
    assert found.is_folder
    assert found.path == Path("name")
    assert set(found.tensors) == {"unet/unet_weight", "vae/vae_weight"}
    assert found.configs["unet"] == {"in_channels": 4}
    assert all(not file.is_absolute() for file in found.files)
    sent = [request for request in hub.requests if request.path.endswith(".safetensors")]
    assert all(request.range for request in sent)


def test_by_default_a_model_goes_into_the_folder_of_its_role(server, tmp_path):
    body = recorded_networks.write(
        next(name for name in recorded_networks.NAMES if "lora" in name), tmp_path
    ).read_bytes()
    path = fetched(server.put("/mika.safetensors", body), None)
    assert path == places.models() / "loras" / "mika.safetensors"
    assert fetched(server.put("/odd.safetensors", MODEL), None) == places.models() / "unsorted" / "odd.safetensors"
    assert fetched(server.put("/much.safetensors", MODEL, always=bad.chunked), None).parent.name == "unsorted"
