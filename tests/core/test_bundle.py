"""The bundle for a report: nothing private comes out, whatever the files contain; and it is written safely."""

from __future__ import annotations

import getpass
import json
import socket
import stat
import tomllib
import zipfile
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer_core.cli import easel
from trainer_core.errors import JobError
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.jobs.spec import Spec, Step
from trainer_core.text import without_secrets
from trainer_core.training import bundle

# Each is put together, so that no file of this repository contains something that looks like a token.
HEX = "0123456789abcdef" * 2
SECRETS = {
    "hugging face": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "civitai": HEX,
    "runpod": "rpa_" + "A1B2C3D4E5F6G7H8I9J0K1L2M3N4",
    "aws id": "AKIA" + "ABCDEFGHIJKLMNOP",
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "github new": "github_pat_" + "11AAAAAAA0abcdefghijklm_nopqrstuvwxyz",
    "gitlab": "glpat-" + "abcdEFGH1234ijkl5678",
    "openai": "sk-" + "proj-abcdefghijklmnopqrstuvwx",
    "slack": "xoxb-" + "1234567890-abcdefghij",
}
SECRET = "Zq8vTr5wXy2kLm9n"
LEADING = [
    "Authorization: Bearer {}",
    "Bearer {}",
    "HF_TOKEN={}",
    "CIVITAI_API_KEY={}",
    'export AWS_SECRET_ACCESS_KEY="{}"',
    '"api_key": "{}"',
    "WANDB_API_KEY='{}'",
    "--password={}",
    "https://mika:{}@mirror.example.org/simple",
    "https://cdn.example.org/a.safetensors?X-Amz-Signature={}&X-Amz-Date=2026",
    "https://civitai.example.org/api/download/1?token={}",
    "https://discord.com/api/webhooks/99/{}",
    "https://hooks.slack.com/services/T0/B0/{}",
]
PERSON = "wilhelmina"
MACHINE = "gandalf-rtx"
PATHS = [
    "/home/{}/easel/runs/1",
    "/Users/{}/Documents/a",
    "C:\\Users\\{}\\models\\a.safetensors",
    "C:/Users/{}/models",
    "C:\\\\Users\\\\{}\\\\models",
    "file:///home/{}/a%20b",
    "file%3A%2F%2F%2Fhome%2F{}%2Fa",
    "{}@" + MACHINE + ":~$ easel train",
]
CAPTION = "a photo of elfriede on the beach, red umbrella, low sun"
PROMPT = "{trigger}, portrait of a knight in silver armour"
IMAGE = "Elfriede am Strand 2019.png"


@pytest.fixture
def job(tmp_path):
    """A job folder of a training, with private things in every file; `add` puts a text into all of them."""
    folder = JobFolder(tmp_path / "20261129-120000-elfie")
    images = folder.path / "dataset"
    images.mkdir(parents=True)
    (images / IMAGE).write_bytes(b"x")
    (images / IMAGE.replace("png", "txt")).write_text(CAPTION)
    plan = {
        "schema_version": 1,
        "engine": "rehearsal",
        "model": {"path": f"/home/{PERSON}/models/sd15.safetensors"},
        "dataset": {"path": f"/home/{PERSON}/Bilder", "trigger": "elfriede", "caption_extension": ".txt"},
        "sampling": {"prompt": PROMPT, "negative_prompt": "blurry, ugly"},
        "optimizer": {"name": "AdamW"},
    }
    folder.write_spec(
        Spec("commands", (Step("train", ("python", f"/home/{PERSON}/train.py")),), folder.path),
        {"engine": "rehearsal", "host": MACHINE},
    )
    (folder.path / "plan.toml").write_text(tomli_w.dumps(plan))
    folder.write("hardware.json", {"gpu": "NVIDIA RTX 4090", "hostname": MACHINE})
    folder.write(
        "result.json", {"state": "FAILED", "exit_code": 1, "diagnosis": {"id": "x", "line": ""}, "outputs": []}
    )
    folder.log.write_text(f"prompt: {PROMPT}\nresolution 512\nOddError: {IMAGE}\n")
    folder.supervisor_log.write_text("")
    folder.events.write_text('{"kind": "phase", "name": "training"}\n')
    return Job(folder)


def add(job: Job, text: str) -> None:
    """Puts a text into every file of the job, as a value of its own and within others."""
    folder = job.folder
    for path in (folder.log, folder.supervisor_log):
        path.write_text(f"{path.read_text()}before {text} after\n{text}\n[{text}] x\n")
    for name in ("hardware.json", "result.json", "versions.json"):
        folder.write(name, {**(folder.read(name) or {}), "said": text, text: [text, f"x {text} y"]})
    folder.events.write_text(folder.events.read_text() + json.dumps({"kind": "notice", "text": f"see {text}"}) + "\n")
    plan = bundle._plan(folder) or {}
    (folder.path / "plan.toml").write_text(tomli_w.dumps({**plan, "native": {"kohya": {"note": text}}}))


def everything(job: Job, **options) -> str:
    files, _ = bundle.contents(job, Diagnosis("x", "It failed.", job.folder.log.read_text()[:400], ""), **options)
    return "\n".join([*files, *files.values()])


def test_it_has_the_parts_that_a_report_needs_and_they_stay_readable(job):
    files, counts = bundle.contents(job)
    assert next(iter(files)) == "README.txt"
    assert set(files) == {
        "README.txt",
        "log.txt",
        "plan.json",
        "versions.json",
        "hardware.json",
        "result.json",
        "spec.json",
        "events.jsonl",
    }
    assert "READ IT BEFORE YOU SHARE IT" in files["README.txt"]
    for kind, count in counts.items():
        assert f"{kind}: {count}" in files["README.txt"]
    assert "NVIDIA RTX 4090" in files["hardware.json"]
    assert "resolution 512" in files["log.txt"]
    plan = json.loads(files["plan.json"])
    assert plan["model"]["path"] == "<home>/models/sd15.safetensors"
    assert plan["optimizer"]["name"] == "AdamW"
    assert plan["dataset"]["caption_extension"] == ".txt"


@pytest.mark.parametrize("secret", SECRETS.values(), ids=list(SECRETS))
def test_no_token_comes_out(job, secret):
    for form in (secret, f"token {secret}.", f"x={secret}", f"https://a.example.org/{secret}/x"):
        add(job, form)
    assert secret not in everything(job)


@pytest.mark.parametrize("leading", LEADING)
def test_no_secret_that_is_named_as_one_comes_out(job, leading):
    add(job, leading.format(SECRET))
    assert SECRET not in everything(job)
    assert SECRET not in without_secrets(leading.format(SECRET))


@pytest.mark.parametrize("path", PATHS)
def test_no_name_of_a_person_or_machine_comes_out(job, path):
    add(job, path.format(PERSON))
    add(job, f"as {PERSON} on {MACHINE}")
    found = everything(job)
    assert PERSON not in found.lower()
    assert MACHINE not in found


def test_this_account_and_this_machine_do_not_come_out(job):
    home, host = str(Path.home()), socket.gethostname()
    add(job, f"{home}/x on {host}")
    found = everything(job)
    assert f"{home}/x" not in found
    if len(host) > 2 and host not in ("localhost", "main"):
        assert host not in found
    user = getpass.getuser()
    if user not in ("root", "runner", "user"):
        assert user not in found


@pytest.mark.parametrize("form", ["{}", "prompts: ['{}']", "caption = {}", '{{"caption": "{}"}}', "INFO work on {}"])
def test_no_caption_comes_out_unless_asked_for(job, form):
    add(job, form.format(CAPTION))
    add(job, form.format(PROMPT.replace("{trigger}", "elfriede")))
    add(job, CAPTION[:30])
    found = everything(job)
    assert "umbrella" not in found
    assert "beach" not in found
    assert "silver armour" not in found
    assert "elfriede" not in found.lower().replace("elfriede am strand", "")
    assert "umbrella" in everything(job, with_captions=True)


def test_no_text_of_several_prompts_comes_out(job):
    plan = tomllib.loads((job.folder.path / "plan.toml").read_text())
    plan["sampling"]["prompts"] = [
        {"text": "{trigger} in a purple tent"},
        {"text": "a lighthouse", "negative_prompt": "gulls"},
    ]
    (job.folder.path / "plan.toml").write_text(tomli_w.dumps(plan))
    (job.folder.path / "engine").mkdir()
    job.folder.write("engine/prompts.json", {"prompt0": "elfriede in a purple tent", "prompt1": "a lighthouse"})
    add(job, "prompt: elfriede in a purple tent")
    found = everything(job)
    assert not [word for word in ("purple", "lighthouse", "gulls") if word in found]
    assert "lighthouse" in everything(job, with_captions=True)


def test_images_are_numbered_the_same_everywhere(job):
    add(job, f"/home/{PERSON}/Bilder/{IMAGE}")
    add(job, "other_photo-3.JPG")
    found = everything(job)
    assert "Strand" not in found
    assert "other_photo" not in found
    assert "image-001.png" in found
    assert "image-002.JPG" in found
    add(job, IMAGE.replace(".png", "_0064x0064_sd.npz"))
    assert "Strand" not in everything(job)


@pytest.mark.parametrize(
    "text",
    [
        "keep_tokens: 0",
        "max_token_length = 225",
        "token_warmup_min: 1",
        "Root Cause (first observed failure):",
        "torch==2.10.0 cu128, driver 550.54.14",
        "huggingface_hub.errors.GatedRepoError: 403 Client Error.",
        "use AdamW optimizer | {'weight_decay': 0.01}",
        "read caption:  50%|#####     | 6/12 [00:00<00:00]",
    ],
)
def test_what_a_report_needs_is_kept(job, text):
    job.folder.log.write_text(text + "\n")
    assert bundle.contents(job)[0]["log.txt"].strip() == text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [
            *SECRETS.values(),
            *(leading.format(SECRET) for leading in LEADING),
            *(p.format(PERSON) for p in PATHS),
            CAPTION,
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12),
    st.sampled_from([" ", "\t", '"', "'", "(", "\n", " = ", ": ", " \x1b[31m ", ", "]),
)
def test_nothing_planted_comes_out_of_a_log(job, planted, noise, gap):
    job.folder.log.write_text(f"{noise}{gap}{planted}{gap[::-1]}{noise}\nRuntimeError: {noise} {planted}\n", "utf-8")
    found = everything(job).lower()
    for private in (*SECRETS.values(), SECRET, PERSON, "umbrella"):
        assert private.lower() not in found


def test_a_long_log_is_cut_at_lines_and_keeps_both_ends(job):
    lines = [f"line {number} token {SECRETS['github']}" for number in range(20_000)]
    job.folder.log.write_text("\n".join(["first", *lines, "last"]))
    text = bundle.contents(job)[0]["log.txt"]
    assert text.startswith("first")
    assert text.endswith("last")
    assert "bytes are left out" in text
    assert len(text) < 400_000
    assert SECRETS["github"][4:12] not in text


def test_it_is_new_private_and_complete(job, tmp_path):
    target = tmp_path / "a.zip"
    bundle.write(job, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as made:
        assert made.testzip() is None
        assert made.namelist()[0] == "README.txt"
    before = target.read_bytes()
    with pytest.raises(JobError, match="exists already"):
        bundle.write(job, target)
    assert target.read_bytes() == before
    with pytest.raises(JobError, match="cannot be written"):
        bundle.write(job, tmp_path / "none" / "a.zip")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".easel")] == []


def test_damaged_and_strange_files_do_no_harm(job, tmp_path):
    folder = job.folder
    (folder.path / "plan.toml").write_bytes(b"\xff\xfe not toml")
    (folder.path / "hardware.json").write_text("[1, 2")
    folder.events.write_bytes(b"\0\xff{}\n[]\n")
    folder.log.write_bytes(b"\xff\xfeOddError\0" * 100)
    folder.supervisor_log.unlink()
    (folder.path / "dataset" / "pipe.txt").symlink_to("/dev/zero")
    files, _ = bundle.contents(job)
    assert "log.txt" in files
    assert "plan.json" not in files


@pytest.mark.parametrize("name", [*bundle.LOGS, *bundle.DATA_FILES, "plan.toml", "events.jsonl"])
def test_a_link_in_a_folder_from_somebody_else_carries_no_other_file_out(job, tmp_path, name):
    foreign = {".json": '{"kind": "OUTSIDE", "ran": "OUTSIDE"}', ".toml": 'kind = "OUTSIDE"'}
    outside = tmp_path / "private"
    outside.write_text(foreign.get(Path(name).suffix, '{"kind": "OUTSIDE", "time": 1}') + "\n")
    (job.folder.path / name).unlink(missing_ok=True)
    (job.folder.path / name).symlink_to(outside)
    files, _ = bundle.contents(job)
    assert "OUTSIDE" not in json.dumps(files)
    (job.folder.path / name).unlink()
    (job.folder.path / name).write_bytes(outside.read_bytes())
    assert "OUTSIDE" in json.dumps(bundle.contents(job)[0]), "a file of the folder itself is read"


def test_the_command_writes_it_and_says_so(job, tmp_path):
    target = tmp_path / "report.zip"
    done = CliRunner().invoke(easel, ["diagnose", str(job.folder.path), "--bundle", str(target)])
    assert done.exit_code == 0, done.output
    assert "Read it before you share it." in done.output
    again = CliRunner().invoke(easel, ["diagnose", str(job.folder.path), "--bundle", str(target)])
    assert isinstance(again.exception, JobError)
    with zipfile.ZipFile(target) as made:
        assert "diagnosis.json" in made.namelist()
        assert PERSON not in "".join(made.read(name).decode() for name in made.namelist())
