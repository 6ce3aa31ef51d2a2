"""The route that starts a training on the RunPod endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote import styles as style_folders
from trainer_core.remote.serve.answers import Answer, Refused
from trainer_core.remote.serve.asked import Asked, WorksWith
from trainer_core.remote.serve.shapes import Start, Started
from trainer_core.remote.styles import Version
from trainer_core.remote.training.client import TIMEOUT, TrainingClient
from trainer_core.remote.training.hyperparams import compute_hyperparams
from trainer_core.remote.training.inputs import listed

BUCKET = "S3_USER_BUCKET"
TYPE_OF = {"style_id": "custom-styles", "actor_id": "custom-actors"}


def training_start(asked: Asked) -> Answer:
    """Sends the request, and adds a version to the style. What cannot be sent is refused before anything is."""
    wanted, works_with = asked.of(Start), asked.works_with
    try:
        client = TrainingClient(settings=works_with.settings)
        try:
            return _sent(client, wanted, works_with)
        finally:
            client.close()
    except ValueError as error:
        raise Refused(400, str(error), "Nothing was sent.") from None


def _sent(client: TrainingClient, wanted: Start, works_with: WorksWith) -> Answer:
    if wanted.input is not None:
        payload: dict[str, Any] = {"input": wanted.input}
        if webhook := wanted.webhook or _webhook_of_input(wanted.input, works_with):
            payload["webhook"] = webhook
        return Answer(_started(client.submit(payload)))
    name, subject = ("style_id", wanted.style_id) if wanted.style_id else ("actor_id", wanted.actor_id)
    urls = wanted.image_urls or _of_set(wanted, works_with)
    values = wanted.parameters
    result = client.train(
        TYPE_OF[name],
        str(subject),
        urls,
        wanted.user_id,
        wanted.tenant_id,
        learning_rate=values.learning_rate,
        max_train_steps=values.max_train_steps,
        class_tokens=values.class_tokens,
        model_name=wanted.model_name,
        network_dim=values.network_dim,
        preset=wanted.preset,
        webhook_url=wanted.webhook or (lambda request_id: _webhook(request_id, works_with)),
    )
    started = _started(result)
    if wanted.style_id:
        started.warning = _added(wanted, urls, started, works_with)
    return Answer(started)


def _started(result: dict[str, Any]) -> Started:
    """The answer after a start.

    Raises:
        Refused: RunPod did not accept the request.
    """
    if result["status"] == "started":
        return Started(**result)
    if result["error"] == TIMEOUT:
        raise Refused(504, TIMEOUT, "RunPod may have accepted it: look at its console before you send it again.")
    raise Refused(502, result["error"], "No training was started.")


def _of_set(wanted: Start, works_with: WorksWith) -> list[str]:
    """The addresses of the images of a selection set, and of their captions."""
    style_id, bucket = str(wanted.style_id), works_with.settings.text(BUCKET)
    if not bucket:
        raise RemoteError(f"{BUCKET} is not set.", "It is the bucket with the images of the styles.")
    found = next((each for each in works_with.styles().sets(style_id) if each.id == wanted.selection_set_id), None)
    if found is None:
        message = f"The style {style_id} has no selection set {wanted.selection_set_id}."
        raise RemoteError(message, "Save the selection as a set first.", "missing")
    addresses = style_folders.uris(bucket, style_id, found)
    return addresses if wanted.captions else addresses[::2]


def _webhook(request_id: str, works_with: WorksWith) -> str:
    """The address of the webhook of a request; "" without a public address."""
    return works_with.webhook_of(request_id)


def _webhook_of_input(data: dict[str, Any], works_with: WorksWith) -> str:
    config = data.get("training_config")
    request_id = config.get("request_id") if isinstance(config, dict) else None
    return _webhook(request_id, works_with) if isinstance(request_id, str) and request_id else ""


def _added(wanted: Start, urls: list[str], started: Started, works_with: WorksWith) -> str | None:
    """Adds the training to those of its style; what went wrong, as a sentence. The training has begun, so this is no failure of it."""
    images = listed(urls).images
    computed = compute_hyperparams(started.training_type, images, wanted.preset)
    values = wanted.parameters
    dim = values.network_dim or computed.network_dim
    parameters = {
        "network_dim": dim,
        "network_alpha": dim,
        "learning_rate": values.learning_rate or computed.learning_rate,
        "max_train_steps": values.max_train_steps or computed.max_train_steps,
        "class_tokens": values.class_tokens or f"style_{wanted.style_id}",
    }
    version = Version(
        started.job_id,
        wanted.version_name or started.model_name,
        datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        parameters,
        "pending",
        selection_set_id=wanted.selection_set_id,
        image_count=images,
    )
    try:
        works_with.styles().add_version(str(wanted.style_id), version)
        works_with.following.add(started.job_id, started.runpod_job_id, str(wanted.style_id))
    except (RemoteError, OSError) as error:
        return f"The training has begun, but the versions of the style will not show what becomes of it. {error}"
    return None
