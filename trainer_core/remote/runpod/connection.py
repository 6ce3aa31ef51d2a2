"""Sends one request to RunPod, and again after failures that pass. The key is sent only to this service, and is in no text."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trainer_core.errors import RemoteError
from trainer_core.models.downloads.refusals import retry_after_s
from trainer_core.remote.credentials import Secret
from trainer_core.remote.patience import Patience, keep_trying
from trainer_core.remote.runpod import refusals, web_address
from trainer_core.remote.runpod.limits import LARGEST_REQUEST_BYTES, Pace
from trainer_core.remote.runpod.refusals import RunPodError
from trainer_core.text import printable

if TYPE_CHECKING:
    import httpx2

BASE_URL = "https://api.runpod.ai/v2"
BASE_URL_NAME = "RUNPOD_ENDPOINT_BASE_URL"
"""The name that RunPod's own library reads. Not from a `.env` file: one from somebody else could send the key elsewhere."""
LARGEST_ANSWER_BYTES = 32 << 20
REFUSED = frozenset({429, 503})
"""The statuses with which a service says that it has not taken a request."""


USUAL = Patience(attempts=5, first_wait_s=1.0, longest_wait_s=60.0)


class Connection:
    """Sends requests with a key to one service. May be used by several threads at once."""

    def __init__(
        self,
        key: Secret,
        base_url: str = "",
        patience: Patience = USUAL,
        cancel: threading.Event | None = None,
    ) -> None:
        """A connection; without a `base_url` that of the environment, else RunPod's own. `cancel` ends its waits.

        Raises:
            RemoteError: the address is none, or the key would be sent so that others can read it.
        """
        import httpx2

        self.url = _service(base_url or os.environ.get(BASE_URL_NAME, "").strip() or BASE_URL)
        self.host = printable(urlsplit(self.url).netloc, 100)
        self._key, self._patience, self._cancel = key, patience, cancel
        self._pace = Pace()
        self._http = httpx2.Client(
            follow_redirects=False,
            # Without encryption, on this machine, there is no certificate: loading the known ones takes longer than a request.
            verify=self.url.startswith("https://"),
            # A proxy of the environment is never asked for this machine: it would get the key.
            trust_env=not web_address.is_this_machine(self.url),
            timeout=httpx2.Timeout(patience.read_s, connect=patience.connect_s),
            headers={"User-Agent": "easel"},
        )

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def ask(
        self,
        operation: str,
        path: str,
        *,
        what: str,
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
        is_repeatable: bool = True,
    ) -> Any:
        """The JSON data that the service answers. `what` is what is asked, for an error.

        A request that is not repeatable, because a second one would start a second job, is sent again only if the first one was
        certainly not taken.

        Raises:
            RunPodError: the service refuses it, cannot be reached, or answers no JSON; or the request is too large.
            RemoteStopped: `cancel` was set.
        """
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        if content is not None and len(content) > LARGEST_REQUEST_BYTES:
            size, most = len(content) / 1e6, LARGEST_REQUEST_BYTES / 1e6
            message = f"The request has {size:.1f} MB, and RunPod takes at most {most:.0f} MB. It was not sent."
            raise RunPodError(message, "List fewer images: the request has the address of each.", "size")

        def attempt() -> Any:
            self._pace.wait(operation)
            try:
                return self._sent(method, path, content, what)
            except RunPodError as error:
                error.must_not_be_repeated = (
                    not is_repeatable and error.may_have_arrived and error.status not in REFUSED
                )
                raise

        return keep_trying(attempt, self._patience, self._cancel)

    def _sent(self, method: str, path: str, content: bytes | None, what: str) -> Any:
        import httpx2

        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            request = self._http.build_request(method, f"{self.url}/{path}", content=content, headers=headers)
            response = self._http.send(request, stream=True)
            try:
                data = self._without_key(self._read(response, what))
            finally:
                response.close()
        except httpx2.InvalidURL:
            raise RemoteError(
                "The address of the service cannot be read.", f"Check {BASE_URL_NAME}.", "address"
            ) from None
        except httpx2.HTTPError as error:
            raise refusals.of_failure(error, self.host) from None
        if response.status_code >= 300:
            wait_s = retry_after_s(response.headers)
            raise refusals.of_status(response.status_code, data, wait_s, host=self.host, what=what)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise refusals.of_answer(self.host, what) from None

    def _read(self, response: httpx2.Response, what: str) -> bytes:
        data = bytearray()
        deadline = time.monotonic() + self._patience.read_s
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > LARGEST_ANSWER_BYTES:
                raise refusals.of_answer(self.host, f"{what}, but with a text that is too long")
            # The limit of the client counts from one piece to the next: a response in drops would never end.
            if time.monotonic() > deadline:
                message = f"{self.host} did not answer in time."
                raise RunPodError(message, "Try again later.", "slow", may_have_arrived=True)
        return bytes(data)

    def _without_key(self, data: bytes) -> bytes:
        """A body without the key, which a service may repeat in an error."""
        return data.replace(self._key.reveal().encode(), b"[key]")


def _service(url: str) -> str:
    """The address of the service.

    Raises:
        RemoteError: it is none, or would be reached without encryption on another machine.
    """
    hint = f"Such as {BASE_URL}. Check {BASE_URL_NAME}."
    found = web_address.checked(url, "The address of the service", hint)
    if found.startswith("http://") and not web_address.is_this_machine(found):
        message = "The key would be sent unencrypted, because the address begins with http://."
        raise RemoteError(message, hint, "address")
    return found
