"""How an ended run is told in a few labelled sentences."""

from __future__ import annotations

from pathlib import Path

from trainer_core.errors import RunError
from trainer_core.runs.delivery import SUFFIX
from trainer_core.runs.run import Run, RunState
from trainer_core.text import printable


def verdict(run: Run) -> list[dict[str, str]]:
    """What came of an ended run, as [{"label", "text"}]: results, copies and cost, or what happened and what to do."""
    result = run.result or {}
    rows = [(_label(run, Path(file)), str(file)) for file in result.get("outputs", [])]
    diagnosis = run.diagnosis
    if diagnosis is not None and run.state is not RunState.COMPLETED:
        rows += [("What happened", diagnosis.cause), ("The log says", diagnosis.line), ("What to do", diagnosis.advice)]
    if seconds := result.get("seconds"):
        peak = (result.get("peak_memory_bytes") or 0) / 1024**3
        rows.append(("Took", f"{seconds:.0f} s" + (f", {peak:.1f} GiB of memory at most" if peak >= 0.05 else "")))
    rows.append(("Run folder", str(run.directory.path)))
    return [{"label": label, "text": printable(text, 1000)} for label, text in rows if text]


def _label(run: Run, file: Path) -> str:
    try:
        copies = run.directory.plan.get("output", {}).get("copy_to", "")
    except RunError:
        copies = ""
    if copies and file.parent == Path(copies).expanduser():
        return "Copied to"
    return "File" if file.suffix == SUFFIX else "Folder"
