"""The target of a remote run on RunPod: an endpoint, and the bucket through which worker and Easel exchange files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trainer_core.errors import JobError, RemoteError
from trainer_core.remote import addresses, credentials
from trainer_core.remote.credentials import DOTENV, Secret, Settings
from trainer_core.remote.runpod import answers
from trainer_core.remote.storage.bucket import endpoint_of
from trainer_core.remote.training.client import ENDPOINT_NAME, KEY_NAMES
from trainer_core.text import printable

KIND = "runpod"
BUCKET_NAME = "S3_USER_BUCKET"
FORM = "Write runpod:ENDPOINT, or runpod:ENDPOINT@s3://bucket/folder/."


@dataclass(frozen=True)
class RunPodTarget:
    """An endpoint and a storage. `storage` is s3://bucket/ or s3://bucket/folder/.

    `dotenv` is the path of the `.env` file in which the keys are looked for, too, because a follower runs in another folder; "" for none.
    `gpu` is the GPU that the times are estimated for, "" for a slow one. `style` names the training version that follows the
    run: {"at", "style", "version"}; empty for a run of no style. `sends_models`: the user agreed that model files of this machine which
    the worker lacks are uploaded to the storage.
    """

    endpoint: str
    storage: str
    dotenv: str = ""
    gpu: str = ""
    style: Mapping[str, str] | None = None
    sends_models: bool = False

    @classmethod
    def named(cls, text: str, values: Settings | None = None, dotenv: str = "") -> Self:
        """The target that a user names as ENDPOINT@ADDRESS; what is left out comes from the settings.

        Raises:
            JobError: it names none, or what is left out is not set.
            RemoteError: a setting cannot be used.
        """
        own = Path(DOTENV)
        dotenv = dotenv or (str(own.absolute()) if own.is_file() else "")
        values = values or credentials.settings(Path(dotenv) if dotenv else None)
        endpoint, _, storage = text.strip().partition("@")
        endpoint = endpoint or values.text(ENDPOINT_NAME)
        if not endpoint:
            raise JobError(
                "No RunPod endpoint is named or set.", f"{FORM} Or: {credentials.where_to_set(ENDPOINT_NAME)}"
            )
        bucket = values.text(BUCKET_NAME)
        if not storage and not bucket:
            message = "No bucket is named or set, through which the worker gets the images and returns the LoRA."
            raise JobError(message, f"{FORM} Or: {credentials.where_to_set(BUCKET_NAME)}")
        return cls._checked(endpoint, storage or f"s3://{bucket}", values, dotenv=dotenv)

    @classmethod
    def of(cls, target: Mapping[str, Any]) -> Self:
        """The target in the data of a run, which anybody may have written.

        Raises:
            JobError: it is damaged.
        """
        texts = {name: target.get(name, "") for name in ("endpoint", "storage", "dotenv", "gpu")}
        style = target.get("style")
        is_right = all(isinstance(value, str) for value in texts.values()) and isinstance(style, Mapping | None)
        if is_right and isinstance(style, Mapping):
            is_right = all(isinstance(style.get(name), str) for name in ("at", "style", "version"))
        address = addresses_of(texts["storage"]) if is_right else None
        if address is None or not answers.is_job_id(texts["endpoint"]):
            raise JobError("The target of the run names no endpoint and storage of RunPod.", "Start a new run.")
        own_style = dict(style) if isinstance(style, Mapping) else None
        return cls(**texts, style=own_style, sends_models=target.get("sends_models") is True)

    @classmethod
    def _checked(cls, endpoint: str, storage: str, values: Settings, dotenv: str) -> Self:
        if not answers.is_job_id(endpoint):
            raise JobError(
                f"{printable(endpoint, 100)!r} cannot be the id of an endpoint.", "Copy it from RunPod's console."
            )
        service = endpoint_of(values)
        found = addresses.parse(storage, [service] if service else [])
        folder = found.key if not found.key or found.key.endswith("/") else f"{found.key}/"
        return cls(endpoint, f"s3://{found.bucket}/{folder}", dotenv)

    def as_dict(self) -> dict[str, Any]:
        """The target as data; nothing in it is a secret."""
        found = {
            "kind": KIND,
            "endpoint": self.endpoint,
            "storage": self.storage,
            "dotenv": self.dotenv,
            "gpu": self.gpu,
        }
        kept: dict[str, Any] = {name: value for name, value in found.items() if value}
        kept |= {"sends_models": True} if self.sends_models else {}
        return {**kept, "style": dict(self.style)} if self.style else kept

    @property
    def root(self) -> str:
        """The folder in the bucket: "", or with "/" at its end."""
        return self.storage.removeprefix("s3://").partition("/")[2]

    def settings(self) -> Settings:
        """The keys and settings for this target.

        Raises:
            RemoteError: the `.env` file cannot be read.
        """
        is_there = bool(self.dotenv) and Path(self.dotenv).is_file()
        return credentials.settings(Path(self.dotenv) if is_there else None)

    def key(self, values: Settings) -> Secret:
        """The API key.

        Raises:
            RemoteError: none is set, or it cannot be one.
        """
        found = values.first(*KEY_NAMES)
        if found is None:
            raise RemoteError("The API key of RunPod is not set.", credentials.where_to_set(KEY_NAMES[1]))
        return found


def addresses_of(storage: str) -> addresses.Address | None:
    """The address of a storage; None if the text is none."""
    try:
        found = addresses.parse(storage)
    except RemoteError:
        return None
    return found if found.is_folder and storage.startswith("s3://") else None
