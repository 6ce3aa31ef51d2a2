"""A small server on this machine for the documents' API, and the receiver of webhooks. Not: the training, which goes on without it.

* `server`: starts and ends it, in threads of this process; `start` here is its short name
* `table` with `shapes`: every route, what it takes and what it answers; `openapi` describes them
* `door`: who may come in: the Host header, the token, the size of a body
* `receiver`: what RunPod calls. It only has a run ask for its state now (`remote.hastening`)
* `trainings`, `versions`, `tunnels`: what the routes do
* `following`: what becomes of the trainings that were started here, in the versions of their styles
* `tunnel`, `ngrok_tunnel`: a public address for the receiver, and for nothing else
* `keys`: the token and the secret for webhooks, in files that only the user can read
* `public`: the address of the webhook of a request, for whoever sends one

Starlette and uvicorn are imported when the server starts (decision 0038).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer_core.remote.serve.server import Server


def start(**options: Any) -> Server:
    """A server that runs in threads of this process; the options are those of `server.Options`.

    Raises:
        RemoteError: it cannot start, such as when the port is taken.
    """
    from trainer_core.remote.serve.server import Options, started

    return started(Options(**options))
