"""The secrets of the environment reach the programs that need them, and no others."""

import dataclasses
import json
import sys

import pytest

from trainer_core.child import child_environment, full_environment
from trainer_core.engines import registry
from trainer_core.errors import JobError
from trainer_core.install import hub_files
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.kind import commands
from trainer_core.jobs.spec import Spec, Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training import hub_need

SECRETS = {
    "HF_TOKEN": "1", "HUGGING_FACE_HUB_TOKEN": "2", "CIVITAI_API_TOKEN": "3", "CIVITAI_API_KEY": "4", "RUNPOD_API_KEY": "5",
    "MODEL_TRAINING_RUNPOD_API_KEY": "6", "AWS_ACCESS_KEY_ID": "7", "AWS_SECRET_ACCESS_KEY": "8", "AWS_SESSION_TOKEN": "9",
    "WANDB_API_KEY": "a", "NGROK_AUTHTOKEN": "b", "EASEL_SERVE_TOKEN": "c", "SSH_AUTH_SOCK": "/d", "PGPASSWORD": "e",
    "GOOGLE_APPLICATION_CREDENTIALS": "/f", "JUPYTER_TOKEN": "g", "KAGGLE_USER_SECRETS_TOKEN": "h", "MYSQL_PWD": "i",
    "DATABASE_URL": "postgres://me:pw@host/x", "HTTPS_PROXY": "http://me:pw@proxy:3128", "HF_ENDPOINT": "https://me:pw@mirror",
    "MY_PAT": "j", "openai_key": "k", "AZURE_STORAGE_CONNECTION_STRING": "l", "AZURE_SAS": "m", "GITLAB_TOKEN2": "n", "SENTRY_DSN": "o",
    "SSH_PASSPHRASE": "p", "SESSION_COOKIE": "q", "MY_JWT": "r", "SLACK_WEBHOOK_URL": "s", "AUTHORIZATION": "t",
    "NOTIFY": "https://hooks.slack.com/services/T/B/x", "STORE": "Server=host;User=me;Password=pw", "MINE": f"ghp_{'a' * 36}",
}  # fmt: skip
OTHERS = {
    "PATH": "/bin", "PWD": "/work", "HF_HOME": "/hf", "HF_TOKEN_PATH": "/hf/token", "TOKENIZERS_PARALLELISM": "false",
    "HTTP_PROXY": "http://proxy:3128", "XAUTHORITY": "/x", "CUDA_VISIBLE_DEVICES": "0", "AWS_REGION": "eu-west-1", "RUNPOD_POD_ID": "p",
    "HSA_OVERRIDE_GFX_VERSION": "10.3.0", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "NCCL_IB_PKEY": "0", "MONKEY": "1",
    "KEYBOARD": "us", "GIT_AUTHOR_NAME": "me", "NVIDIA_DRIVER_CAPABILITIES": "compute", "COMPASS": "n", "SSL_CERT_FILE": "/c.pem",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus", "GIT_REMOTE": "git@github.com:me/it", "PATTERN": "sk-", "TORCH_HOME": "/t",
}  # fmt: skip
NOTHING_SENT = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
SAYS = "import json, os; print(json.dumps(dict(os.environ)))"


def test_a_program_of_another_maker_gets_no_secret_and_everything_else():
    assert child_environment(base={**SECRETS, **OTHERS}) == {**NOTHING_SENT, **OTHERS}
    assert child_environment({"HF_TOKEN": "named"}, base=SECRETS) == {**NOTHING_SENT, "HF_TOKEN": "named"}
    assert full_environment(base=SECRETS) == {**NOTHING_SENT, **SECRETS}, "Easel itself in another interpreter"


def test_the_program_of_a_job_gets_only_the_secrets_that_the_job_names(tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    folder = JobFolder.create(tmp_path, "says")
    words = (sys.executable, "-c", SAYS)
    folder.write_spec(Spec(commands.id, (Step("only", words),), folder.path, keeps=hub_need.VARIABLES))
    job = Job(folder)
    job.launch()
    job.wait(60)
    said = json.loads(next(line for line in folder.log.read_text().splitlines() if line.startswith("{")))
    assert {name for name in SECRETS if name in said} == {
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HTTPS_PROXY",
        "HF_ENDPOINT",
    }


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_written_into_the_folder_of_a_job(tmp_path, name):
    folder = JobFolder.create(tmp_path, "says")
    step = Step("only", ("true",), {**OTHERS, name: SECRETS[name]})
    with pytest.raises(JobError, match=f"would write {name} into its folder"):
        folder.write_spec(Spec(commands.id, (step,), folder.path))
    folder.write_spec(Spec(commands.id, (Step("only", ("true",), OTHERS),), folder.path))


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    for name in ("TRANSFORMERS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return TrainingPlan.model_validate({"model": {"path": str(tmp_path / "m.safetensors"), "family": "sd15"}})


def test_an_engine_gets_the_token_only_as_long_as_files_of_the_hub_are_missing(plan):
    manifest = registry.get("kohya").manifest
    (needed,) = hub_files.missing(manifest, "sd15")
    assert "HF_TOKEN" in hub_need.variables(plan, manifest)
    folder = hub_files.folder_of(needed)
    folder.mkdir(parents=True)
    for name in needed.files:
        (folder / name).write_text("{}")
    assert hub_need.variables(plan, manifest) == ()
    assert hub_need.variables(plan, dataclasses.replace(manifest, id="other")) == ()


def test_files_of_another_variant_are_no_reason_for_the_token(plan):
    manifest = registry.get("musubi").manifest
    tables = plan.model_dump()
    klein = TrainingPlan.model_validate(
        {**tables, "model": {**tables["model"], "family": "flux2", "variant": "klein-4b"}}
    )
    assert "HF_TOKEN" in hub_need.variables(klein, manifest)
    (needed,) = hub_files.missing(manifest, "flux2", "klein-4b")
    folder = hub_files.folder_of(needed)
    folder.mkdir(parents=True)
    for name in needed.files:
        (folder / name).write_text("{}")
    reference = folder.parent.parent / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(needed.revision)
    assert not hub_files.missing(manifest, "flux2", "klein-4b")
    assert hub_need.variables(klein, manifest) == ()


def test_an_engine_gets_the_token_for_a_repository_that_a_native_setting_names(plan, tmp_path):
    manifest = registry.get("rehearsal").manifest
    assert hub_need.variables(plan, manifest) == ()
    for value in ("owner/name", ["a=1", "path=owner/name"], "tokenizer=owner/name"):
        assert hub_need.variables(plan.model_copy(update={"native": {"rehearsal": {"x": value}}}), manifest)
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner/name").write_text("")
    for value in (True, 3, "cosine", str(tmp_path / "owner/name"), "a/b/c"):
        assert not hub_need.variables(plan.model_copy(update={"native": {"rehearsal": {"x": value}}}), manifest)
