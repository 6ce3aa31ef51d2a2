"""A server with the interface of OpenAI's chat completions: vLLM, Ollama, LM Studio, or a service in a cloud.

The images leave this machine unless the server runs on it, so the host is named and confirmed first. A key is sent to that host
only, and is in no file, argument or message.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trainer_core.errors import DownloadError, wrong_use
from trainer_core.models.tokens import Token
from trainer_core.text import printable, without_secrets

if TYPE_CHECKING:
    import httpx2

CONNECT_S, READ_S = 10.0, 180.0
LARGEST_ANSWER_BYTES = 8 << 20
MOST_REDIRECTS = 3
SHOWN_BODY = 600
_ENDS = ("/chat/completions", "/completions", "/models")
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""The statuses after which the same request may succeed later."""


@dataclass(frozen=True)
class Endpoint:
    """The address of a server, up to the version of its interface, such as "http://127.0.0.1:11434/v1"."""

    url: str

    @property
    def host(self) -> str:
        """The host with its port, as it is shown to the user."""
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that no image leaves it."""
        name = urlsplit(self.url).hostname or ""
        if name.casefold() == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def is_safe(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        return self.is_local or self.url.startswith("https://")


def parse(text: str) -> Endpoint:
    """The endpoint that a user typed; without a path, "/v1" is added.

    Raises:
        DownloadError: it is no address of a server, or contains a password.
    """
    plain = text.strip()
    if "://" not in plain:
        plain = f"http://{plain}" if re.match(r"(localhost|127\.|\[::1\])", plain) else f"https://{plain}"
    plain = plain.rstrip("/")
    for end in _ENDS:
        plain = plain.removesuffix(end)
    try:
        parts = urlsplit(plain)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _no_address() from None
    if not is_address or not plain.isascii() or not plain.isprintable() or " " in plain:
        raise _no_address()
    if parts.username is not None or parts.query or parts.fragment:
        raise wrong_use(
            DownloadError("The address of the endpoint contains a password or parameters.", "Set the key as an environment variable.")
        )  # fmt: skip
    return Endpoint(plain if parts.path else f"{plain}/v1")


def _no_address() -> DownloadError:
    return wrong_use(DownloadError("This is not the address of an endpoint.", "Such as http://127.0.0.1:11434/v1"))


@dataclass(frozen=True)
class Said:
    """The answer of a model: its text, why it ended ("stop", "length"), and how many tokens it wrote."""

    text: str
    finish_reason: str
    tokens: int = 0


class Refused(DownloadError):  # noqa: N818 - the name is clear without Error
    """A request that failed. `status` is that of the response, 0 without one."""

    def __init__(
        self, message: str, hint: str = "", kind: str = "server", status: int = 0, wait_s: float | None = None
    ) -> None:
        super().__init__(message, hint, kind, wait_s=wait_s)
        self.status = status


class Client:
    """Sends requests to one endpoint. May be used by several threads at once."""

    def __init__(self, endpoint: Endpoint, key: Token | None = None, read_s: float = READ_S) -> None:
        """A client; `read_s` is how long it waits for an answer.

        Raises:
            DownloadError: the key would be sent so that others can read it.
        """
        import httpx2

        if key is not None and not endpoint.is_safe:
            raise DownloadError(
                f"The key for {endpoint.host} would be sent unencrypted.", "Use an address with https, or no key."
            )
        self.endpoint, self._key = endpoint, key
        # A proxy of the environment is never asked for this machine: it would get the images.
        self._http = httpx2.Client(
            follow_redirects=False,
            trust_env=not endpoint.is_local,
            timeout=httpx2.Timeout(read_s, connect=CONNECT_S),
            headers={"User-Agent": "easel"},
        )

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def models(self) -> list[str]:
        """The names of the models that the server offers.

        Raises:
            Refused: it does not answer, or not with a list of models.
        """
        found = self._asked("GET", "models")
        rows = found.get("data") if isinstance(found, Mapping) else None
        names = [row.get("id") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else None
        if names is None:
            raise Refused(
                f"{self.endpoint.host} does not answer with a list of models.",
                "Check the address, which usually ends in /v1.",
                "content",
            )
        return [printable(name, 200) for name in names if isinstance(name, str)]

    def ask(self, model: str, question: str, image: str, most_tokens: int, temperature: float = 0.2) -> Said:
        """The answer of a model to a question about an image, which is a data URL.

        Raises:
            Refused: the server refuses, does not answer, or answers something else.
        """
        content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": image}}]
        body = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": most_tokens,
            "temperature": temperature,
        }
        found = self._asked("POST", "chat/completions", body)
        try:
            choice = found["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason") or "stop"
            tokens = (found.get("usage") or {}).get("completion_tokens", 0)
        except (LookupError, TypeError, AttributeError) as error:
            raise Refused(
                f"{self.endpoint.host} answers in a way that Easel does not know: {self._safe(json.dumps(found))}",
                "",
                "content",
            ) from error
        if isinstance(text, list):
            # Some servers send parts.
            text = "".join(str(each.get("text", "")) for each in text if isinstance(each, Mapping))
        return Said(text if isinstance(text, str) else "", str(reason), tokens if isinstance(tokens, int) else 0)

    # ---- inside ----
    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import httpx2

        url = f"{self.endpoint.url}/{path}"
        content = None if body is None else json.dumps(body).encode()
        try:
            for _ in range(MOST_REDIRECTS + 1):
                request = self._http.build_request(method, url, content=content, headers=self._headers(content))
                response = self._http.send(request, stream=True)
                try:
                    if not response.has_redirect_location:
                        return self._answer(response, self._read(response))
                    url = self._next(response, method)
                finally:
                    response.close()
        except httpx2.TimeoutException:
            raise Refused(
                f"{self.endpoint.host} did not answer in time.", "Wait, or ask fewer images at once.", "busy"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Refused(
                f"{self.endpoint.host} cannot be reached: {self._safe(str(error)).rstrip('. ') or type(error).__name__}.",
                "Check that the server runs, and its address.",
                "offline",
            ) from None
        raise Refused(f"{self.endpoint.host} redirects too many times.", "Check the address.", "link")

    def _headers(self, content: bytes | None) -> dict[str, str]:
        found = self._key.header() if self._key is not None else {}
        return {**found, "Content-Type": "application/json"} if content is not None else found

    def _next(self, response: httpx2.Response, method: str) -> str:
        """The address that a redirect leads to, on the same server only: another one was not confirmed."""
        import httpx2

        try:
            target = response.url.join(response.headers["location"])
        except (httpx2.InvalidURL, ValueError):
            raise Refused(f"{self.endpoint.host} redirects to no address.", "Check the address.", "link") from None
        here = response.url
        if (target.scheme, target.host, target.port) != (here.scheme, here.host, here.port):
            raise Refused(
                f"{self.endpoint.host} redirects to {printable(target.host, 200)}, which Easel does not follow.",
                "If you trust that host, enter its address.",
                "link",
                response.status_code,
            )
        if method == "POST" and response.status_code not in (307, 308):
            raise Refused(
                f"{self.endpoint.host} redirects to another page.",
                "Check the address, which usually ends in /v1.",
                "link",
                response.status_code,
            )
        return str(target)

    def _read(self, response: httpx2.Response) -> bytes:
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > LARGEST_ANSWER_BYTES:
                raise Refused(
                    f"{self.endpoint.host} sends an answer that is too long.", "Check the address.", "content"
                )
        return bytes(data)

    def _answer(self, response: httpx2.Response, data: bytes) -> Any:
        status = response.status_code
        if status >= 400:
            raise self._refusal(status, data.decode("utf-8", "replace"), response.headers.get("retry-after", ""))
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            shown = self._safe(data.decode("utf-8", "replace"))
            raise Refused(
                f"{self.endpoint.host} does not answer with JSON: {shown}",
                "Check the address, which usually ends in /v1.",
                "content",
                status,
            ) from error

    def _refusal(self, status: int, body: str, retry_after: str) -> Refused:
        """The error for a status of 400 or more, with what the server says."""
        said = self._safe(_message(body))
        told = f"{self.endpoint.host} answers {status}{f': {said}' if said else ''}"
        hints = {
            401: "The key is missing or not valid.",
            403: "The key may not use this model.",
            404: "Check the address, which usually ends in /v1, and the name of the model.",
            413: "The server takes no image of this size.",
        }
        wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6 else None
        kind = (
            "busy"
            if status in PASSING
            else "token"
            if status in (401, 403)
            else "server"
            if status >= 500
            else "content"
        )
        return Refused(told.rstrip(".") + ".", hints.get(status, ""), kind, status, wait)

    def _safe(self, text: str) -> str:
        """Outside text without the key, other secrets and images."""
        if self._key is not None:
            text = text.replace(self._key.header()["Authorization"].removeprefix("Bearer "), "[key]")
        text = re.sub(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]{0,10000000}", "[image]", text)
        return printable(without_secrets(" ".join(text.split())), SHOWN_BODY)


def _message(body: str) -> str:
    """What a server says in the body of a refusal: its message if it is JSON of a known form, else the whole."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return re.sub(r"<[^<>]{0,500}>", " ", body)
    for key in ("error", "message", "detail"):
        if isinstance(found, Mapping) and found.get(key):
            found = found[key]
    return found if isinstance(found, str) else json.dumps(found)
