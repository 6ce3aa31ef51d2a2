"""Sends messages to webhooks. `job_ended` is called in a process of its own after a job has ended, so it never delays one."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.errors import EaselError
from trainer_core.notifications import webhooks
from trainer_core.notifications.webhooks import Form, Webhook, WebhookError

if TYPE_CHECKING:
    from trainer_core.notifications.message import Message

LIMIT_S = 10.0
"""How long one attempt may take, from the connection to the status."""
ALL_S = 30.0
"""How long all attempts of one webhook may take, with the waits between them."""
ATTEMPTS = 3
WAIT_S = 2.0


def _plain(told: Message) -> tuple[bytes, str]:
    return told.text.encode(), "text/plain; charset=utf-8"


def _discord(told: Message) -> tuple[bytes, str]:
    # A name such as @everyone must not call anybody. Source: Discord developer documentation, Allowed Mentions Object.
    return json.dumps({"content": told.text, "allowed_mentions": {"parse": []}}).encode(), "application/json"


def _json(told: Message) -> tuple[bytes, str]:
    return json.dumps(told.as_dict()).encode(), "application/json"


BODIES: Mapping[Form, Callable[[Message], tuple[bytes, str]]] = {"ntfy": _plain, "discord": _discord, "json": _json}
"""The body of a request and its content type, by form."""


def send(hook: Webhook, told: Message, wait_s: float = WAIT_S) -> None:
    """Sends one message, with a few attempts if the server is busy or out of reach. Redirects are not followed.

    Raises:
        WebhookError: it was not accepted.
    """
    reason = ""
    deadline = time.monotonic() + ALL_S
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(wait_s * attempt)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        status, reason = _post_in_time(hook, told, min(LIMIT_S, left_s))
        if 200 <= status < 300:
            return
        if status and status < 500 and status != 429:
            break
    # The error of the client may contain the address.
    raise WebhookError(f"{hook.shown} did not accept the message: {reason}.", "Check its address: easel notify list")


def _post_in_time(hook: Webhook, told: Message, limit_s: float) -> tuple[int, str]:
    """As `_post`, after at most `limit_s` seconds, also if the server sends one byte after another.

    The limits of the client count from one byte to the next. So the request has a thread, which does not keep this process.
    """
    found: list[tuple[int, str]] = []
    thread = threading.Thread(target=lambda: found.append(_post(hook, told)), daemon=True)
    thread.start()
    thread.join(limit_s)
    return found[0] if found else (0, "no response in time")


def _post(hook: Webhook, told: Message) -> tuple[int, str]:
    """The status of one request, 0 if there was no response, and what went wrong in a few words."""
    import httpx2

    body, content_type = BODIES[hook.form](told)
    headers = {"Content-Type": content_type, "User-Agent": "easel"}
    try:
        # The body of the response is not read: it may have any length.
        with (
            httpx2.Client(follow_redirects=False, timeout=LIMIT_S) as client,
            client.stream("POST", hook.address, content=body, headers=headers) as response,
        ):
            status = response.status_code
    except httpx2.TimeoutException:
        return 0, "no response in time"
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return 0, "no connection"
    return status, "it redirects" if 300 <= status < 400 else f"HTTP status {status}"


def job_ended(folder: Path) -> None:
    """Tells all webhooks that want to know how the job in a folder ended. A failure is one line in the job's runner.log."""
    hooks, sentence = webhooks.load_usable()
    if sentence:
        print(sentence, file=sys.stderr)
    if not hooks:
        return
    # Imported here, because `job_ended` is called after every job, and few users have webhooks.
    from trainer_core.jobs.job import Job
    from trainer_core.notifications.message import message

    try:
        told = message(Job.attach(folder))
    except EaselError as error:
        print(f"No notification was sent: {error.message}", file=sys.stderr)
        return
    for hook in hooks:
        if hook.wants(told.state):
            try:
                send(hook, told)
            except WebhookError as error:
                print(f"No notification was sent: {error.message}", file=sys.stderr)
