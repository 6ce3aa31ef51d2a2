"""`python installer.py update`: Easel, then `.venv`, then each installed engine and each environment of a tool. Standard library only.

Each of them is kept until its successor works (`kept`), so that an update that fails leaves a working Easel behind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.engines import manifest
from trainer_core.errors import EaselError, InstallError
from trainer_core.install import environments, in_use, pulling, suite, tool_environments
from trainer_core.install.installed import installed, kept

Report = Callable[[str], None]
Packed = Mapping[str, Mapping[str, str]]
"""Which Python and which build of torch a bundle has for each engine."""


@dataclass(frozen=True)
class Outdated:
    """An environment whose pins have changed: what would be done, and what does it."""

    title: str
    said: str
    update: Callable[..., object]


def outdated(
    sources: Mapping[str, str] | None = None, packed: Packed | None = None, report: Report = print
) -> list[Outdated]:
    """The engines and the environments of tools that are installed, and whose pins have changed."""
    return [*_engines(sources or {}, packed or {}, report), *_tools()]


def check(*, here: bool, report: Report = print) -> None:
    """Reports what an update would do; changes nothing.

    Raises:
        InstallError: Easel itself cannot be pulled.
    """
    if not here:
        _tell_news(pulling.look(), report)
    if said := suite.due():
        report(said)
    found = outdated(report=report)
    for one in found:
        report(f"{one.title}: {one.said}")
    if not said and not found:
        report("All environments have what this Easel pins.")
    if users := in_use.users():
        report(f"An update has to wait for these jobs: {', '.join(users)}.")


def pull(report: Report = print) -> bool:
    """Whether Easel itself was moved forward.

    Raises:
        InstallError: a job runs, or the checkout cannot be moved.
    """
    in_use.refuse_if_used()
    news = pulling.look()
    _tell_news(news, report)
    if news.commits:
        # Asking took a while: a run may have started meanwhile.
        in_use.refuse_if_used()
        pulling.pull()
        report(f"If what follows fails, you can go back to the Easel from before: git reset --keep {news.here}")
    return news.commits > 0


def update(
    python: str | None, sources: Mapping[str, str], packed: Packed | None = None, report: Report = print
) -> list[str]:
    """What could not be updated, in a sentence each; empty when all environments are what this Easel pins.

    Raises:
        InstallError: a job runs, or `.venv` could not be made anew: the old one is there.
    """
    if suite.due():
        in_use.refuse_if_used()
    suite.set_up(python, report=report)
    failed = []
    found = outdated(sources, packed, report)
    if found:
        in_use.refuse_if_used()
    for one in found:
        report(f"{one.title}: {one.said}")
        try:
            one.update(report=report)
        except EaselError as error:
            # The others are independent of it.
            failed.append(f"{one.title}: {' '.join(filter(None, (error.message, error.hint)))}")
    if not found:
        report("All environments have what this Easel pins.")
    return failed


def tidy(report: Report = print) -> int:
    """The bytes that were freed: of all that was kept from before an update."""
    freed = 0
    for folder in _homes():
        if size := kept(folder.name).size:
            report(f"Removing what is kept of {folder.name}, in {folder}.")
            freed += size
            environments.forget(folder.name)
    for row in tool_environments.environments().values():
        if size := row.kept.size:
            report(f"Removing what is kept of {row.title}, in {row.folder}.")
            freed += size
            row.kept.forget()
    return freed


def _tell_news(news: pulling.News, report: Report) -> None:
    if not news.commits:
        report(f"Easel is what {news.upstream} has ({news.here}).")
        return
    report(f"Easel: {news.commits} new commit(s) on {news.upstream}, {news.here} to {news.there}.")
    if news.pins:
        report(f"They change what is installed: {', '.join(news.pins)}.")


def _homes() -> Iterator[Path]:
    """The folders of the engines."""
    folder = places.engines()
    yield from sorted(each for each in folder.iterdir() if each.is_dir()) if places.is_folder(folder) else ()


def _engines(sources: Mapping[str, str], packed: Packed, report: Report) -> Iterator[Outdated]:
    for folder in _homes():
        engine = folder.name
        present = installed(engine)
        if present is None:
            continue
        try:
            table = manifest.read(engine)
        except InstallError:
            # An engine of another package is known only to the Python that has the package.
            report(
                f"{engine} is no engine that this Python knows: .venv/bin/easel backends install {engine} updates it."
            )
            continue
        if environments.is_current(engine):
            continue
        wanted = table.environment[0]
        said = f"{present.version} is installed, {wanted.version} is pinned"
        if present.version == wanted.version:
            said = f"{present.version} stays, with other packages"
        # A mirror that was used once is used again.
        source = sources.get(engine) or (present.origin if present.origin != table.upstream.repository else None)

        wishes = packed.get(engine, {})
        step = functools.partial(
            environments.install,
            engine,
            present.accelerator,
            source or None,
            python=wishes.get("python"),
            torch=wishes.get("torch", ""),
        )
        yield Outdated(table.title, f"{said}. It needs up to {wanted.disk_gib:.0f} GiB beside the old one.", step)


def _tools() -> Iterator[Outdated]:
    for name, row in tool_environments.environments().items():
        present = tool_environments.installed(name)
        if present is None or tool_environments.is_current(name):
            continue
        needed = next((each.disk_gib for each in row.variants if each.lock == present.lock), row.variants[0].disk_gib)

        step = functools.partial(tool_environments.install, name, present.accelerator)
        yield Outdated(
            row.title, f"its packages have changed. It needs up to {needed:g} GiB beside the old ones.", step
        )
