"""The report to post in an issue has no names of people and machines, home folders, tokens and addresses."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_core.cli import easel
from trainer_core.doctor import report
from trainer_core.doctor.finding import Finding
from trainer_core.training.redaction import Private, Redactor

NAMES = st.from_regex(r"[a-z]{2}[0-9]{2}[a-z0-9]{1,8}", fullmatch=True)
TOKENS = st.from_regex(r"hf_[A-Za-z0-9]{30}", fullmatch=True)
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).filter(lambda each: not each.is_loopback),
    st.ip_addresses(v=6).filter(lambda each: int(each) > 1),
)
PLACES = (
    "{home}/easel/workspace has 3 GiB.",
    "A Jupyter server runs at http://{host}:8888/?token={token} (process 7, from {home}/venv).",
    "A mirror at https://{user}:{token}@{host}.lan/simple does not answer.",
    "It is at {address}.",
    "Connection to {address}:443 failed, http://{address}/ too [{address}]",
    "Run: /Users/{user}/venv/bin/python -m pip; {user}@{host}: HF_TOKEN={token}",
    "200 GiB are free in /mnt/c/Users/{user} Smith/hf. 3 GiB are free in /media/{user}/usb; /run/media/{user} Smith/disk is full.",
    "Run: /home2/{user}/venv/bin/python -m pip or use C:\\Users\\{user} Smith\\x, \\\\{host}\\share; /cluster/users/{user}",
    "/net/{host}.lab.firma.example/hf cannot be written: file:///data/{user}/x and PATH=/usr/bin:/data/{user}/bin",
    "The folder /mnt/{user}/models, C:\\Users\\{user}\\models; GPU-8932f937-d72c-4106-c12f-20bd9faed9f6 00:1a:2b:3c:4d:5e",
)


@settings(max_examples=60)
@given(
    NAMES,
    NAMES,
    TOKENS,
    ADDRESSES,
    st.sampled_from(["/home/{}", "/Users/{}", "/srv/people/{}"]),
    st.sampled_from(PLACES),
)
def test_nothing_private_is_left(user, host, token, address, home, place):
    if ipaddress.ip_address(address).version == 6 and "{address}:443" in place:
        place = place.replace("{address}:443", "[{address}]:443").replace("//{address}/", "//[{address}]/")
    home = home.format(user)
    said = place.format(home=home, user=user, host=host, token=token, address=address)
    left = report.redacted(said, Private(users={user}, hosts={host}, homes={home}))
    for private in (user, host, token, home, str(address), "8932f937", "2b:3c"):
        assert private not in left, (said, left)
    assert report.redacted(left, Private(users={user}, hosts={host}, homes={home})) == left


@settings(max_examples=40)
@given(
    st.lists(st.from_regex(r"[A-Z][a-z]{2}[0-9]{2}[a-z]{0,5}", fullmatch=True), min_size=1, max_size=3),
    st.sampled_from(
        [
            "/mnt/c/Users/{}/hf",
            "/Volumes/{}",
            "/media/{}/usb",
            "/run/media/{}",
            "/home2/{}",
            "/net/{}.lab.firma.example/hf",
        ]
    ),
    st.sampled_from(["{}.intern.firma.example:8080", "http://{}.lan/x", "//{}.lan/x"]),
)
def test_a_folder_and_an_address_of_a_finding_are_left_out_whatever_they_are_called(names, folder, address):
    folder, address = folder.format(" ".join(names)), address.format("".join(names))
    found = [
        Finding("a", "Cache", "good", f"1 GiB is free in {folder}.", private=(folder,)),
        Finding(
            "b",
            "Hub",
            "notice",
            f"{address} does not answer.",
            "",
            f"Unset {address}, or write to {folder}",
            "",
            (address,),
        ),
        Finding("c", "Torch", "notice", f"It failed: {folder}/lib/x.so: no kernel image"),
    ]
    left = report.shareable(found[:2], Private())
    assert not [name for name in (*names, "firma", "lan/") if name in left], left
    assert "1 GiB is free in" in left
    assert "<folder>." in left
    assert "no kernel image" in report.shareable(found, Private())
    assert "private" not in found[0].as_dict()


@settings(max_examples=40)
@given(
    NAMES,
    st.sampled_from(
        [
            "1 GiB is free in /mnt/c/Users/{} Ek/hf.",
            "/media/{}/usb is full, /run/media/{}/usb too; /cluster/users/{}",
            "A file in /home2/{}/x or C:\\Users\\{} Ek\\x: \\\\{}\\share",
            "3 GiB are free in /dev/shm/{} and /srv/firma\u00a0{}/x.",
            "/net/{}.lab.firma.example/hf: file:///data/{}/x and PATH=/usr/bin:/data/{}/bin",
        ]
    ),
)
def test_a_name_that_nobody_knows_is_left_out_of_a_path(name, place):
    left = report.redacted(place.replace("{}", name), Private())
    assert name not in left, left
    assert "firma" not in left


@pytest.mark.parametrize(
    "path", ["/mnt/c/Users/Ida Ek/hf", "/media/Ida_Ek/usb", "/run/media/Ida_Ek/usb", "/home2/Ida_Ek/x"]
)
def test_a_diagnosis_leaves_these_homes_out_too(path):
    redactor = Redactor(Private())
    said = f"cannot open {path}, said Ida Ek or Ida_Ek"
    redactor.learn(said)
    assert redactor.text(said).startswith("cannot open <home>/")
    assert ("Ida Ek" if " " in path else "Ida_Ek") not in redactor.text(said)


def test_the_kind_of_a_folder_stays():
    said = "/mnt/c/Users/Ida Ek/hf; /kaggle/working/mine; /data/x/bin/python -m pip; /dev/kfd; /usr/lib/wsl/lib; 3/4 and/or a/b"
    left = "/mnt/c/<folder>; /kaggle/working/<folder>; <folder>/bin/python -m pip; /dev/kfd; /usr/lib/wsl/lib; 3/4 and/or a/b"
    assert report.redacted(said, Private()) == left


def test_what_helps_to_understand_stays():
    said = (
        "Tesla T4; compute capability 7.5; driver 550.54.15; torch 2.10.0+cu128; https://huggingface.co answers; "
        "http://localhost:8888/ too; 127.0.0.1 is an address; libbitsandbytes_cuda128.so; nvidia 12:30:45"
    )
    assert report.redacted(said, Private(users={"mika"}, hosts={"tower"})) == said.replace("127.0.0.1", "<address>")


def test_home_folders_become_a_tilde():
    private = Private(users={"mika"}, homes={"/home/mika"})
    assert report.redacted("/home/mika/models is full.", private) == "~/models is full."
    assert report.redacted("It is in /srv/data.", Private(homes={"/srv/data"})) == "It is in ~."
    assert report.redacted("/data/easel/cache", private, [("/data/easel", "<easel>")]) == "<easel>/cache"


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """The command on this machine, with no engine, and without waiting for the network."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("EASEL_TORCH_INDEX", "http://mika:s3cret@127.0.0.1:9/whl")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a1B2" * 8)
    return lambda *arguments: CliRunner().invoke(easel, ["doctor", *arguments])


def test_the_command_on_this_machine(doctor, tmp_path):
    data = json.loads(doctor("--json").stdout)
    found = {each["id"]: each for each in data["findings"]}
    assert data["prevented"]
    assert data["machine"]["ram_bytes"] > 0
    assert found["training"]["state"] == "problem"
    assert found["network.hub"]["state"] == found["network.torch.cpu"]["state"] == "notice"
    assert "s3cret" not in json.dumps(data)
    assert found["token.huggingface"]["found"] == "One is set, by the environment variable HF_TOKEN."
    assert "a1B2" not in json.dumps(data)

    target = tmp_path / "report.txt"
    done = doctor("--report", "--to", str(target))
    assert done.exit_code == 1, "no engine is installed"
    text = target.read_text()
    assert text in done.stdout
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert text.splitlines()[1] == "No engine is installed yet."
    assert "<easel>" in text
    assert str(tmp_path) not in text
    assert not re.search(rf"(?<![\w-]){re.escape(os.uname().nodename)}(?![\w-])", text)
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert "exists already" in str(doctor("--to", str(link)).exception)
    assert link.is_symlink()
    refused = doctor("--to", str(target))
    assert "exists already" in str(refused.exception)
    assert target.read_text() == text
