"""The platform to which the machine belongs, and whether Easel's files survive the end of a session there."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from trainer_core.doctor.case import Case
from trainer_core.doctor.finding import Finding
from trainer_core.errors import InstallError
from trainer_core.providers import detection, surviving
from trainer_core.providers.table import PROVIDERS

TITLE = "Platform"


def platform(case: Case) -> Iterator[Finding]:
    """One finding: which platform it is, what survives there, and the limits that are said of it."""
    probe = case.probe
    modules = sys.modules if probe.recorded is None else ()
    try:
        here = detection.current(probe.environment, modules, str(probe.root))
    except InstallError as error:
        yield Finding("platform", TITLE, "notice", error.message, fix=error.hint)
        return
    if not here.is_hosted:
        known = ", ".join(each.title for each in PROVIDERS if each.is_hosted)
        yield Finding("platform", TITLE, "good", f"None of these was recognised: {known}.")
        return
    home = case.folders["Easel's files"]
    limits = " ".join(f"{limit.text.rstrip('.')} ({limit.source})." for limit in here.limits)
    kept = surviving.keeper(home, here)
    fix = "" if kept else "Set EASEL_HOME to a folder that survives, or mirror what a run makes: --mirror-to."
    yield Finding("platform", TITLE, "good" if kept else "notice", surviving.sentence(home, here), limits, fix)
