"""The webhooks that are told when a job has ended. Their addresses are secret: whoever knows one can send messages to it.

The file `webhooks.json` in Easel's home folder contains them; only its owner can read it. No other file, message or process
argument contains an address.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.files import open_regular, write_whole
from trainer_core.jobs.state import FINAL_STATES

Form = Literal["json", "discord", "ntfy"]
FORMS: tuple[Form, ...] = get_args(Form)
STATES = tuple(state.name for state in FINAL_STATES)
_LARGEST_BYTES = 1 << 20


class WebhookError(EaselError):
    """An address is not one of a webhook, or the message could not be sent."""


@dataclass(frozen=True)
class Webhook:
    """One address. `form` is the format of the messages: JSON data, a message of Discord, or the plain text of ntfy.

    `states` are the states of an ended job that it is told about; empty: all.
    """

    address: str
    form: Form = "json"
    states: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The host, and nothing of the address that identifies the channel."""
        return f"{urlsplit(self.address).hostname} ({self.form})"

    def wants(self, state: str) -> bool:
        """Whether it is told about this state."""
        return not self.states or state in self.states


def webhook(address: str, form: str = "", states: Iterable[str] = ()) -> Webhook:
    """A webhook with this address; without a form, the one that the host suggests.

    Raises:
        WebhookError: it is not a web address, or an unencrypted one outside the local network, or form or state is unknown.
    """
    address = address.strip()
    scheme, host = _scheme_and_host(address)
    if not host or scheme not in {"https", "http"} or any(char.isspace() for char in address):
        raise WebhookError("This is not a web address.", "It begins with https://")
    if scheme == "http" and not _is_local(host):
        message = f"The address at {host} is not encrypted: others could read the messages."
        raise WebhookError(message, "Use https://. Plain http:// is accepted for this machine and the local network.")
    chosen = form or _suggested(host)
    if chosen not in FORMS:
        raise WebhookError(f"There is no form {form!r:.40}.", f"Known: {', '.join(FORMS)}.")
    wanted = tuple(state.upper() for state in states)
    if unknown := [state for state in wanted if state not in STATES]:
        raise WebhookError(f"A job does not end as {unknown[0]!r:.40}.", f"Known: {', '.join(sorted(STATES))}.")
    return Webhook(address, chosen, wanted)


def load() -> list[Webhook]:
    """The saved webhooks.

    Raises:
        WebhookError: the file cannot be read, or is damaged: a part of it is not a webhook.
    """
    rows = _rows()
    found = [_from(row) for row in rows]
    if None in found:
        raise _damaged(f"its entry {found.index(None) + 1} is not a webhook")
    return [each for each in found if each is not None]


def load_usable() -> tuple[list[Webhook], str]:
    """The saved webhooks that can be read, and a sentence about what cannot; "" if all can."""
    try:
        return load(), ""
    except WebhookError as error:
        sentence = error.message
    try:
        return [found for row in _rows() if (found := _from(row)) is not None], sentence
    except WebhookError:
        return [], sentence


def _rows() -> list[Any]:
    try:
        with open_regular(_file()) as file:
            rows = json.loads(file.read(_LARGEST_BYTES))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WebhookError(
            f"The webhooks in {_file()} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged("it is not JSON") from error
    if not isinstance(rows, list):
        raise _damaged("it is not a list")
    return rows


def _damaged(why: str) -> WebhookError:
    return WebhookError(
        f"The list of webhooks, {_file()}, is damaged: {why}.",
        "Correct it, or move it away and add the webhooks again: easel notify add",
    )


def save(webhooks: Iterable[Webhook]) -> None:
    """Replaces the saved webhooks.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [asdict(each) for each in webhooks]
    write_whole(_file(), json.dumps(rows, indent=2) + "\n", personal=True)


def _file() -> Path:
    return places.home() / "webhooks.json"


def _from(row: Any) -> Webhook | None:
    try:
        return webhook(str(row["address"]), str(row.get("form", "")), [str(state) for state in row.get("states", ())])
    except (WebhookError, KeyError, TypeError, AttributeError):
        return None


def _scheme_and_host(address: str) -> tuple[str, str]:
    """Both parts of an address; empty if it cannot be read."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return "", ""
    return parts.scheme, parts.hostname or ""


def _suggested(host: str) -> Form:
    if host == "discord.com" or host.endswith(".discord.com") or host == "discordapp.com":
        return "discord"
    return "ntfy" if "ntfy" in host.split(".") else "json"


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".lan", ".internal")) or "." not in host
