"""The shipped notebooks in the folder of a JupyterLab, with a home of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support import lab


def write(
    server: lab.Server,
    name: str,
    environment: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    profile: str = "",
    shipped: str = "LoRA_Trainer",
) -> None:
    """Writes a shipped notebook as `name`; its kernel gets `environment`, and its app these settings and profile."""
    content = json.loads((lab.ROOT / "notebooks" / f"{shipped}.ipynb").read_text())
    source = "".join(content["cells"][1]["source"])
    if settings is not None:
        called = f"    {shipped.lower()}("
        source = source.replace(f"{called})", f"{called}{dict(settings)!r}, {profile!r})")
    # Kernels share the server's environment.
    content["cells"][1]["source"] = f"import os; os.environ.update({dict(environment)!r})\n{source}"
    (server.root / name).write_text(json.dumps(content))
