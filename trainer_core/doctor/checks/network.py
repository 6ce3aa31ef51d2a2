"""The network: what an installation downloads from, the Hugging Face Hub, and which access tokens are set. Never the text of a token."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core import hub_switch, places
from trainer_core.doctor.case import Case
from trainer_core.doctor.checks import engines
from trainer_core.doctor.finding import Finding
from trainer_core.errors import DownloadError
from trainer_core.install import hub_reach, index_reach, mirrors, uv
from trainer_core.install.torch_choice import REGISTRY
from trainer_core.install.upstream import reachable
from trainer_core.models.tokens import SITES, find, where_to_set
from trainer_core.text import printable, without_secrets

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


def torch_index(case: Case) -> Iterator[Finding]:
    """Whether PyTorch's index, or its mirror, has the builds of torch that an installation would take from it."""
    wanted: dict[str, list[str]] = {}
    for engine in case.engines:
        if build := engines.build_of(engine.manifest, case.devices[0]):
            wanted.setdefault(build, []).append(engine.manifest.title)
    wanted.pop(REGISTRY, None)
    title, address = "PyTorch's index", mirrors.torch_index(case.probe.environment)
    where = printable(without_secrets(address), 200)
    private = () if address in ("", mirrors.PYTORCH) else (where,)
    for build, titles in wanted.items():
        name, of = f"network.torch.{build}", f"{title}, {build}"
        if not address:
            yield Finding(name, of, "good", "It is not asked: torch comes from the folder in UV_FIND_LINKS.")
            continue
        why = case.probe.fact("torch index", lambda build=build: index_reach.torch_why_not(address, build))
        if not why:
            yield Finding(name, of, "good", f"{where} answers.", private=private)
            continue
        found = f"{where}/{build} does not answer: {printable(without_secrets(why), 300).rstrip('.')}."
        means = f"{' and '.join(titles)} would get torch from there. Without it another build is tried, if one suits this device."
        fix = f"Check the connection, or set {mirrors.TORCH_INDEX} to a mirror (docs/guide/installing.md)."
        yield Finding(name, of, "notice", found, means, fix, private=private)


def sources(case: Case) -> Iterator[Finding]:
    """Whether the source code of the engines that have some can be got, as from GitHub."""
    for engine in case.engines:
        upstream = engine.manifest.upstream
        if not engine.manifest.needs_installation or not upstream.repository:
            continue
        name, title = f"network.source.{engine.manifest.id}", f"Source code of {upstream.name}"
        where = printable(without_secrets(upstream.repository), 200)
        if case.probe.fact("sources", lambda upstream=upstream: reachable(upstream)):
            yield Finding(name, title, "good", f"{where} answers.")
        else:
            means = f"{engine.manifest.title} cannot be installed from there. What is installed can train."
            # The installer serves all engines, so it asks for which one.
            copy = f"--source {engine.manifest.id}=FOLDER" if places.in_checkout() else "--source FOLDER"
            command = f"{engines.install_command(engine.manifest)} {copy}"
            fix = f"Check the connection, or install from a copy of it: {command}"
            yield Finding(name, title, "notice", f"{where} does not answer.", means, fix)


def hub(case: Case) -> Iterator[Finding]:
    """Whether the Hub, or its mirror, can be reached."""
    title, address = "Hugging Face Hub", case.probe.environment.get("HF_ENDPOINT") or hub_reach.HUB
    where = printable(address, 200)
    offline = "Models and tokenizers must be on this machine."
    private = () if address == hub_reach.HUB else (where,)
    if not hub_reach.is_address(address):
        found = f"HF_ENDPOINT is {where}, which is not the address of a server."
        fix = f"Set HF_ENDPOINT to an address such as {hub_reach.HUB}, or unset it."
        yield Finding("network.hub", title, "notice", found, "Nothing can be downloaded.", fix, private=private)
        return
    reach = case.probe.fact("hub", lambda: hub_reach.reach(WAIT_S))
    if reach == "yes":
        yield Finding("network.hub", title, "good", f"{where} answers.", private=private)
    elif reach == "off":
        found = f"It is switched off by {' or '.join(hub_switch.SWITCHES)}."
        yield Finding("network.hub", title, "notice", found, offline, "To use it, unset these variables.")
    elif reach == "no":
        fix = "Check the connection, or set HF_ENDPOINT to a mirror."
        yield Finding("network.hub", title, "notice", f"{where} does not answer.", offline, fix, private=private)
    else:
        found = f"{where} has not answered within {WAIT_S:.0f} seconds."
        yield Finding("network.hub", title, "unknown", found, offline, private=private)


def tokens(case: Case) -> Iterator[Finding]:
    """Which tokens for download sites are set, and where; a model may need one."""
    for site, known in SITES.items():
        name, title = f"token.{site}", f"Token for {known.title}"
        lacking = "Models that need a login cannot be downloaded; others can."
        try:
            source = case.probe.fact(f"token for {site}", lambda site=site: _source(site))
        except DownloadError as error:
            yield Finding(name, title, "notice", printable(error.message, 500), lacking, printable(error.hint, 500))
            continue
        if source:
            yield Finding(name, title, "good", f"One is set, by {printable(source, 500)}.")
        else:
            yield Finding(name, title, "good", "None is set.", lacking, where_to_set(site))


def _source(site: str) -> str:
    """Where a training would get its token from; "" if there is none."""
    token = find(site)
    return "" if token is None else token.source
