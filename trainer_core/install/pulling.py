"""Newer versions of Easel itself: a git checkout is moved forward, where nothing of the user's can be lost. Standard library only."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trainer_core.child import child_environment
from trainer_core.errors import InstallError
from trainer_core.places import CHECKOUT

HERE = "To bring only the environments to what this folder pins: python installer.py update --here"
PINS = ("requirements", "backends/*/backend.toml", "trainer_core/install/tool_environments.toml")
"""What decides which packages are installed."""
_ANSWER_S = 30
_FETCH_S = 600
_NAMED = 5


@dataclass(frozen=True)
class News:
    """What the branch of this checkout has at its upstream: the number of commits and the changed files that pin packages."""

    upstream: str
    commits: int
    here: str
    there: str
    pins: tuple[str, ...]


def look(checkout: Path = CHECKOUT) -> News:
    """What is new, after asking the upstream; nothing but git's own notes changes.

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
    if changed := _changed(checkout):
        named = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
        raise InstallError(
            f"Files of Easel were changed here: {named}.",
            f"Keep them with git commit or git stash, or drop them with git restore. {HERE}",
        )
    _git(checkout, "fetch", "--quiet", limit_s=_FETCH_S)
    ahead, behind = _git(checkout, "rev-list", "--left-right", "--count", "HEAD...@{upstream}").split()
    if int(ahead):
        raise InstallError(
            f"{branch} has {ahead} commit(s) that {upstream} does not have.", f"Merge or rebase by hand. {HERE}"
        )
    here, there = (_git(checkout, "rev-parse", "--short", name) for name in ("HEAD", "@{upstream}"))
    pins = _git(checkout, "diff", "--name-only", "HEAD", "@{upstream}", "--", *PINS).splitlines()
    return News(upstream, int(behind), here, there, tuple(pins))


def pull(checkout: Path = CHECKOUT) -> None:
    """Moves the checkout forward, as `look` has found it.

    Raises:
        InstallError: git refuses.
    """
    moved = set(_git(checkout, "diff", "--name-only", "HEAD", "@{upstream}").splitlines())
    shown = [name for name in _modified(checkout) if name in moved]
    if shown:
        # `_changed` has found that only what JupyterLab has saved differs: what the cells have shown.
        _git(checkout, "restore", "--", *shown)
    _git(checkout, "merge", "--ff-only", "--quiet", "@{upstream}", limit_s=_FETCH_S)


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
    environment = {name: value for name, value in child_environment().items() if not name.startswith("GIT_")}
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
    said = [line for line in done.stderr.splitlines() if line.startswith(("fatal:", "error:"))]
    raise InstallError(f"git {arguments[0]} failed: {(said or ['no reason given'])[0]}", HERE)
