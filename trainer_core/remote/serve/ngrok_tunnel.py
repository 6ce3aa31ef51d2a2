"""A tunnel with the official Python package of ngrok, if it is installed. It brings its own agent and downloads none.

Source: ngrok-python 1.4, README and ngrok.pyi (SessionBuilder, Listener).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from concurrent.futures import Future
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import web_address
from trainer_core.remote.serve.tunnel import FAILED, TIMEOUT, TunnelError
from trainer_core.text import printable, without_secrets

PACKAGE = "ngrok"
_CLOSE_S = 5.0


class NgrokTunnel:
    """A tunnel that stays open until it is closed."""

    def __init__(self, port: int, token: Secret, longest_s: float, server: str = "", root_cas: str = "") -> None:
        """An open tunnel to a port of this machine. `server` replaces the address of ngrok's service, `root_cas` its certificates.

        Raises:
            TunnelError: the package is not installed, ngrok refused the tunnel, or it did not answer in time.
        """
        if importlib.util.find_spec(PACKAGE) is None:
            message = f"{FAILED}: the Python package ngrok is not installed."
            hint = "Install it into Easel's environment: pip install ngrok. Or set GATEWAY_BASE_URL to your own public address."
            raise TunnelError(message, hint, "setting")
        self._opened: Future[str] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(port, token, longest_s, server, root_cas), name="ngrok", daemon=True
        )
        self._thread.start()
        self.url = self._opened.result()

    def close(self) -> None:
        """Closes it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_CLOSE_S)

    def _run(self, *arguments: Any) -> None:
        try:
            self._loop.run_until_complete(self._hold(*arguments))
        finally:
            self._loop.close()

    async def _hold(self, port: int, token: Secret, longest_s: float, server: str, root_cas: str) -> None:
        import ngrok  # pyright: ignore[reportMissingImports] - an optional package

        builder = ngrok.SessionBuilder().authtoken(token.reveal()).client_info("easel", "1")
        if server:
            builder = builder.server_addr(server)
        if root_cas:
            builder = builder.root_cas(root_cas)
        session = None
        try:
            async with asyncio.timeout(longest_s):
                session = await builder.connect()
                listener = await session.http_endpoint().listen_and_forward(f"http://127.0.0.1:{port}")
            self._opened.set_result(web_address.checked(listener.url(), "The address of the tunnel"))
        except TimeoutError:
            message = f"{TIMEOUT}: ngrok gave no address within {longest_s:.0f} seconds."
            hint = (
                "Check the connection to the Internet, and whether a firewall blocks connect.ngrok-agent.com, port 443."
            )
            self._opened.set_exception(TunnelError(message, hint, "slow"))
            return
        except (ValueError, RuntimeError, OSError, RemoteError) as error:
            self._opened.set_exception(_failed(error, token))
            return
        await self._end.wait()
        with contextlib.suppress(ValueError, RuntimeError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await session.close()


def _failed(error: BaseException, token: Secret) -> TunnelError:
    """What ngrok's package said, without the token. Its errors are a ValueError with texts, and a code among them."""
    texts = [str(each) for each in error.args] or [type(error).__name__]
    code = next((each for each in texts if each.startswith("ERR_NGROK_")), "")
    said = ": ".join(" ".join(each.split()) for each in texts if each != code).replace(token.reveal(), "...")
    hint = "Check the authtoken, and the connection to the Internet."
    if code:
        hint = f"ngrok explains it at https://ngrok.com/docs/errors/{printable(code, 40).lower()}."
    return TunnelError(f"{FAILED}: {printable(without_secrets(said), 300).rstrip('.')}.", hint, "server")
