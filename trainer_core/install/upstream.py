"""Get an engine's source code at one commit, from its address, a mirror or a local folder. Standard library only."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.child import full_environment
from trainer_core.engines.manifest import Upstream
from trainer_core.errors import InstallError
from trainer_core.install.addresses import opened, without_secrets
from trainer_core.text import printable

if TYPE_CHECKING:
    import urllib.request

_ANSWER_S = 15
_FETCH_S = 900
_MOST_BYTES = 512 << 20
# Compiled modules come before a .py of the same name; the description of a package (.dist-info) adds entry points and versions.
_RUN_ENDINGS = frozenset(
    {".so", ".pyd", ".dll", ".dylib", ".pyc", ".pyo", ".pyw", ".pth", "._pth", ".egg", ".egg-info", ".egg-link", ".dist-info"}
    | {".whl", ".zip", ".pyz", ".pyzw", ".exe", ".bat", ".cmd", ".com", ".ps1", ".sh"}
)  # fmt: skip
_RUN_NAMES = frozenset({"sitecustomize", "usercustomize", "pyvenv"})
# ELF, PE, and the kinds of Mach-O: compiled code under any name.
_PROGRAMS = (
    b"\x7fELF", b"MZ\x90\x00", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)  # fmt: skip


def fetch(upstream: Upstream, target: Path, source: str | None = None, report: Callable[[str], None] = print) -> str:
    """Where the source code came from, without a password; afterwards `target` contains exactly the pinned commit of `upstream`.

    `source` is a folder (a checkout, a bare repository, an unpacked archive), an archive as a bundle has it, or a git address; None means upstream's own address.
    The name of a commit is not enough: the files must have the digest that `upstream` records.

    Raises:
        InstallError: the source cannot be reached, lacks the commit, or differs from what was pinned.
    """
    origin = source or upstream.repository
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _fetch(upstream, target, origin, report)
    # ValueError: a name that no file of this system can have.
    except (OSError, ValueError) as error:
        raise InstallError(
            f"The sources from {printable(without_secrets(origin), 300)} cannot be used: {_first(error)}.",
            "Use a clean folder or repository, and check the free disk space.",
        ) from error


def _first(error: OSError | ValueError) -> str:
    """What went wrong, in words; of a folder that was copied in part, with the first file."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return printable(str(error.args[0][0][2]), 300)
    return getattr(error, "strerror", None) or printable(str(error), 300)


def _fetch(upstream: Upstream, target: Path, origin: str, report: Callable[[str], None]) -> str:
    shown = without_secrets(origin)
    for left_over in target.parent.glob(".source-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".source-") as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        if places.typed(origin).is_dir():
            _from_folder(upstream, places.real(places.typed(origin)), tree, report)
        elif places.typed(origin).is_file():
            archive = places.real(places.typed(origin))
            _unpack(upstream, archive, str(archive), tree)
        elif shutil.which("git"):
            _from_address(upstream, origin, Path(scratch), tree)
        else:
            _from_archive(upstream, origin, Path(scratch), tree)
        if digest(tree) != upstream.digest:
            raise InstallError(
                f"The sources from {shown} are not {upstream.commit[:7]}: their files differ from the pinned ones.",
                "Use a clean folder or repository that has this commit.",
            )
        if names := in_place_of_pinned(tree):
            first = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise InstallError(
                f"The sources from {shown} have files that could be run in place of the pinned ones: {first}.",
                "Use a clean folder or repository that has this commit.",
            )
        tree.replace(target)
    return shown


def pack(tree: Path, archive: Path) -> None:
    """Write the files of `tree` into an archive that differs only if the files do."""
    import gzip
    import tarfile

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as packed,
    ):
        for path in sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()):
            packed.add(path, path.relative_to(tree).as_posix(), filter=plain)


def reachable(upstream: Upstream, source: str | None = None) -> bool:
    """Whether the source code is available now: a folder or archive that exists, or an address that answers within seconds."""
    origin = source or upstream.repository
    if places.typed(origin).exists():
        return True
    if shutil.which("git"):
        return _git_at(origin, "ls-remote", "--heads", timeout_s=_ANSWER_S) is None
    import http.client
    import urllib.request

    try:
        with urllib.request.urlopen(_archive_request(upstream, origin, "HEAD"), timeout=_ANSWER_S):
            return True
    except (InstallError, OSError, ValueError, http.client.HTTPException):
        # InstallError: git is not here, and there is no archive at such an address. HTTPException: a password is taken for a port.
        return False


def digest(tree: Path) -> str:
    """The SHA-256 digest of the names and contents of the Python files below `tree`.

    Other files are not in it, because a mirror may lack the large ones among them; `in_place_of_pinned` finds those that matter.
    """
    whole = hashlib.sha256()
    for name in sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.py")):
        whole.update(f"{name}\0{hashlib.sha256((tree / name).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def in_place_of_pinned(tree: Path, caches: bool = False) -> list[str]:
    """The names of what Python would import or run although it is in no digest: compiled modules, caches, programs.

    `caches` is whether folders `__pycache__` may be there, as they are once the engine has run.
    """
    found: list[str] = []
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree)
        if "__pycache__" in name.parts:
            if not caches and path.name == "__pycache__":
                found.append(printable(name.as_posix(), 80))
        elif _is_run(path):
            found.append(printable(name.as_posix(), 80))
    return found


def _is_run(path: Path) -> bool:
    """Whether Python or the machine would run this file or read this folder as a part of a package."""
    endings = {ending.lower() for ending in path.suffixes}
    if endings & _RUN_ENDINGS or path.name.partition(".")[0].lower() in _RUN_NAMES:
        return True
    if not path.is_file():
        return False
    if path.suffix != ".py" and path.suffix.lower() == ".py":  # on a disk that ignores case it is imported
        return True
    with path.open("rb") as file:
        return file.read(4).startswith(_PROGRAMS)


def _from_folder(upstream: Upstream, folder: Path, tree: Path, report: Callable[[str], None]) -> None:
    """Fill `tree` from a local checkout, bare repository or plain folder."""
    repository = folder / ".git" if (folder / ".git").exists() else folder
    if not (repository.is_file() or (repository / "objects").is_dir()):
        shutil.copytree(
            folder, tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*upstream.exclude, "__pycache__")
        )
        return
    where = ["-C", str(folder)] if (folder / ".git").exists() else ["--git-dir", str(folder)]
    left_out = list(upstream.exclude)
    failure = _export(where, upstream, left_out, tree)
    if failure and upstream.optional:
        # A partial clone lacks large files, and only some families may need them.
        failure = _export(where, upstream, [*left_out, *upstream.optional], tree)
        if not failure:
            report(f"This mirror lacks {', '.join(upstream.optional)}: families that need it cannot be trained.")
    if failure:
        raise InstallError(
            f"{folder} does not contain commit {upstream.commit[:7]} ({failure}).",
            "Fetch the commit there, or use another source.",
        )


def _from_address(upstream: Upstream, address: str, scratch: Path, tree: Path) -> None:
    """Fill `tree` from a git address; only the one commit is fetched."""
    if failure := _git_at(address, "ls-remote", "--heads", timeout_s=_ANSWER_S):
        raise _unreachable(upstream, address, failure)
    repository = scratch / "repository"
    where = ["--git-dir", str(repository)]
    failure = _git("init", "--quiet", "--bare", str(repository), timeout_s=_ANSWER_S)
    patient = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"]
    fetch = (*where, *patient, "fetch", "--quiet")
    failure = failure or _git_at(address, *fetch, "--depth", "1", after=(upstream.commit,), timeout_s=_FETCH_S)
    if failure:  # a server may refuse to send a commit that is not the tip of a branch
        failure = _git_at(address, *fetch, after=("+refs/*:refs/*",), timeout_s=_FETCH_S)
    failure = failure or _export(where, upstream, upstream.exclude, tree)
    if failure:
        raise InstallError(
            f"Commit {upstream.commit[:7]} could not be fetched from {without_secrets(address)} ({failure}).",
            "Try again, or use a source that has this commit.",
        )


def _from_archive(upstream: Upstream, address: str, scratch: Path, tree: Path) -> None:
    """Fill `tree` from the archive that a code host offers for a commit, on a machine without git."""
    import urllib.request

    archive = scratch / "archive.tar.gz"
    try:
        with (
            urllib.request.urlopen(_archive_request(upstream, address), timeout=_ANSWER_S) as answer,
            archive.open("wb") as file,
        ):
            while piece := answer.read(1 << 20):
                if file.tell() + len(piece) > _MOST_BYTES:
                    raise OSError(f"it sends more than {_MOST_BYTES >> 20} MB, which are the most")
                file.write(piece)
    except (OSError, ValueError) as error:
        raise _unreachable(upstream, address, without_secrets(str(getattr(error, "reason", error)))) from error
    _unpack(upstream, archive, address, tree, strip=1)


def _export(where: Sequence[str], upstream: Upstream, left_out: Sequence[str], tree: Path) -> str | None:
    """None once `tree` contains the files of the commit, else git's error message."""
    with tempfile.TemporaryDirectory(dir=tree.parent) as scratch:
        archive = Path(scratch, "archive.tar")
        excluded = [f":(exclude){name}" for name in left_out]
        failure = _git(
            *where,
            "-c",
            "core.autocrlf=false",
            "archive",
            f"--output={archive}",
            upstream.commit,
            "--",
            ".",
            *excluded,
            timeout_s=_FETCH_S,
        )
        if failure is None:
            _unpack(upstream, archive, where[-1], tree)
    return failure


def _unpack(upstream: Upstream, archive: Path, origin: str, tree: Path, strip: int = 0) -> None:
    """Fill `tree` from an archive."""
    from trainer_core.install.unpacking import UnpackingError, unpack

    try:
        unpack(archive, tree, strip)
    except UnpackingError as error:
        raise InstallError(
            f"{without_secrets(origin)} is no archive of {upstream.name} that can be used: {error}.",
            "Use another source.",
        ) from error
    for name in upstream.exclude:
        shutil.rmtree(tree / name, ignore_errors=True)


def _git_at(address: str, *before: str, after: Sequence[str] = (), timeout_s: int) -> str | None:
    """What `_git` says of a command with an address, whose password is in no argument: everybody can read those of a process."""
    if "?" in address and "://" in address:
        return "git has no use for a query in an address, and would show it in the list of processes"
    plain, authorization = opened(address)
    variables = _as_variables({"http.extraHeader": authorization, **_STAYS}) if authorization else {}
    return _git(*before, "--", plain, *after, timeout_s=timeout_s, variables=variables)


# A header of ours would go to whatever server the first one names.
_STAYS = {"http.followRedirects": "false"}


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings of git as environment variables. Source: git-config, GIT_CONFIG_COUNT; since git 2.31."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _git(*arguments: str, timeout_s: int, variables: Mapping[str, str] | None = None) -> str | None:
    """None when git succeeds, else its error message. Git never asks for a password here."""
    environment = {name: value for name, value in full_environment().items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C", **(variables or {})}
    # The folder may belong to another user, as in a container; nothing in it is run.
    command = ["git", "-c", "safe.directory=*", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s} s"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in without_secrets(done.stderr).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "git failed")


def _archive_request(upstream: Upstream, address: str, method: str = "GET") -> urllib.request.Request:
    import urllib.request

    plain, authorization = opened(address)
    if not plain.startswith("https://"):
        raise InstallError(
            f"git is needed to get source code from {without_secrets(address)}.",
            "Install git, or use a folder as the source.",
        )
    found = urllib.request.Request(f"{plain.removesuffix('.git')}/archive/{upstream.commit}.tar.gz", method=method)
    if authorization:
        # Not sent to a server that this one names.
        found.add_unredirected_header(*authorization.split(": ", 1))
    return found


def _unreachable(upstream: Upstream, address: str, detail: str) -> InstallError:
    return InstallError(
        f"The source of {upstream.name} cannot be reached: {without_secrets(address)} ({detail}).",
        "Connect this machine to the network, or use a folder or a mirror with --source.",
    )
