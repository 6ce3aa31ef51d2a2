"""Whether the torch of each engine computes correctly on each device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.doctor.case import Case
from trainer_core.doctor.checks.engines import install_command
from trainer_core.doctor.finding import Finding
from trainer_core.engines.manifest import BackendManifest
from trainer_core.text import printable


def kernels(case: Case) -> Iterator[Finding]:
    """One finding for each installed engine."""
    for engine in case.engines:
        if engine.installed is not None:
            expected = case.devices[0].kind
            yield _finding(engine.manifest, case.tried(engine.installed, "kernel"), expected)


def _finding(manifest: BackendManifest, record: Mapping[str, Any], expected: str) -> Finding:
    name, title = f"kernel.{manifest.id}", f"{manifest.title}, computing"
    again = install_command(manifest)
    cannot = "The engine cannot train here."
    if failure := record.get("failure"):
        return Finding(name, title, "problem", printable(str(failure), 400), cannot, again, manifest.id)
    torch, rows = printable(str(record["torch"]), 60), record["devices"]
    kinds = {row["kind"] for row in rows}
    if expected in ("cuda", "rocm") and expected not in kinds:
        found = f"torch {torch} finds no GPU, although this machine has one."
        fix = f"{again}; in a container, start it with access to the GPU."
        return Finding(name, title, "problem", found, "Training would run on the CPU.", fix, manifest.id)
    if record["ok"]:
        each = "; ".join(f"{printable(row['name'], 80)} in float32 {' '.join(row['precisions'])}" for row in rows)
        return Finding(name, title, "good", f"torch {torch} computes correctly: {each}.", engine=manifest.id)
    failed = [row for row in rows if not row["ok"]]
    found = "; ".join(f"{printable(row['name'], 80)}: {printable(row['reason'], 300).rstrip('.')}" for row in failed)
    built = ", ".join(record["architectures"])
    means = f"{cannot} torch {torch} is built for: {built}." if built else cannot
    return Finding(name, title, "problem", f"{found}.", means, again, manifest.id)
