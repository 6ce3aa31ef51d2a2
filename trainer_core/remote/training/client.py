"""Sends training requests to a RunPod endpoint, with the calls and answers of the document "LoRA Training Module".

A mistake in the configuration is a ValueError, before anything is sent. A request that was not accepted is an answer with
`"status": "failed"`. After "Training request timeout", RunPod may have accepted the request all the same: look at its console before
you send it again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote import credentials
from trainer_core.remote.credentials import Secret, Settings
from trainer_core.remote.patience import Patience
from trainer_core.remote.runpod import leaks, limits, web_address
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.limits import Policy
from trainer_core.remote.runpod.refusals import RunPodError
from trainer_core.remote.training.hyperparams import compute_hyperparams, type_of
from trainer_core.remote.training.inputs import Listed, listed
from trainer_core.remote.training.workflow import LoRATrainingWorkflow, check_workflow
from trainer_core.text import printable

KEY_NAMES = ("MODEL_TRAINING_RUNPOD_API_KEY", "RUNPOD_API_KEY")
ENDPOINT_NAME = "MODEL_TRAINING_RUNPOD_ENDPOINT_ID"
PUBLIC_NAMES = ("GATEWAY_BASE_URL", "BASE_URL")
WEBHOOK_PATH = "/core/training-webhooks/runpod-serverless"
TIMEOUT = "Training request timeout"
STARTED = "Training started, completion will be notified via webhook"
STARTED_WITHOUT_WEBHOOK = "Training started, ask RunPod for its status: no webhook is set"
REQUIRED = ("mode", "user_id", "tenant_id", "request_id", "model_name")

START_S, STEP_S, IMAGE_S = 1800.0, 12.0, 10.0
"""The most that a start of a worker, a step and the preparation of an image should take, in seconds. Assumptions, generous on purpose:
they bound what a hanging job costs, and a job that needs more is ended."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ALLOWED = "letters, digits and - _ ., and begins with a letter or digit"
_LOCK = threading.Lock()
_last_stamp = 0


class TrainingClient:
    """Sends training requests to one endpoint; values that are not given come from the environment or a `.env` file."""

    def __init__(
        self,
        api_key: str | None = None,
        endpoint_id: str | None = None,
        timeout: float = 60.0,
        *,
        dotenv: Path | None = None,
        base_url: str = "",
        settings: Settings | None = None,
    ) -> None:
        """A client. `timeout` is how long it waits for RunPod, in seconds.

        `base_url` replaces the address of RunPod, and `settings` those of the environment and the `.env` file.

        Raises:
            ValueError: the key or the endpoint is missing, or cannot be one.
        """
        if not 0 < timeout < float("inf"):
            raise ValueError("The timeout must be a number of seconds above 0.")
        try:
            self._settings: Settings = settings or credentials.settings(dotenv)
            given = Secret(api_key, "RUNPOD_API_KEY", "the argument api_key") if api_key else None
            self._given = given
            key = given or self._settings.first(*KEY_NAMES)
            if key is None:
                raise ValueError("RunPod API key is required")
            endpoint = endpoint_id or self._settings.text(ENDPOINT_NAME)
            if not endpoint:
                raise ValueError(f"{ENDPOINT_NAME} environment variable is required")
            patience = Patience(attempts=5, connect_s=min(10.0, timeout), read_s=timeout, longest_wait_s=timeout)
            self._client = Client(endpoint, key, base_url, patience)
        except RemoteError as error:
            raise ValueError(str(error)) from None

    def train_style(
        self,
        style_id: str,
        image_urls: Sequence[str],
        user_id: str,
        tenant_id: str,
        learning_rate: float | None = None,
        max_train_steps: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Trains a style on images, and their captions if they are in the list; returns the answer of the document.

        `options` are those of `train`.

        Raises:
            ValueError: a value cannot be used; nothing was sent.
        """
        values = {"learning_rate": learning_rate, "max_train_steps": max_train_steps}
        return self.train("custom-styles", style_id, image_urls, user_id, tenant_id, **values, **options)

    def train_actor(
        self,
        actor_id: str,
        image_urls: Sequence[str],
        user_id: str,
        tenant_id: str,
        learning_rate: float | None = None,
        max_train_steps: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Trains an actor on images, and their captions if they are in the list; returns the answer of the document.

        `options` are those of `train`.

        Raises:
            ValueError: a value cannot be used; nothing was sent.
        """
        values = {"learning_rate": learning_rate, "max_train_steps": max_train_steps}
        return self.train("custom-actors", actor_id, image_urls, user_id, tenant_id, **values, **options)

    def train(
        self,
        training_type: str,
        subject_id: str,
        image_urls: Sequence[str],
        user_id: str,
        tenant_id: str,
        *,
        learning_rate: float | None = None,
        max_train_steps: int | None = None,
        class_tokens: str | None = None,
        model_name: str | None = None,
        network_dim: int | None = None,
        preset: str = "",
        webhook_url: str | Callable[[str], str] | None = None,
        run_s: float | None = None,
        queue_s: float = limits.QUEUE_S,
    ) -> dict[str, Any]:
        """Trains a LoRA; `train_style` and `train_actor` call this.

        `class_tokens` is the trigger token, by default the name of the model: "style_" or "actor_" with the id. `preset` is as in
        `compute_hyperparams`. `run_s` is how long the training may take, in seconds, by default a generous estimate from its steps;
        `queue_s` is how long it may wait for a worker. `webhook_url` replaces the address from the environment; "" is none,
        and a function gets the id of the request and returns the address.

        Raises:
            ValueError: a value cannot be used; nothing was sent.
        """
        kind = type_of(training_type)
        subject = _named(subject_id, f"The id of the {kind.word}")
        name = _named(model_name or f"{kind.word}_{subject}", "The name of the model")
        images = listed(image_urls, self._storage())
        computed = compute_hyperparams(training_type, images.images, preset)
        workflow = LoRATrainingWorkflow(
            class_tokens=class_tokens or f"{kind.word}_{subject}",
            training_type=training_type,
            learning_rate=computed.learning_rate if learning_rate is None else learning_rate,
            max_train_steps=computed.max_train_steps if max_train_steps is None else max_train_steps,
            network_dim=network_dim or computed.network_dim,
            output_name=name,
            captioned=images.captions > 0,
        ).build()
        trained = workflow["107"]["inputs"]
        config = {
            "mode": training_type,
            "user_id": _named(user_id, "user_id"),
            "tenant_id": _named(tenant_id, "tenant_id"),
            "request_id": f"{training_type}_{name}_{_stamp()}",
            "model_name": name,
            "learning_rate": trained["learning_rate"],
            "max_train_steps": trained["max_train_steps"],
        }
        payload: dict[str, Any] = {
            "input": {
                "workflow": workflow,
                "training_data": {"s3_urls": list(images.urls)},
                "training_config": config,
            }
        }
        if callable(webhook_url):
            webhook_url = webhook_url(config["request_id"])
        webhook = self._webhook() if webhook_url is None else webhook_url
        if webhook:
            payload["webhook"] = webhook
        return self.submit(payload, run_s=run_s, queue_s=queue_s)

    def submit(
        self, payload: Mapping[str, Any], run_s: float | None = None, queue_s: float = limits.QUEUE_S
    ) -> dict[str, Any]:
        """Sends a request of your own, with `input` and, if wanted, `webhook`; its workflow and addresses are checked first.

        Raises:
            ValueError: the request is not complete, or a part of it cannot be used; nothing was sent.
        """
        data, webhook = payload.get("input"), str(payload.get("webhook") or "").strip()
        if not isinstance(data, Mapping):
            raise ValueError("The request has no input.")  # noqa: TRY004 - the document's error
        config = _config(data)
        images = _images(data, self._storage())
        check_workflow(data.get("workflow"))
        self._check_for_secrets(payload)
        try:
            if webhook:
                web_address.checked(webhook, "The address of the webhook", parameters=True)
            policy = _policy(data["workflow"], images, run_s, queue_s)
        except RemoteError as error:
            raise ValueError(str(error)) from None
        sent = {**data, "training_data": {**data["training_data"], "s3_urls": list(images.urls)}}
        try:
            job = self._client.run(sent, policy, webhook)
        except RunPodError as error:
            return {"status": "failed", "error": TIMEOUT if error.kind == "slow" else str(error)}
        return {
            "status": "started",
            "job_id": config["request_id"],
            "runpod_job_id": job.id,
            "user_id": config["user_id"],
            "tenant_id": config["tenant_id"],
            "training_type": config["mode"],
            "model_name": config["model_name"],
            "message": STARTED if webhook else STARTED_WITHOUT_WEBHOOK,
            "webhook_url": webhook or None,
        }

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    # ---- inside ----
    def _webhook(self) -> str:
        """The address of the webhook of the document, at the public address of the environment; "" without one."""
        try:
            base = self._settings.text(*PUBLIC_NAMES)
            return f"{web_address.checked(base, PUBLIC_NAMES[0])}{WEBHOOK_PATH}" if base else ""
        except RemoteError as error:
            raise ValueError(str(error)) from None

    def _check_for_secrets(self, payload: Mapping[str, Any]) -> None:
        """Checks that no key is in the request.

        Raises:
            ValueError: one is.
        """
        try:
            leaks.check(payload, self._settings, [self._given])
        except RemoteError as error:
            raise ValueError(str(error)) from None

    def _storage(self) -> list[str]:
        """The address of the storage service that the user has set, if it is another one than AWS."""
        from trainer_core.remote.storage import bucket

        try:
            return [found] if (found := bucket.endpoint_of(self._settings)) else []
        except RemoteError as error:
            raise ValueError(str(error)) from None


def train_style(
    style_id: str,
    image_urls: Sequence[str],
    user_id: str,
    tenant_id: str,
    learning_rate: float | None = None,
    max_train_steps: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Trains a style with the endpoint of the environment; as `TrainingClient.train_style`.

    Raises:
        ValueError: a value or the configuration cannot be used; nothing was sent.
    """
    client = TrainingClient()
    try:
        return client.train_style(style_id, image_urls, user_id, tenant_id, learning_rate, max_train_steps, **options)
    finally:
        client.close()


def train_actor(
    actor_id: str,
    image_urls: Sequence[str],
    user_id: str,
    tenant_id: str,
    learning_rate: float | None = None,
    max_train_steps: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Trains an actor with the endpoint of the environment; as `TrainingClient.train_actor`.

    Raises:
        ValueError: a value or the configuration cannot be used; nothing was sent.
    """
    client = TrainingClient()
    try:
        return client.train_actor(actor_id, image_urls, user_id, tenant_id, learning_rate, max_train_steps, **options)
    finally:
        client.close()


def _policy(workflow: Mapping[str, Any], images: Listed, run_s: float | None, queue_s: float) -> Policy:
    """How long a job may run: what the caller says, or a generous estimate from its steps.

    Raises:
        RemoteError: RunPod does not allow that.
    """
    if run_s is None:
        counts = [node["inputs"].get("max_train_steps", 0) for node in workflow.values()]
        steps = sum(count for count in counts if isinstance(count, int))
        run_s = min(START_S + IMAGE_S * images.images + STEP_S * steps, limits.MOST_RUN_S)
    return limits.policy(run_s, queue_s)


def _config(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training_config of an input, with all that an endpoint needs of it."""
    given = data.get("training_config")
    config: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if missing := [name for name in REQUIRED if not config.get(name)]:
        raise ValueError(f"Missing required training_config fields: {', '.join(missing)}")
    type_of(config["mode"])
    # They become parts of paths on the worker and in the bucket.
    for name in REQUIRED:
        _named(config[name], name)
    return config


def _images(data: Mapping[str, Any], endpoints: Sequence[str]) -> Listed:
    given = data.get("training_data")
    urls = given.get("s3_urls") if isinstance(given, Mapping) else None
    if not isinstance(urls, list | tuple):
        raise ValueError("The request has no training_data with a list s3_urls.")  # noqa: TRY004 - the document's error
    return listed(urls, endpoints)


def _named(text: Any, what: str) -> str:
    """An id that can be a part of a path.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(text, str) or not _NAME.fullmatch(text) or ".." in text:
        raise ValueError(f"{what} is {printable(str(text), 100)!r}, but must be 1 to 100 of {_ALLOWED}.")
    return text


def _stamp() -> int:
    """The time in seconds since 1970; never the same number twice in one process, so that two requests have two ids."""
    global _last_stamp  # noqa: PLW0603 - one counter for the process
    with _LOCK:
        _last_stamp = max(int(time.time()), _last_stamp + 1)
        return _last_stamp
