"""Finds the keys and settings for buckets and remote endpoints. Where a value came from can be said, the value never.

Easel looks in this order: a value given in this process (`remember`), the environment, a `.env` file, and for secrets the
secrets of Colab and Kaggle; last, for what is no secret, the settings in `kept_settings`. A `.env` file is read and never copied;
Easel writes no secret to a file.

    values = settings()
    if key := values.get("RUNPOD_API_KEY"):
        headers = {"Authorization": f"Bearer {key.reveal()}"}
    values.source("RUNPOD_API_KEY")  # "the environment variable RUNPOD_API_KEY"
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import RemoteError
from trainer_core.files import open_regular
from trainer_core.models import tokens
from trainer_core.remote import kept_settings
from trainer_core.text import printable

DOTENV = ".env"
ENTERED = "the field on the page"
"""The source of a value that the user has entered just now, to try it."""
LONGEST_DOTENV_BYTES = 1 << 20


@dataclass(frozen=True)
class Known:
    """What a value is for, and whether it is a secret; a secret is looked for in the secrets of a notebook, too."""

    title: str
    is_secret: bool = False


# Source: the documents "LoRA Training System" and "LoRA Training Module"; for NGROK_AUTHTOKEN the documentation of ngrok; for the two AWS_ENDPOINT_URL names and AWS_REGION
# the settings reference of the AWS SDKs.
KNOWN = {
    "AWS_ACCESS_KEY_ID": Known("the id of the access key for S3", is_secret=True),
    "AWS_SECRET_ACCESS_KEY": Known("the secret access key for S3", is_secret=True),
    "AWS_SESSION_TOKEN": Known("the session token of a temporary access key for S3", is_secret=True),
    "S3_REGION": Known("the region of the bucket"),
    "AWS_REGION": Known("the region of the bucket"),
    "AWS_DEFAULT_REGION": Known("the region of the bucket"),
    "S3_USER_BUCKET": Known("the bucket"),
    "S3_ENDPOINT_URL": Known("the address of a storage service other than AWS"),
    "AWS_ENDPOINT_URL_S3": Known("the address of a storage service other than AWS"),
    "AWS_ENDPOINT_URL": Known("the address of a storage service other than AWS"),
    "RUNPOD_API_KEY": Known("the API key of RunPod", is_secret=True),
    "MODEL_TRAINING_RUNPOD_API_KEY": Known("the API key of RunPod for training", is_secret=True),
    "MODEL_TRAINING_RUNPOD_ENDPOINT_ID": Known("the id of the RunPod endpoint that trains"),
    "GATEWAY_BASE_URL": Known("the public address that receives webhooks"),
    "BASE_URL": Known("the public address that receives webhooks"),
    "NGROK_AUTHTOKEN": Known("the authtoken of ngrok", is_secret=True),
    "EASEL_SERVE_TOKEN": Known("the token that callers of `easel remote serve` send", is_secret=True),
    "PORT": Known("the port of `easel remote serve`"),
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_LINE = re.compile(rf"[ \t]*(?:export[ \t]+)?({_NAME.pattern})[ \t]*=[ \t]*")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}

_LOCK = threading.Lock()
_given: dict[str, str] = {}


class Secret(tokens.Hidden):
    """A value with its name and source. Its text is in no output: only `reveal` returns it."""

    __slots__ = ("name", "place", "source")

    def __init__(self, text: str, name: str, source: str, place: str = "") -> None:
        """A value of `name`, found in `source` (a description for the user); values of one `place` belong together.

        Raises:
            RemoteError: the text cannot be such a value; the text is not in the message.
        """
        text = text.strip()
        if not text.isprintable() or not text.isascii() or not text:
            message = f"The value of {name} from {source} cannot be used: it is empty, or contains unusual characters."
            raise RemoteError(message, "Copy it again from where it was shown.", "setting")
        super().__init__(text)
        self.name = name
        self.source = source
        self.place = place

    def reveal(self) -> str:
        """The text, to be sent and not to be shown."""
        return self._text

    def __repr__(self) -> str:
        return f"the value of {self.name} from {self.source}"


class Settings:
    """The values of this process and of one `.env` file, by name; `entered` are values that count more than all others."""

    def __init__(
        self,
        dotenv: Mapping[str, str | None],
        where: str,
        environment: Mapping[str, str],
        entered: Mapping[str, str] | None = None,
    ) -> None:
        self._entered = entered or {}
        self._dotenv = dotenv
        self._where = where
        self._environment = environment
        self._kept = kept_settings.read().settings

    def get(self, name: str) -> Secret | None:
        """The value of a name; None where none is set. An empty value counts as not set.

        Raises:
            RemoteError: the value that is set cannot be used.
        """
        found = self._find(name)
        return Secret(*found) if found else None

    def first(self, *names: str) -> Secret | None:
        """The value of the first of several names that has one.

        Raises:
            RemoteError: the value that is set cannot be used.
        """
        return next((value for name in names if (value := self.get(name))), None)

    def source(self, name: str) -> str | None:
        """Where the value of a name comes from, for the user; None where none is set."""
        found = self._find(name)
        return found[2] if found else None

    def text(self, *names: str) -> str:
        """The value of the first of several names that has one, "" if none has. For values that are no secrets.

        Raises:
            RemoteError: the value that is set cannot be used.
        """
        assert not any(KNOWN[name].is_secret for name in names if name in KNOWN)
        value = self.first(*names)
        return value.reveal() if value else ""

    def _find(self, name: str) -> tuple[str, str, str, str] | None:
        if not _NAME.fullmatch(name):
            raise RemoteError(f"{printable(name, 100)!r} cannot be the name of a setting.", "", "setting")
        if (text := self._entered.get(name, "")).strip():
            return text, name, ENTERED, ENTERED
        with _LOCK:
            given = _given.get(name)
        if given:
            return given, name, "this session", "this session"
        if (text := self._environment.get(name, "")).strip():
            return text, name, f"the environment variable {name}", "the environment"
        if name in self._dotenv:
            text = self._dotenv[name]
            if text is None:
                message = f"The line of {name} in {self._where} has a quotation mark that is not closed."
                raise RemoteError(message, "Correct the line.", "setting")
            if text.strip():
                return text, name, f"{name} in {self._where}", self._where
        if name in KNOWN and KNOWN[name].is_secret and (secret := tokens.notebook_secret(name)):
            return secret[0], name, secret[1], "the secrets of the notebook"
        if text := self._kept.get(name, ""):
            return text, name, f"{name} in {kept_settings.path()}", kept_settings.FILE
        return None


def settings(
    dotenv: Path | None = None,
    environment: Mapping[str, str] | None = None,
    entered: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of this process and of a `.env` file: the one that the user names, or the one in the working folder.

    The `.env` file is read now, the environment whenever a value is asked for. `entered` are values that are tried before they
    are kept anywhere; they count most.

    Raises:
        RemoteError: the `.env` file cannot be read.
    """
    path = dotenv or Path(DOTENV)
    shown = printable(str(path if dotenv else path.absolute()), 300)
    known = _read(path, shown, is_named=dotenv is not None)
    return Settings(known, shown, os.environ if environment is None else environment, entered)


def remember(name: str, text: str) -> Secret:
    """Keeps a value in the memory of this process. It takes precedence over all others of its name.

    Raises:
        RemoteError: the text cannot be such a value; the text is not in the message.
    """
    value = Secret(text, name, "this session")
    with _LOCK:
        _given[name] = value.reveal()
    return value


@contextmanager
def lent(names: Collection[str]) -> Iterator[None]:
    """While it is open, programs that are started inherit what `remember` keeps of these names. What the environment has stays as it is."""
    with _LOCK:
        added = {name: text for name, text in _given.items() if name in names and not os.environ.get(name)}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, text in added.items():
            if os.environ.get(name) == text:
                del os.environ[name]


def forget(name: str) -> None:
    """Forgets the value that `remember` kept."""
    with _LOCK:
        _given.pop(name, None)


def titled(name: str) -> str:
    """What a setting is, as the beginning of a sentence: "The API key of RunPod"."""
    title = KNOWN[name].title
    return title[0].upper() + title[1:]


def where_to_set(*names: str) -> str:
    """A sentence that tells the user where values can be set."""
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"Set {shown} in the environment, or in a file {DOTENV} in the working folder."


def _read(path: Path, shown: str, *, is_named: bool) -> dict[str, str | None]:
    """The values of a `.env` file; None for a value that is not complete."""
    hint = "Name another file." if is_named else "Repair or move the file, or start Easel in another folder."
    try:
        # A virtual environment is often a folder with this name.
        if not is_named and not path.is_file():
            return {}
        with open_regular(path) as file:
            data = file.read(LONGEST_DOTENV_BYTES + 1)
    except OSError as error:
        raise RemoteError(
            f"{shown} cannot be read: {error.strerror or 'it is not a file'}.", hint, "setting"
        ) from error
    if len(data) > LONGEST_DOTENV_BYTES:
        raise RemoteError(f"{shown} is longer than {LONGEST_DOTENV_BYTES} bytes.", hint, "setting")
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        # Not `from`: the error contains the bytes.
        raise RemoteError(f"{shown} is not UTF-8 text.", hint, "setting") from None


def parse(text: str) -> dict[str, str | None]:
    """The values of the text of a `.env` file; None for a value whose quotation mark is not closed.

    A line is NAME=VALUE, with "export" before it if wanted. A value in double quotation marks can contain line breaks and
    escapes, one in single quotation marks is literal, one without ends at " #". Nothing is replaced by variables, and lines
    of another form have no effect. Of several lines with one name the last counts.
    """
    text = text.replace("\r\n", "\n")
    values: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if found := _LINE.match(text, at, end):
            value, end = _value(text, found.end(), end)
            values[found[1]] = value
        at = end + 1
    return values


def _value(text: str, at: int, end: int) -> tuple[str | None, int]:
    """The value that begins at a place, and where the line after it begins."""
    mark = text[at : at + 1]
    if mark not in {'"', "'"}:
        return _COMMENT.sub("", text[at:end]).strip(), end
    quoted = (_DOUBLE if mark == '"' else _SINGLE).match(text, at)
    if not quoted:
        return None, end
    value = quoted[1]
    if mark == '"':
        value = _ESCAPED.sub(lambda each: _ESCAPES.get(each[1], each[1]), value)
    rest = text.find("\n", quoted.end())
    return value, len(text) if rest < 0 else rest
