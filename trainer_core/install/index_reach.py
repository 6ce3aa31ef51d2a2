"""Whether the registry of packages and PyTorch's index can be reached, asked as an installation would ask them. Standard library only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.install.uv import decisive_line, uv_environment

if TYPE_CHECKING:
    import urllib.request

ASKED = "packaging"
"""A small package that every registry of Python packages has."""
LIMIT_S = 20
TORCH_S = 6


def why_not(uv: Path) -> str:
    """Why uv gets no answer about a package, in one line; "" if it gets one. It asks anew, and downloads no package."""
    command = [str(uv), "pip", "compile", "--quiet", "--no-deps", "--refresh", "--python", sys.executable, "-"]
    environment = {**uv_environment(), "UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"}
    try:
        done = subprocess.run(
            command, input=ASKED, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {LIMIT_S} seconds"
    except OSError as error:
        return error.strerror or str(error)
    return "" if done.returncode == 0 else decisive_line(done.stderr) or f"uv ended with status {done.returncode}"


def torch_why_not(index: str, build: str) -> str:
    """Why the index of a build of torch gives no list of its files, in a few words; "" if it does. `index` is `mirrors.torch_index`."""
    import http.client
    import urllib.error
    import urllib.request

    try:
        asked = _request(f"{index}/{build}/torch/")
        with urllib.request.urlopen(asked, timeout=TORCH_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"it answers with the status {error.code}"
    except urllib.error.URLError as error:
        # A server whose certificate Python does not know is there: uv has certificates of its own.
        is_there = type(error.reason).__module__ == "ssl"
        return "" if is_there else getattr(error.reason, "strerror", None) or str(error.reason)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return getattr(error, "strerror", None) or str(error)


def _request(address: str) -> urllib.request.Request:
    """A request for the list alone. A user and a password in the address go into a header, as uv sends them."""
    import base64
    import urllib.parse
    import urllib.request

    parts = urllib.parse.urlsplit(address)
    login, at, host = parts.netloc.rpartition("@")
    asked = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)), method="HEAD")
    if at:
        asked.add_unredirected_header(
            "Authorization", f"Basic {base64.b64encode(urllib.parse.unquote(login).encode()).decode()}"
        )
    return asked
