"""A folder with the packages of requirement files, as they are in the registry: for machines without one. Standard library only.

uv has no command for this. It writes down, though, which files it would take (`uv pip compile --format pylock.toml`), with address, size
and hash. They are fetched here, and each is checked against its hash.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from trainer_core import places
from trainer_core.errors import InstallError
from trainer_core.files import read_toml
from trainer_core.install import unpacking
from trainer_core.install.addresses import without_secrets
from trainer_core.install.unpacking import UnpackingError
from trainer_core.install.uv import decisive_line, run_logged, uv_environment
from trainer_core.text import printable

Report = Callable[[str], None]

_ANSWER_S = 60
_AT_ONCE = 4
_LONGEST_PROJECT = 1 << 20
_PROJECT = re.compile(r"(?:\./)?[^/]+/pyproject\.toml")
_NAMED = re.compile(r"\s*[A-Za-z0-9][^\r\n\\]*\Z")
_SETUPTOOLS = ("setuptools>=40.8.0",)
"""What builds a source package that does not say what does. Source: PEP 518."""


@dataclass(frozen=True)
class File:
    """A file of the registry. `size` is 0 if the registry does not say it."""

    name: str
    address: str
    sha256: str
    size: int

    @property
    def is_source(self) -> bool:
        """Whether it has to be built where it is installed."""
        return not self.name.endswith(".whl")


def wanted(
    uv: Path,
    python: Path,
    requirements: Sequence[Path],
    log: Path,
    *,
    options: Sequence[str] = ("--no-deps",),
    variables: Mapping[str, str] | None = None,
) -> list[File]:
    """The file of each package that these requirement files pin, for this Python on this machine.

    Raises:
        InstallError: the registry cannot be reached, or has none of the pinned files of a package.
    """
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch, "pylock.toml")
        command = [str(uv), "pip", "compile", "--quiet", "--format", "pylock.toml", "--python", str(python)]
        command += [*options, "--output-file", str(lock), *map(str, requirements)]
        status, output = run_logged(command, log, None, {**uv_environment(), **(variables or {})}, cwd=scratch)
        if status:
            raise InstallError(
                f"The packages could not be found: {decisive_line(output)}.", f"The full output is in {log}"
            )
        table = read_toml(lock, InstallError)
    pinned = {text for file in requirements for text in re.findall(r"sha256:([0-9a-f]{64})", file.read_text("utf-8"))}
    return [_best(package, pinned) for package in table.get("packages", ())]


def build_requirements(sources: Iterable[Path]) -> list[str]:
    """What source packages say that they are built with.

    Raises:
        InstallError: one is no archive that can be read, or says what is no requirement.
    """
    import tomllib

    found: dict[str, None] = {}
    for source in sources:
        damaged = InstallError(
            f"The source package {printable(source.name, 200)} cannot be read.", "Use another registry."
        )
        try:
            table: Any = tomllib.loads(unpacking.read_one(source, _PROJECT, _LONGEST_PROJECT).decode("utf-8"))
        except (UnpackingError, ValueError, RecursionError) as error:
            raise damaged from error
        system = table.get("build-system", {})
        wanted = system.get("requires", []) if isinstance(system, dict) else None
        # Each becomes a line of a file in which a line can also be an option.
        if not isinstance(wanted, list) or not all(isinstance(each, str) and _NAMED.match(each) for each in wanted):
            raise damaged
        found |= dict.fromkeys(wanted or _SETUPTOOLS)
    return list(found)


def fetch(files: Sequence[File], folder: Path, report: Report) -> None:
    """Fetches the files into a folder; those that are there already are only checked.

    Raises:
        InstallError: one cannot be fetched, or is not what was pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if sha256_of(folder / file.name) != file.sha256]
    if missing:
        size = sum(file.size for file in missing)
        report(f"Downloading {len(missing)} files" + (f", {size / 1e9:.2f} GB." if size else "."))
    known = _credentials()
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for _ in pool.map(lambda file: _fetch(file, folder, known), missing):
            pass


def part_of(file: File) -> str:
    """The name of a file while it is fetched; nobody else may fetch it into the same folder meanwhile."""
    return f".{file.name}.part"


def sha256_of(file: Path) -> str:
    """The hash of a file; "" if it is not there."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def _best(package: Mapping[str, Any], pinned: set[str]) -> File:
    """The file to take of a package; all that uv names fit this machine."""
    wheels = [file for row in package.get("wheels", ()) for file in _file(row)]
    sources = list(_file(package.get("sdist") or package.get("archive") or {}))
    fitting = [file for file in (*wheels, *sources) if not pinned or file.sha256 in pinned]
    if not fitting:
        raise InstallError(
            f"The registry has none of the pinned files of {package.get('name')}.", "Use another registry."
        )
    return max(fitting, key=_rank)


def _rank(file: File) -> tuple[bool, bool, bool, int]:
    """Compiled for this Python before compiled for several, that before plain Python, that before source; then the last build."""
    tags = file.name.removesuffix(".whl").split("-")
    number = re.match(r"\d+", tags[2]) if len(tags) == 6 else None
    exact = len(tags) > 4 and tags[-2] == tags[-3]
    return not file.is_source, tags[-1] != "any", exact, int(number[0]) if number else 0


def _file(row: Mapping[str, Any]) -> Iterator[File]:
    address = str(row.get("url") or (places.real(Path(row["path"])).as_uri() if row.get("path") else ""))
    sha256 = str((row.get("hashes") or {}).get("sha256", ""))
    if address and sha256:
        name = str(row.get("name") or unquote(urlsplit(address).path.rsplit("/", 1)[-1]))
        yield File(Path(name).name, address, sha256, int(row.get("size") or 0))


def _fetch(file: File, folder: Path, known: Mapping[str, str]) -> None:
    address, header = _without_password(file.address)
    header = header or known.get(urlsplit(address).netloc, "")
    request = urllib.request.Request(address)
    if header:
        request.add_unredirected_header("Authorization", header)
    part = folder / part_of(file)
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer, part.open("wb") as target:
            shutil.copyfileobj(answer, target, 1 << 20)
    except (OSError, ValueError, http.client.HTTPException) as error:
        part.unlink(missing_ok=True)
        reason = without_secrets(str(getattr(error, "reason", None) or error or type(error).__name__))
        raise InstallError(
            f"{file.name} could not be downloaded: {reason}.",
            "Run the same command again: it continues with what is missing.",
        ) from error
    if sha256_of(part) != file.sha256:
        part.unlink()
        raise InstallError(f"{file.name} is not the file that was pinned.", "Use another registry.")
    part.replace(folder / file.name)


def _credentials() -> dict[str, str]:
    """The header for each host of a registry whose address has a password."""
    found = {}
    for name, value in uv_environment().items():
        if "INDEX" in name or name == "UV_FIND_LINKS":
            for address in re.findall(r"https?://\S+", value):
                plain, header = _without_password(address)
                if header:
                    found[urlsplit(plain).netloc] = header
    return found


def _without_password(address: str) -> tuple[str, str]:
    """(the address without user and password, the header that carries them, or "")."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    header = "Basic " + base64.b64encode(unquote(user).encode()).decode() if at else ""
    return urlunsplit(parts._replace(netloc=host)), header
