"""Reads the input of a job: the request of the documents, or Easel's own. It may come from anybody, so all of it is checked.

The documents' form is a workflow of ComfyUI, with addresses of images:

    {"workflow": {...}, "training_data": {"s3_urls": [...]}, "training_config": {"mode", "user_id", "tenant_id", "request_id", "model_name", ...}}

Easel's own form is the request for a run (`trainer_core.remote.runs.request`); its image folders are folders of a bucket, and its models
what `models` can bring:

    {"easel": {"request": {...}, "storage": "s3://bucket/.../easel/runs/<id>/"}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote import addresses
from trainer_core.remote.addresses import Address
from trainer_core.remote.credentials import Settings
from trainer_core.remote.runs.request import Request
from trainer_core.remote.storage.bucket import endpoint_of
from trainer_core.remote.training.hyperparams import type_of
from trainer_core.remote.training.inputs import Listed, listed
from trainer_core.remote.worker.mapping import Mapped, mapped
from trainer_core.text import printable

BUCKETS, USUAL_BUCKET = "EASEL_WORKER_BUCKETS", "S3_USER_BUCKET"
RUNS = "easel/runs/"
"""Below which key of a bucket the folders of runs are."""
REQUIRED = ("mode", "user_id", "tenant_id", "request_id", "model_name")
REPEATED = {"learning_rate": "optimizer.learning_rate", "max_train_steps": "schedule.steps"}
"""What training_config repeats of the workflow, and the setting that it is."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_DOCUMENTS, _OWN = frozenset({"workflow", "training_data", "training_config"}), frozenset({"easel"})


@dataclass(frozen=True)
class OfWorkflow:
    """What a request of the documents asks for."""

    workflow: Mapped
    images: Listed
    model_name: str


@dataclass(frozen=True)
class Asked:
    """What a job asks for. `id` is the caller's name for it, `storage` the folder of the bucket that gets everything of the run."""

    id: str
    storage: Address
    wants: OfWorkflow | Request

    @property
    def stem(self) -> str:
        """The name of the LoRA, without its ending."""
        if isinstance(self.wants, OfWorkflow):
            return self.wants.model_name
        output = self.wants.plan.get("output", {})
        return f"{output.get('prefix', '')}{output.get('name', '')}" or "lora"


def id_of(data: object) -> str:
    """The caller's name for a job, also of one that is refused; "" if it gives none that can be repeated."""
    found: Any = ""
    if isinstance(data, Mapping):
        config, own = data.get("training_config"), data.get("easel")
        if isinstance(config, Mapping):
            found = config.get("request_id")
        elif isinstance(own, Mapping) and isinstance(own.get("request"), Mapping):
            found = own["request"].get("id")
    return printable(found, 200) if isinstance(found, str) else ""


def read(data: object, values: Settings) -> Asked:
    """What an input asks for.

    Raises:
        RemoteError, JobError: it cannot be trained, for the reason in the message; nothing was fetched.
    """
    if not isinstance(data, Mapping):
        raise _refusal("The input must be an object.")
    allowed = _OWN if "easel" in data else _DOCUMENTS
    if unknown := sorted(str(key) for key in data.keys() - allowed):
        raise _refusal(f"The input has an unknown entry {_shown(unknown[0])}. Known: {', '.join(sorted(allowed))}.")
    return _own(data["easel"], values) if "easel" in data else _documents(data, values)


def check_bucket(bucket: str, values: Settings) -> None:
    """Checks that this worker may use a bucket.

    Raises:
        RemoteError: it may not.
    """
    known = buckets(values)
    if bucket not in known:
        said = (
            f"It may use {', '.join(known)}."
            if known
            else f"It may use none: neither {BUCKETS} nor {USUAL_BUCKET} is set."
        )
        raise RemoteError(
            f"This worker may not use the bucket {_shown(bucket)}. {said}", f"Set {BUCKETS} at the endpoint.", "rights"
        )


def buckets(values: Settings) -> tuple[str, ...]:
    """The buckets that this worker may use; the results of the documents' requests go to the usual one, else to the first."""
    named = values.text(BUCKETS) or values.text(USUAL_BUCKET)
    return tuple(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))


def endpoints(values: Settings) -> list[str]:
    """The address of the storage service, if it is another one than AWS."""
    found = endpoint_of(values)
    return [found] if found else []


# ---- the documents' form ----
def _documents(data: Mapping[str, Any], values: Settings) -> Asked:
    config = data.get("training_config")
    given: Mapping[str, Any] = config if isinstance(config, Mapping) else {}
    if missing := [name for name in REQUIRED if not given.get(name)]:
        raise _refusal(f"Missing required training_config fields: {', '.join(missing)}")
    if unknown := sorted(str(key) for key in given.keys() - {*REQUIRED, *REPEATED}):
        raise _refusal(f"training_config has an unknown field {_shown(unknown[0])}.")
    for name in REQUIRED:
        _check_name(given[name], f"training_config.{name}")
    try:
        type_of(given["mode"])
        images = listed(_urls(data.get("training_data")), endpoints(values))
        # A missing workflow is one without nodes.
        workflow = mapped(data.get("workflow"))
    except ValueError as error:
        raise _refusal(str(error)) from None
    for name, path in REPEATED.items():
        _check_repeated(name, given.get(name), workflow, path)
    for url in images.urls:
        check_bucket(addresses.parse(url).bucket, values)
    known = buckets(values)
    usual = values.text(USUAL_BUCKET)
    bucket = usual if usual in known else known[0]
    return Asked(
        given["request_id"],
        Address(bucket, f"{RUNS}{given['request_id']}/"),
        OfWorkflow(workflow, images, given["model_name"]),
    )


def _urls(data: object) -> Sequence[str]:
    if not isinstance(data, Mapping) or not isinstance(data.get("s3_urls"), list | tuple):
        raise _refusal("The input has no training_data with a list s3_urls.")
    if unknown := sorted(str(key) for key in data.keys() - {"s3_urls"}):
        raise _refusal(f"training_data has an unknown entry {_shown(unknown[0])}.")
    return data["s3_urls"]


def _check_repeated(name: str, value: Any, workflow: Mapped, path: str) -> None:
    """Checks that training_config does not contradict the workflow."""
    if value is not None and value != workflow.values.get(path):
        raise _refusal(
            f"training_config.{name} is {_shown(value)}, but {workflow.where(path)} is {workflow.values.get(path)}. "
            "Set both to the same number."
        )


def _check_name(text: Any, what: str) -> None:
    if not isinstance(text, str) or not _NAME.fullmatch(text) or ".." in text:
        raise _refusal(
            f"{what} is {_shown(text)}, but must be 1 to 100 letters, digits and - _ ., and begin with a letter or digit."
        )


# ---- Easel's own form ----
def _own(data: object, values: Settings) -> Asked:
    if not isinstance(data, Mapping) or data.keys() != {"request", "storage"}:
        raise _refusal("The entry easel must have a request and a storage, and nothing else.")
    request = Request.from_dict(data["request"])
    if not isinstance(data["storage"], str):
        raise _refusal(
            "The storage of a request must be the address of a folder, such as s3://bucket/easel/runs/<id>/."
        )
    storage = addresses.parse(data["storage"], endpoints(values))
    # Below another key it could replace something else.
    if not f"/{storage.key}".endswith(f"/{RUNS}{request.id}/"):
        raise _refusal(f"The storage of this request must end in /{RUNS}{request.id}/, but is {_shown(storage.uri)}.")
    check_bucket(storage.bucket, values)
    return Asked(request.id, storage, request)


def _refusal(message: str) -> RemoteError:
    return RemoteError(message, "", "content")


def _shown(value: object) -> str:
    return printable(str(value), 100)
