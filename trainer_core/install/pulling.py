"""Newer versions of Easel itself: a git checkout is moved forward, where nothing of the user's can be lost. Standard library only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer_core.child import full_environment
from trainer_core.errors import InstallError
from trainer_core.files import write_whole
from trainer_core.install.addresses import without_secrets
from trainer_core.places import CHECKOUT
from trainer_core.text import printable

HERE = "To bring only the environments to what this folder pins: python installer.py update --here"
PINS = ("requirements", "backends/*/backend.toml", "trainer_core/install/tool_environments.toml")
"""What decides which packages are installed."""
_ANSWER_S = 30
_FETCH_S = 600
_NAMED = 5
_OUTPUTS = "easel-outputs"
"""The folder in git's own with what notebooks had shown, while the checkout is moved."""


@dataclass(frozen=True)
class News:
    """What the branch of this checkout has at its upstream: the number of commits and the changed files that pin packages."""

    upstream: str
    commits: int
    here: str
    there: str
    pins: tuple[str, ...]


def look(checkout: Path = CHECKOUT) -> News:
    """What is new, after asking the upstream; nothing but git's own notes changes, and what an interrupted `pull` took away comes back.

    Raises:
        InstallError: the checkout cannot simply be moved forward: the message says why, the hint what to do.
    """
    if not (checkout / ".git").exists():
        raise InstallError(
            f"{checkout} was not made by git clone, so nothing newer can be pulled.",
            f"Put a newer Easel in its place (keep the folder workspace), or clone it. {HERE}",
        )
    if shutil.which("git") is None:
        raise InstallError("git was not found on this machine.", f"Install git. {HERE}")
    branch = _git(checkout, "symbolic-ref", "--quiet", "--short", "HEAD", may_fail=True)
    if not branch:
        raise InstallError("This checkout is at a commit, not on a branch.", f"Run: git switch main. {HERE}")
    upstream = _git(checkout, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}", may_fail=True)
    if not upstream:
        raise InstallError(
            f"The branch {branch} follows no branch of another repository.",
            f"Run: git branch --set-upstream-to=origin/{branch}. {HERE}",
        )
    _put_back(checkout, _modified(checkout))
    if changed := _changed(checkout):
        raise InstallError(
            f"Files of Easel were changed here: {_named(changed)}.",
            f"Keep them with git commit or git stash, or drop them with git restore. {HERE}",
        )
    _git(checkout, "fetch", "--quiet", limit_s=_FETCH_S)
    ahead, behind = _git(checkout, "rev-list", "--left-right", "--count", "HEAD...@{upstream}").split()
    if int(ahead):
        raise InstallError(
            f"{branch} has {ahead} commit(s) that {upstream} does not have.", f"Merge or rebase by hand. {HERE}"
        )
    if blocked := _in_the_way(checkout):
        raise InstallError(
            f"The newer Easel has files where this folder has other ones: {_named(blocked)}.",
            f"Move them away or rename them. {HERE}",
        )
    here, there = (_git(checkout, "rev-parse", "--short", name) for name in ("HEAD", "@{upstream}"))
    pins = _git(checkout, "diff", "--name-only", "HEAD", "@{upstream}", "--", *PINS).splitlines()
    return News(upstream, int(behind), here, there, tuple(pins))


def pull(checkout: Path = CHECKOUT) -> None:
    """Moves the checkout forward, as `look` has found it.

    Raises:
        InstallError: git refuses, or what notebooks have shown cannot be kept meanwhile.
    """
    try:
        _pull(checkout)
    except OSError as error:
        raise InstallError(
            f"What notebooks have shown cannot be kept: {error.strerror or error} ({error.filename}).", HERE
        ) from error


def _pull(checkout: Path) -> None:
    moved = set(_git(checkout, "diff", "--name-only", "HEAD", "@{upstream}").splitlines())
    shown = [name for name in _modified(checkout) if name in moved]
    kept = _kept(checkout)
    for name in shown:
        write_whole(kept / name, (checkout / name).read_bytes())
    try:
        if shown:
            # `_changed` has found that only what JupyterLab has saved differs: what the cells have shown.
            _git(checkout, "restore", "--", *shown)
        _git(checkout, "merge", "--ff-only", "--quiet", "@{upstream}", limit_s=_FETCH_S)
    finally:
        # Also after a merge that failed or was interrupted. One that was done has another commit, to which nothing is kept.
        _put_back(checkout)


def _kept(checkout: Path) -> Path:
    """Where it is kept what the notebooks of the present commit had shown."""
    return _all_kept(checkout) / _git(checkout, "rev-parse", "HEAD")


def _all_kept(checkout: Path) -> Path:
    return checkout / _git(checkout, "rev-parse", "--git-path", _OUTPUTS)


def _put_back(checkout: Path, newer: Collection[str] = ()) -> None:
    """Brings back what notebooks had shown, unless the checkout has been moved, or they are `newer`."""
    kept = _kept(checkout)
    for path in sorted(kept.rglob("*.ipynb")):
        name = path.relative_to(kept).as_posix()
        if name not in newer:
            write_whole(checkout / name, path.read_bytes())
    shutil.rmtree(_all_kept(checkout), ignore_errors=True)


def _in_the_way(checkout: Path) -> list[str]:
    """The files that git does not know, or ignores, where the upstream has added one: a merge stops at them, or replaces them."""
    gone = {name.casefold() for name in _differing(checkout, "D")}
    found: dict[str, None] = {}
    for name in _differing(checkout, "A"):
        parents = [parent.as_posix() for parent in reversed(PurePosixPath(name).parents)][1:]
        taken = [each for each in parents if _is_no_folder(checkout / each)]
        taken += [name] if os.path.lexists(checkout / name) else []
        # A file that the upstream deletes is in nobody's way; with another case, it is the same one on some systems.
        found |= dict.fromkeys(each for each in taken[:1] if each.casefold() not in gone)
    return list(found)


def _differing(checkout: Path, kind: str) -> list[str]:
    options = ("--name-only", "--no-renames", "-z", f"--diff-filter={kind}")
    return [name for name in _git(checkout, "diff", *options, "HEAD", "@{upstream}").split("\0") if name]


def _is_no_folder(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(printable(name, 200) for name in names[:_NAMED]) + more


def _modified(checkout: Path) -> list[str]:
    """The files that git knows, and that are not as they were committed."""
    rows = _git(checkout, "-c", "core.quotePath=false", "status", "--porcelain", "--untracked-files=no").splitlines()
    return [row.strip().split(" ", 1)[-1].strip() for row in rows]


def _changed(checkout: Path) -> list[str]:
    """The modified files, without notebooks in which only the output of the cells differs."""
    return [name for name in _modified(checkout) if not _only_shown(checkout, name)]


def _only_shown(checkout: Path, name: str) -> bool:
    if not name.endswith(".ipynb"):
        return False
    try:
        return _cells((checkout / name).read_text("utf-8")) == _cells(_git(checkout, "show", f"HEAD:{name}"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InstallError):
        return False


def _cells(text: str) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]


def _git(checkout: Path, *arguments: str, limit_s: int = _ANSWER_S, may_fail: bool = False) -> str:
    """What git answers; "" if it fails and may."""
    environment = {name: value for name, value in full_environment().items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
    command = ["git", "-C", str(checkout), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"git {arguments[0]} did not answer within {limit_s} s.", f"Try again. {HERE}") from error
    if done.returncode == 0:
        return done.stdout.strip("\n")
    if may_fail:
        return ""
    said = [line for line in without_secrets(done.stderr).splitlines() if line.startswith(("fatal:", "error:"))]
    raise InstallError(f"git {arguments[0]} failed: {(said or ['no reason given'])[0]}", HERE)
