"""Plans as tasks of other schedulers: what is in an export, what is refused, and that the scripts in it train."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support import buckets, export_tools, recorded_headers
from tests.support.checkout import ROOT
from tests.support.played import until
from trainer_core.cli import main
from trainer_core.errors import RemoteError
from trainer_core.remote import credentials
from trainer_core.remote.export import gpus, registry, scripts, source, writing
from trainer_core.remote.export.mounts import Mounts, safe_name
from trainer_core.remote.export.task import Mount

HOSTILE = 'mika\'s $(touch PWNED) `id` "cat" \\ ${{ env.X }} ünï 🦊 # : - | &a *b %{x}'
NAME = "mika's $(touch PWNED) `id` ${{ env.X }} ünï 🦊 #1 & %{x}"
HF = "hf_" + "a1B2c3D4" * 4


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in (*credentials.KNOWN, "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("sd15", "sdxl"):
        recorded_headers.write(name, folder)
    return folder


@pytest.fixture
def plan(tmp_path, models):
    """Writes a plan file; its dataset has an unusual name."""
    images = tmp_path / "10_cats & 'dogs' #1"
    images.mkdir()
    for number in range(2):
        Image.new("RGB", (520, 520), (90 * number, 40, 10)).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text("a cat")

    def write(name="plan.toml", model="sdxl", engine="kohya", more=""):
        path = tmp_path / name
        lines = [
            f'engine = "{engine}"\nprofile = "plain"\npolicy = "none"',
            f"[model]\npath = {json.dumps(str(models / f'{model}.safetensors'))}",
            f"[dataset]\npath = {json.dumps(str(images))}\nrepeats = 10\ntrigger = {json.dumps(HOSTILE, ensure_ascii=False)}",
            f"[output]\nname = {json.dumps(NAME, ensure_ascii=False)}\n[schedule]\nsteps = 20\n{more}",
        ]
        path.write_text("\n".join(lines), "utf-8")
        return path

    return write


@pytest.fixture
def export(capsys):
    """Calls `easel remote export`, and returns its JSON; with `check` its exit code is another one, and its text is returned."""

    def call(*arguments, check=0):
        capsys.readouterr()
        code = 0
        try:
            main(["remote", "export", *map(str, arguments), *([] if check else ["--json"])])
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        assert code == check, said.out + said.err
        return said.out + said.err if check else json.loads(said.out)

    return call


def everything(folder):
    """The content of every file of an export, with what is in its archive."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


def test_skypilot_gets_the_files_of_the_plan_at_the_paths_that_the_plan_has_there(export, plan, tmp_path):
    made = export(plan(), "--to", "skypilot", "--output", tmp_path / "out")
    task = yaml.safe_load(Path(made["file"]).read_text("utf-8"))
    base = f"~/{task['name']}"
    assert all(Path(each).exists() for each in task["file_mounts"].values())
    there = tomllib.loads(Path(task["file_mounts"][f"{base}/files"], "plan.toml").read_text("utf-8"))
    for path in (there["model"]["path"], there["dataset"]["path"]):
        assert f"{base}/{path.removeprefix('./')}" in task["file_mounts"]
    assert there["dataset"]["path"].rpartition("/")[2].startswith("10_"), "the name says the repeats"
    assert there["dataset"]["trigger"] == HOSTILE
    assert there["output"]["folder"] == "./results"
    assert task["run"] == f"bash {base}/files/train.sh"


@pytest.mark.parametrize("name", registry.names())
def test_the_gpus_have_the_memory_that_the_estimate_says_and_the_number_that_the_plan_starts(
    export, plan, tmp_path, name
):
    two = "[native.kohya.launch]\nnum_processes = 2\nmulti_gpu = true\n"
    options = ("--to", name, "--bucket", "s3://my-bucket/x/", "--output", tmp_path / "out")
    (task,) = export(plan(more=two), *options)["tasks"]
    named = [gpus.named(each) for each in task["gpus"]]
    assert task["gpu_count"] == 2
    assert min(each.memory for each in named) >= task["gpu_gib"] > 5
    assert all(each.has_bf16 for each in named)
    assert "one machine" in task["machines"]
    text = b"".join(content for content in everything(tmp_path / "out") if content[:2] != b"\xfd7").decode()
    assert {"skypilot": "L4: 2", "dstack": "count: 2", "ray": '"num_gpus": 2'}[name] in text


def test_a_larger_model_asks_for_larger_gpus(export, plan, tmp_path):
    full = '[memory]\nmixed_precision = "bf16"\n'
    small = export(plan(model="sd15"), "--to", "skypilot", "--output", tmp_path / "a")["tasks"][0]
    path = plan(more=full)
    path.write_text(path.read_text("utf-8").replace("[model]", '[model]\nmethod = "full"'), "utf-8")
    large = export(path, "--to", "skypilot", "--output", tmp_path / "b")["tasks"][0]
    assert large["gpu_gib"] > small["gpu_gib"]
    assert set(large["gpus"]) < set(small["gpus"])


def test_no_secret_is_in_an_export_and_the_names_are(export, plan, tmp_path, monkeypatch):
    secrets = {"HF_TOKEN": HF, "AWS_ACCESS_KEY_ID": "AKIA1234567890ABCDEF", "AWS_SECRET_ACCESS_KEY": "s3cr3t" * 6}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    for number, target in enumerate(registry.names()):
        folder = tmp_path / str(number)
        made = export(
            plan(), "--to", target, "--output", folder, "--with-token", "--bucket", "s3://my-bucket/deep/folder/"
        )
        said = json.dumps(made).encode() + b"".join(everything(folder))
        assert not [name for name, value in secrets.items() if value.encode() in said]
        assert set(secrets) <= set(made["tasks"][0]["variables"])
        assert all(name.encode() in said for name in secrets)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--to", "slurm"), 2, "Known: dstack, ray, skypilot"),
        (("--to", "skypilot", "--gpu", "RTX9999"), 2, "Known: "),
        (("--to", "dstack"), 1, "--bucket"),
        (("--to", "ray"), 1, "--model-from"),
        (("--to", "skypilot", "--bucket", "s3://b-b-b/one.zip"), 2, "one object"),
        (("--to", "skypilot", "--model-from", "https://me:secret-word@example.org/x.safetensors"), 1, "password"),
        (("--to", "skypilot", "--model-from", "https://example.org/x.safetensors?key=secret-word"), 2, "signature"),
        (("--to", "skypilot", "--model-from", "models/base.safetensors"), 2, "no link"),
        (("--to", "skypilot", "--easel", "https://me:secret-word@example.org/easel"), 2, "neither"),
        (("--to", "skypilot", "--easel", "--upload-pack=touch x"), 2, "neither"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(export, plan, tmp_path, options, code, said):
    text = export(plan(), *options, "--output", tmp_path / "out", check=code)
    assert said in text
    assert "secret-word" not in text.replace("--easel", "") or "neither" in text
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_an_error_and_names_the_setting(tmp_path):
    with pytest.raises(RemoteError, match=r"VAE: there is no .*vae\.safetensors"):
        Mounts(is_shared=False).add(str(tmp_path / "vae.safetensors"), "VAE", "models")


def test_a_link_that_leads_to_itself_is_an_error(tmp_path):
    loop = tmp_path / "vae.safetensors"
    loop.symlink_to(loop)
    with pytest.raises(RemoteError, match=r"VAE: .*vae\.safetensors is a link that leads to itself"):
        Mounts(is_shared=False).add(str(loop), "VAE", "models")


def test_a_plan_that_could_not_be_trained_is_not_exported(export, plan, tmp_path):
    path = plan()
    path.write_text(path.read_text("utf-8").replace("sdxl.safetensors", "gone.safetensors"), "utf-8")
    assert "gone.safetensors" in export(path, "--to", "skypilot", "--output", tmp_path / "out", check=3)


def test_skypilot_is_not_given_paths_and_folders_that_it_would_change(export, plan, tmp_path):
    path, images = plan(), next(tmp_path.glob("10_*"))
    (images / ".gitignore").write_text("*.png")
    assert ".gitignore" in export(path, "--to", "skypilot", "--output", tmp_path / "out", check=1)
    (images / ".gitignore").unlink()
    (images / "link.png").symlink_to(images / "0.png")
    assert "links" in export(path, "--to", "skypilot", "--output", tmp_path / "out", check=1)
    (images / "link.png").unlink()
    assert "dollar" in export(path, "--to", "skypilot", "--output", tmp_path / "o$HOME", check=1)


def test_nothing_is_replaced(export, plan, tmp_path):
    export(plan(), "--to", "skypilot", "--output", tmp_path / "out" / "my.yaml")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "is there already" in export(plan(), "--to", "skypilot", "--output", tmp_path / "out" / "my.yaml", check=1)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_only_ray_takes_several_plans_and_sends_their_files_once(export, plan, tmp_path):
    plans = (plan("a.toml"), plan("b.toml", more="batch_size = 2\n"))
    assert "Export each plan" in export(*plans, "--to", "skypilot", "--output", tmp_path / "x", check=2)
    link = ("--model-from", "org/name")
    made = export(*plans, "--to", "ray", "--output", tmp_path / "out", *link)
    names = [task["name"] for task in made["tasks"]]
    assert len(set(names)) == 2
    assert len(list((tmp_path / "out" / "work" / "data").iterdir())) == 1, "both have one dataset"


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_text_survives_yaml_and_is_no_command_in_a_comment(text):
    tables = {"name": text, "file_mounts": {"~/x": text}}
    content = writing.yaml_text((text, f"a {text}"), tables)
    assert yaml.safe_load(content.decode()) == tables


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=30))
def test_any_name_is_one_word_in_the_scripts(text):
    mount = Mount(Path("/data") / text, PurePosixPath("images/1") / safe_name(text), 1, is_folder=True)
    script = scripts.upload([mount], "s3://my-bucket/x/")
    program = shlex.quote(str(Path(sys.executable).with_name("easel")))
    # printf in the place of easel: what would each word be?
    printed = script.replace(program, "printf '%s\\0'")
    words = subprocess.run(["bash", "-c", printed], capture_output=True, check=True).stdout.decode().split("\0")
    assert words[:5] == ["remote", "s3", "upload", str(mount.source), "--to"]
    assert PurePosixPath("images/1/x").with_name(safe_name(text)).name.isascii()
    fetched = scripts.setup(source.Source("/opt/easel"), "", [mount], "s3://b/" + text.strip() + "/", text, text)
    assert subprocess.run(["bash", "-n"], input=fetched, text=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["..", "-rf", "$(id)", "a\nb", "🦊", "ünï cödé", ".hidden", "a" * 300])
def test_names_there_have_no_unusual_characters(name):
    found = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}", found)


def test_easel_is_sent_as_the_same_file_each_time_and_without_what_it_does_not_need():
    first = source.archive()
    source.archive.cache_clear()
    assert source.archive() == first
    assert len(first) < 2 << 20, "dstack takes no more"
    with tarfile.open(fileobj=io.BytesIO(first)) as made:
        names = made.getnames()
    assert {"installer.py", "pyproject.toml", "trainer_core/cli/__main__.py"} <= set(names)
    assert not [name for name in names if name.startswith(("workspace", "tests", ".")) or "__pycache__" in name]


def environment(tmp_path, **more):
    return {**os.environ, "HOME": str(tmp_path), "EASEL_HOME": str(tmp_path / "there"), **more}


@pytest.fixture
def easel_there():
    if not (ROOT / ".venv/bin/easel").is_file():
        pytest.skip("This checkout has no .venv/bin/easel, which the scripts of an export start.")
    return ("--easel", str(ROOT), "--gpu", "none")


def test_the_scripts_train_the_plan_and_keep_its_results(export, plan, tmp_path, easel_there):
    path = plan(model="sd15", engine="rehearsal", more="[native.rehearsal]\nsteps_per_second = 200\n")
    made = export(path, "--to", "skypilot", "--output", tmp_path / "out", *easel_there)
    assert made["tasks"][0]["gpus"] == []
    job = tmp_path / made["tasks"][0]["name"]
    for target, where in yaml.safe_load(Path(made["file"]).read_text("utf-8"))["file_mounts"].items():
        there = Path(target.replace("~", str(tmp_path)))
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(where, there) if there == job / "files" else there.symlink_to(where)
    for script in ("setup.sh", "train.sh"):
        done = subprocess.run(
            ["bash", job / "files" / script], env=environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert list((job / "results").glob("*.safetensors"))
    assert list((job / "results").glob("*/engine.log"))
    assert not list(tmp_path.rglob("PWNED"))


def test_the_script_stops_the_training_when_it_is_stopped(export, plan, tmp_path, easel_there):
    more = "[native.rehearsal]\nsteps_per_second = 1\n"
    path, out = plan(model="sd15", engine="rehearsal", more=more), tmp_path / "out"
    export(path, "--to", "ray", "--shared", "--output", out, *easel_there)
    job = tmp_path / "job"
    shutil.copytree(out / "work" / "1", job / "files")
    process = subprocess.Popen(["bash", job / "files" / "train.sh"], env=environment(tmp_path))
    runs = tmp_path / "there" / "runs"
    until(lambda: bool(list(runs.glob("*/engine.json"))), 60)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) != 0
    (run,) = runs.iterdir()
    assert json.loads((run / "result.json").read_text("utf-8"))["state"] == "CANCELLED"


def test_files_and_results_go_through_a_bucket(export, plan, tmp_path, monkeypatch, easel_there):
    with buckets.place() as there:
        for name, value in there.environment.items():
            monkeypatch.setenv(name, value)
        path = plan(model="sd15", engine="rehearsal", more="[native.rehearsal]\nsteps_per_second = 200\n")
        made = export(
            path, "--to", "dstack", "--bucket", f"s3://{there.name}/deep/", "--output", tmp_path / "out", *easel_there
        )
        (task,) = made["tasks"]
        job = tmp_path / task["name"]
        shutil.copytree(tmp_path / "out" / "task-files", job / "files")
        lines = (tmp_path / "out" / "task-upload.sh").read_text("utf-8").splitlines()
        # 2 GB of nothing need not travel: the model is put where the script would put it.
        setup = (job / "files" / "setup.sh").read_text("utf-8").splitlines()
        kept = [line for line in setup if "models" not in line]
        (job / "files" / "setup.sh").write_text("\n".join(kept), "utf-8")
        model = next(mount for mount in task["mounts"] if mount["target"].startswith("models"))
        (job / model["target"]).parent.mkdir(parents=True)
        (job / model["target"]).symlink_to(model["source"])
        upload = "\n".join(line for line in lines if "sd15.safetensors" not in line)
        program = shlex.quote(str(Path(sys.executable).with_name("easel")))
        upload = upload.replace(program, str(ROOT / ".venv/bin/easel"))
        for command in (["-c", upload], [job / "files" / "setup.sh"], [job / "files" / "train.sh"]):
            done = subprocess.run(
                ["bash", *command], env=environment(tmp_path), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        keys = [each["Key"] for each in there.plain.list_objects_v2(Bucket=there.name)["Contents"]]
    assert [key for key in keys if "/images/" in key]
    results = [key for key in keys if "/results/" in key]
    assert any(key.endswith("engine.log") for key in results)
    assert any(key.endswith(".safetensors") for key in results)


def tool(name, file=Path("/dev/null")):
    """What the package of a scheduler reads in a file."""
    variable = export_tools.PYTHONS[name]
    python = os.environ.get(variable, "")
    if not Path(python).is_file():
        pytest.skip(f"{variable} names no Python with {name}, so its own schema cannot be asked.")
    program = Path(export_tools.__file__)
    done = subprocess.run([python, program, name, file], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_skypilot_itself_reads_the_task(export, plan, tmp_path):
    made = export(plan(), "--to", "skypilot", "--output", tmp_path / "out", "--with-token")
    said = tool("skypilot", made["file"])
    (task,) = made["tasks"]
    assert said["name"] == task["name"]
    assert said["run"] == f"bash ~/{task['name']}/files/train.sh"
    assert said["secrets"] == ["HF_TOKEN"]
    assert {Path(each["source"]) for each in task["mounts"]} < {Path(each) for each in said["mounts"].values()}
    assert {each.skypilot for each in gpus.known()} - {""} <= set(said["known"])
    assert set(said["gpus"]) == {gpus.named(each).skypilot for each in task["gpus"]}


def test_dstack_itself_reads_the_task(export, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("S3_REGION", "eu-central-1")
    made = export(plan(), "--to", "dstack", "--output", tmp_path / "out", "--with-token", "--bucket", "s3://b-b-b/x/")
    said = tool("dstack", made["file"])
    assert said["name"] == made["tasks"][0]["name"]
    assert said["is_valid"]
    assert said["variables"] == sorted(made["tasks"][0]["variables"])
    assert said["commands"][-1].endswith("files/train.sh")
    known = {(name, memory) for name, memory in said["known"]}
    assert {(each.dstack, each.memory) for each in gpus.known()} <= known


def test_the_names_of_gpus_for_ray_are_those_of_ray():
    assert {each.ray for each in gpus.known()} - {""} <= set(tool("ray")["known"])
