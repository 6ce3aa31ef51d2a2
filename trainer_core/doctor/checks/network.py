"""The network: the registry of packages, the Hugging Face Hub, and which access tokens are set. Never the text of a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.doctor.case import Case
from trainer_core.doctor.finding import Finding
from trainer_core.install import hub_reach, index_reach, uv
from trainer_core.models.tokens import SITES, where_to_set
from trainer_core.probe import Probe
from trainer_core.text import printable

WAIT_S = 6.0
"""How long the answer of the Hub is waited for."""


def index(case: Case) -> Iterator[Finding]:
    """Whether an installation could get packages."""
    title = "Registry of packages"
    why = case.probe.fact("index", _index)
    if why is None:
        found = "uv, with which packages are installed, is not here yet."
        yield Finding("network.index", title, "unknown", found, fix="The installation of an engine gets it.")
    elif why:
        found = f"It does not answer: {printable(why, 300).rstrip('.')}."
        means = "Nothing can be installed. What is installed can train."
        fix = "Check the connection, or set UV_DEFAULT_INDEX to a mirror (docs/guide/installing.md)."
        yield Finding("network.index", title, "notice", found, means, fix)
    else:
        yield Finding("network.index", title, "good", "It answers.")


def _index() -> str | None:
    program = uv.find_uv()
    return None if program is None else index_reach.why_not(program)


def hub(case: Case) -> Iterator[Finding]:
    """Whether the Hub, or its mirror, can be reached."""
    title, address = "Hugging Face Hub", case.probe.environment.get("HF_ENDPOINT") or hub_reach.HUB
    where = printable(address, 200)
    reach = case.probe.fact("hub", lambda: hub_reach.reach(WAIT_S))
    offline = "Models and tokenizers must be on this machine."
    if reach == "yes":
        yield Finding("network.hub", title, "good", f"{where} answers.")
    elif reach == "off":
        found = f"It is switched off by {' or '.join(hub_reach.SWITCHES)}."
        yield Finding("network.hub", title, "notice", found, offline, "To use it, unset these variables.")
    elif reach == "no":
        fix = "Check the connection, or set HF_ENDPOINT to a mirror."
        yield Finding("network.hub", title, "notice", f"{where} does not answer.", offline, fix)
    else:
        yield Finding(
            "network.hub", title, "unknown", f"{where} has not answered within {WAIT_S:.0f} seconds.", offline
        )


def tokens_set(probe: Probe, site: str) -> list[str]:
    """Where a token for a site is set: names of variables, and the login file. Secrets of a notebook are not asked for."""
    found = [f"the variable {name}" for name in SITES[site].names if probe.environment.get(name, "").strip()]
    if site == "huggingface" and probe.fact("login", _login):
        found.append("the login file of huggingface_hub")
    return found


def _login() -> bool:
    from huggingface_hub import constants

    return places.is_there(Path(constants.HF_TOKEN_PATH))


def tokens(case: Case) -> Iterator[Finding]:
    """Which tokens for download sites are set, and where; a model may need one."""
    for site, known in SITES.items():
        where = tokens_set(case.probe, site)
        found = f"Set in {' and in '.join(where)}." if where else "None is set."
        means = "" if where else "Models that need a login cannot be downloaded; others can."
        fix = "" if where else where_to_set(site)
        yield Finding(f"token.{site}", f"Token for {known.title}", "good", found, means, fix)
