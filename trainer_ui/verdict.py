"""How an ended run is told in a few labelled sentences."""

from __future__ import annotations

from trainer_core.runs.run import Run, RunState
from trainer_core.text import printable


def verdict(run: Run) -> list[dict[str, str]]:
    """What came of an ended run, as [{"label", "text"}]: files, copies and cost, or what happened and what to do."""
    result = run.result or {}
    rows = [("File", str(file)) for file in result.get("outputs", [])]
    rows += [("Copied to", str(file)) for file in result.get("copies", [])]
    diagnosis = run.diagnosis
    if diagnosis is not None and run.state is not RunState.COMPLETED:
        rows += [("What happened", diagnosis.cause), ("The log says", diagnosis.line), ("What to do", diagnosis.advice)]
    if seconds := result.get("seconds"):
        peak = (result.get("peak_memory_bytes") or 0) / 1024**3
        rows.append(("Took", f"{seconds:.0f} s" + (f", {peak:.1f} GiB of memory at most" if peak >= 0.05 else "")))
    rows.append(("Run folder", str(run.directory.path)))
    return [{"label": label, "text": printable(text, 1000)} for label, text in rows if text]
