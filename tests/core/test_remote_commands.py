"""`easel remote s3` and `easel remote dataset`, with a bucket of moto's server, and what they never say or write."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.support import buckets
from tests.support.checkout import ROOT
from trainer_core.cli import easel, main
from trainer_core.curation import selections
from trainer_core.remote import credentials


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in (*credentials.KNOWN, "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(credentials, "_given", {})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def there(monkeypatch):
    with buckets.place() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "cats"
    for name in ("a.png", "b.jpg", "more/c.webp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red" if name[0] == "a" else "blue").save(root / name)
        (root / name).with_suffix(".txt").write_text(f"{name}, style_16")
    (root / "notes.md").write_text("not a part of it")
    (root / ".hidden.png").write_bytes(b"")
    return root


def run(*arguments, capsys):
    """The exit code, and what the command printed on stdout and stderr."""
    code = 0
    try:
        main(["remote", *map(str, arguments)])
    except SystemExit as ended:
        code = ended.code or 0
    said = capsys.readouterr()
    return code, said.out, said.err


def as_json(*arguments, capsys, code=0):
    found, out, _ = run(*arguments, "--json", capsys=capsys)
    assert found == code, out
    return json.loads(out)


def test_files_go_up_are_listed_linked_and_come_back(there, tmp_path, capsys):
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "deep/b.txt").write_text("two")
    (folder / ".secret").write_text("x")
    sent = as_json("s3", "upload", folder, "--to", f"s3://{there.name}/up/", capsys=capsys)
    assert [each["state"] for each in sent["objects"]] == ["uploaded", "uploaded"]
    assert sent["left_out"] == [str(folder / ".secret")]
    assert there.keys() == ["up/a.txt", "up/deep/b.txt"]
    again = as_json("s3", "upload", folder, "--to", f"s3://{there.name}/up/", capsys=capsys)
    assert [each["state"] for each in again["objects"]] == ["unchanged", "unchanged"]

    listed = as_json("s3", "list", f"s3://{there.name}/up/", capsys=capsys)
    assert [(each["key"], each["size"]) for each in listed["objects"]] == [("up/a.txt", 3), ("up/deep/b.txt", 3)]
    assert as_json("s3", "list", "--limit", 1, capsys=capsys)["has_more"]
    assert "up/deep/b.txt" in run("s3", "list", capsys=capsys)[1]

    link = as_json("s3", "link", f"s3://{there.name}/up/a.txt", "--minutes", 5, capsys=capsys)["link"]
    assert httpx2.get(link).text == "one"
    assert httpx2.get(run("s3", "link", f"s3://{there.name}/up/a.txt", capsys=capsys)[1].strip()).text == "one"

    got = as_json("s3", "download", f"s3://{there.name}/up/", "--to", tmp_path / "back", capsys=capsys)
    assert (tmp_path / "back/deep/b.txt").read_text() == "two"
    assert {each["checked"] for each in got["files"]} == {"sha256"}
    web = f"{there.endpoint}/{there.name}/up/a.txt"
    assert as_json("s3", "download", web, capsys=capsys)["files"][0]["path"] == "a.txt"
    assert Path("a.txt").read_text() == "one"


def test_wrong_use_and_failures_have_their_exit_codes(there, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    there.put("a.txt", b"other")
    codes = {
        ("s3", "download", "https://evil.com/a"): 2,
        ("s3", "download", f"s3://{there.name}/../a"): 2,
        ("s3", "link", f"s3://{there.name}/dir/"): 2,
        ("s3", "upload", tmp_path / "a.txt", tmp_path / "b.txt", "--to", f"s3://{there.name}/one"): 2,
        ("s3", "upload", tmp_path / "missing", "--to", f"s3://{there.name}/"): 2,
        ("dataset", "upload", tmp_path): 2,
        ("dataset", "upload", tmp_path, "--style", "../16"): 2,
        ("s3", "download", f"s3://{there.name}/nothing"): 1,
        ("s3", "download", f"s3://{there.name}/nothing/"): 1,
        ("s3", "link", f"s3://{there.name}/nothing"): 1,
        ("s3", "upload", tmp_path / "a.txt", "--to", f"s3://{there.name}/"): 1,
        ("dataset", "upload", tmp_path, "--style", "16"): 1,
    }
    for arguments, code in codes.items():
        found, out, err = run(*arguments, capsys=capsys)
        assert (found, out) == (code, ""), arguments
        assert "Error" in err
    assert there.get("a.txt") == b"other"
    assert "error" in as_json("s3", "download", f"s3://{there.name}/nothing", capsys=capsys, code=1)


def test_a_key_that_would_leave_the_folder_is_not_downloaded(there, tmp_path, capsys):
    there.put("up/../../evil.txt", b"x")
    there.put("up/a.txt", b"x")
    code, _, err = run("s3", "download", f"s3://{there.name}/up/", "--to", tmp_path / "back", capsys=capsys)
    assert code == 2
    assert "as a folder" in err
    assert not (tmp_path / "back").exists()
    there.plain.delete_object(Bucket=there.name, Key="up/../../evil.txt")
    (tmp_path / "outside").mkdir()
    (tmp_path / "back").mkdir()
    (tmp_path / "back/sub").symlink_to(tmp_path / "outside")
    there.put("up/sub/b.txt", b"x")
    code, _, err = run("s3", "download", f"s3://{there.name}/up/", "--to", tmp_path / "back", capsys=capsys)
    assert code == 1
    assert "leads out of the folder" in err
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("keys", [("up/A.txt", "up/a.TXT"), ("up/a", "up/a/b")])
def test_objects_that_cannot_be_on_one_disk_are_not_downloaded(there, tmp_path, capsys, keys):
    for key in keys:
        there.put(key, b"x")
    code, _, err = run("s3", "download", f"s3://{there.name}/up/", "--to", tmp_path / "back", capsys=capsys)
    assert code == 1
    assert "cannot be a file here" in err


def test_a_dataset_goes_up_with_its_captions_and_unchanged_files_not_again(there, dataset, capsys):
    sent = as_json("dataset", "upload", dataset, "--style", "16", capsys=capsys)
    at = f"s3://{there.name}/styles/16"
    images = [f"{at}/a.png", f"{at}/b.jpg", f"{at}/more/c.webp"]
    assert sent["uris"] == images + [uri.rpartition(".")[0] + ".txt" for uri in images]
    assert (sent["sent"], sent["left_out"]) == (6, [])
    assert len(there.keys()) == 6
    there.network.seen.clear()
    (dataset / "a.txt").write_text("another, style_16")
    there.plain.delete_object(Bucket=there.name, Key="styles/16/b.jpg")
    code, _, err = run("dataset", "upload", dataset, "--style", "16", capsys=capsys)
    assert code == 1
    assert "1 object with another content would be replaced: styles/16/a.txt" in err
    assert not there.network.of("PUT")
    again = as_json("dataset", "upload", dataset, "--style", "16", "--replace", capsys=capsys)
    assert (again["sent"], again["replaced"], again["unchanged"]) == (1, 1, 4)
    assert len(there.network.of("PUT")) == 2
    assert there.get("styles/16/a.txt") == b"another, style_16"
    assert there.get("styles/16/more/c.webp") == (dataset / "more/c.webp").read_bytes()


def test_a_selection_goes_up_alone(there, dataset, capsys):
    selections.keep(dataset, "Set 1", ["b.jpg", "more/c.webp"])
    (dataset / "more/c.txt").unlink()
    wanted = ("dataset", "upload", dataset, "--to", f"s3://{there.name}/x", "--selection")
    sent = as_json(*wanted, "Set 1", capsys=capsys)
    assert there.keys("x/") == ["x/b.jpg", "x/b.txt", "x/more/c.webp"]
    assert sent["notes"] == ["1 image has no caption of its own."]
    code, _, err = run(*wanted, "Set 2", capsys=capsys)
    assert code == 1
    assert "There are: Set 1" in err


def test_a_dataset_with_links_out_and_equal_names_says_so(there, dataset, tmp_path, capsys):
    (tmp_path / "elsewhere.png").write_bytes(b"private")
    (dataset / "d.png").symlink_to(tmp_path / "elsewhere.png")
    Image.new("RGB", (8, 8)).save(dataset / "more/a.png")
    sent = as_json("dataset", "upload", dataset, "--to", f"s3://{there.name}/x/", capsys=capsys)
    assert [each["file"] for each in sent["left_out"]] == ["d.png"]
    listed = there.keys()
    assert "x/d.png" not in listed
    assert any("such as a.png" in note for note in sent["notes"])


def test_the_key_can_be_asked_for_and_is_not_shown(there, monkeypatch):
    for name in buckets.KEYS:
        monkeypatch.delenv(name)
    typed = "\n".join(buckets.KEYS.values()) + "\n"
    done = CliRunner().invoke(easel, ["remote", "s3", "list", "--ask-key", "--json"], input=typed)
    assert done.exit_code == 0, done.output
    assert not any(value in done.output for value in buckets.KEYS.values())


def test_no_key_is_in_anything_that_is_said_written_or_sent_but_where_it_belongs(there, dataset, tmp_path):
    """Keys from the environment, from a file that is named and from the one in the working folder; with every failure."""
    secrets = [buckets.KEYS["AWS_SECRET_ACCESS_KEY"], buckets.TOKEN, "rpa_PLANTEDPLANTEDPLANTED00"]
    lines = [f"{name}={value}" for name, value in there.environment.items()]
    lines += [f"AWS_SESSION_TOKEN={buckets.TOKEN}", f"RUNPOD_API_KEY={secrets[2]}"]
    named = tmp_path / "keys" / "own.env"
    named.parent.mkdir()
    named.write_text("\n".join(lines))
    Path(".env").write_text("\n".join(lines))
    plain = {name: value for name, value in os.environ.items() if name not in there.environment}
    own = {**there.environment, "AWS_SESSION_TOKEN": buckets.TOKEN, "RUNPOD_API_KEY": secrets[2]}
    to = f"s3://{there.name}/x/"
    said = []
    faults = [{}, {"status": 403, "code": "SignatureDoesNotMatch"}, {"cut_answer": 3}]
    programs = [
        (plain, ["dataset", "upload", str(dataset), "--to", to, "--env-file", str(named)]),
        (plain, ["s3", "list", to]),
        ({**plain, **own}, ["s3", "download", to, "--to", "back", "--json"]),
    ]
    for fault, (environment, arguments) in zip(faults, programs, strict=True):
        if fault:
            there.network.fault(times=99 if "status" in fault else 1, **fault)
        command = [sys.executable, "-m", "trainer_core.cli", "remote", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**environment, "PYTHONPATH": str(ROOT)}, check=False
        )
        said += [done.stdout, done.stderr, *command]
        assert done.returncode == ("status" in fault), done
        there.network.faults.clear()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in {".env", "own.env"}]
    assert len(written) > 6
    for secret in secrets:
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in path.read_bytes() for path in written)
        for request in there.network.seen:
            assert secret.encode() not in request.body
            assert secret not in request.path
            where = {name for name, value in request.headers.items() if secret in value}
            assert where <= ({"X-Amz-Security-Token"} if secret == buckets.TOKEN else set())
    assert any("X-Amz-Security-Token" in request.headers for request in there.network.seen)


def test_only_the_use_of_a_bucket_imports_what_it_needs():
    code = (
        "import sys, trainer_core.remote.storage, trainer_core.remote.styles, trainer_core.remote.datasets, trainer_core.cli.remote; "
        "sys.exit('botocore' in sys.modules or 'boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
