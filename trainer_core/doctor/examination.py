"""Runs all checks, and says which engines can train here."""

from __future__ import annotations

from collections.abc import Sequence

from trainer_core.doctor.case import Case
from trainer_core.doctor.checks import CHECKS
from trainer_core.doctor.checks.engines import install_command
from trainer_core.doctor.finding import CONCLUSION, Finding


def examine(case: Case) -> list[Finding]:
    """All findings in the order of the checks, with the conclusion first."""
    found = [finding for check in CHECKS for finding in check(case)]
    return [conclusion(case, found), *found]


def conclusion(case: Case, found: Sequence[Finding]) -> Finding:
    """Which engines can train here: installed, and without a problem."""
    broken = {each.engine for each in found if each.state == "problem" and each.engine}
    usable = [engine.manifest for engine in case.engines if engine.is_usable]
    able = [manifest.title for manifest in usable if manifest.id not in broken]
    general = sum(each.state == "problem" and not each.engine for each in found)
    title = "Training"
    if able and general:
        those = "this problem" if general == 1 else "these problems"
        return Finding(CONCLUSION, title, "notice", f"{' and '.join(able)} can train here when {those} is solved.")
    if able:
        device = "on the GPU" if case.gpus else "on the CPU, slowly"
        return Finding(CONCLUSION, title, "good", f"{' and '.join(able)} can train here, {device}.")
    if usable:
        names = " and ".join(manifest.title for manifest in usable)
        return Finding(CONCLUSION, title, "problem", f"No engine can train here: {names} has a problem.")
    can = [engine.manifest for engine in case.engines if engine.manifest.id not in broken]
    if not can:
        return Finding(CONCLUSION, title, "problem", "No engine can be used on this machine.")
    first = "Solve the other problems first, then: " if general else ""
    return Finding(CONCLUSION, title, "problem", "No engine is installed yet.", fix=first + install_command(can[0]))
