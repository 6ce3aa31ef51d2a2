"""Which attention functions work in the environment of each engine, shown by real calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.doctor.case import Case
from trainer_core.doctor.finding import Finding
from trainer_core.engines.manifest import BackendManifest
from trainer_core.text import printable


def attention(case: Case) -> Iterator[Finding]:
    """One finding for each installed engine."""
    for engine in case.engines:
        if engine.installed is not None:
            yield finding(engine.manifest, case.tried(engine.installed, "attention"))


def finding(manifest: BackendManifest, record: Mapping[str, Any]) -> Finding:
    """The verdict of what was tried."""
    name, title = f"attention.{manifest.id}", f"{manifest.title}, attention"
    if failure := record.get("failure"):
        return Finding(
            name, title, "problem", printable(str(failure), 400), "The engine cannot train here.", engine=manifest.id
        )
    working = [kind for kind, row in record["kinds"].items() if row["ok"]]
    if not record["ok"]:
        found = f"torch's own attention does not work: {printable(record['reason'], 300)}"
        return Finding(name, title, "problem", found, "The engine cannot train here.", engine=manifest.id)
    absent = [kind for kind in record["kinds"] if kind not in working]
    found = f"torch's own attention (sdpa) works. By a call forward and backward, these work: {', '.join(working) or 'none'}."
    if absent:
        found += f" These do not: {', '.join(absent)}."
    # On a CPU only the plain and one fused function exist.
    is_fast = record["device"] == "cpu" or any(kind != "sdpa math" for kind in working)
    if is_fast:
        return Finding(name, title, "good", found, engine=manifest.id)
    means = "Only the plain function works: it takes much more memory and time at high resolutions."
    return Finding(name, title, "notice", found, means, engine=manifest.id)
