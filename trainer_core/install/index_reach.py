"""Whether the registry of packages can be reached, asked as an installation would ask it. Standard library only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trainer_core.install.uv import decisive_line, uv_environment

ASKED = "packaging"
"""A small package that every registry of Python packages has."""
LIMIT_S = 20


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
