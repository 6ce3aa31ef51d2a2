"""Where packages come from: what the user has set for uv or for pip, translated for both. Standard library only, Python 3.8 syntax.

uv reads no settings of pip, and Easel lets it read no configuration file, which could change what is installed. So the address that
replaces the package registry is taken from all places where users and companies set it. Every file is checked against its hash
whatever it comes from, except torch from PyTorch's own index or a mirror of it.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from trainer_core.errors import EaselError

TORCH_INDEX = "EASEL_TORCH_INDEX"
"""The variable with a mirror of https://download.pytorch.org/whl, which has one index per build, such as <mirror>/cu126."""
PYTORCH = "https://download.pytorch.org/whl"

# The variables with which users choose download addresses and caches. Every other UV_* and PIP_* variable changes what is
# installed or where, and some machines set them for every process (trainer_core.child).
_KEPT_FOR_UV = re.compile(
    r"UV_(INDEX_URL|DEFAULT_INDEX|INDEX|EXTRA_INDEX_URL|INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD)|INDEX_STRATEGY|FIND_LINKS"
    r"|KEYRING_PROVIDER|PYTHON_INSTALL_MIRROR|PYTHON_INSTALL_DIR|PYTHON_DOWNLOADS_JSON_URL|CACHE_DIR|LINK_MODE|CONCURRENT_DOWNLOADS"
    r"|HTTP_TIMEOUT|HTTP_RETRIES|INSECURE_HOST|OFFLINE|SYSTEM_CERTS|NATIVE_TLS|CUDA_DRIVER_VERSION)$"
)
_KEPT_FOR_PIP = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CERT|CLIENT_CERT|TRUSTED_HOST|PROXY|CONFIG_FILE|CACHE_DIR|DEFAULT_TIMEOUT)$"
)
_REGISTRIES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")


def for_uv(environ: Mapping[str, str]) -> Dict[str, str]:
    """The user's settings for uv: its own variables, or else the registry of uv's or pip's configuration."""
    kept = {name: value for name, value in environ.items() if _KEPT_FOR_UV.match(name)}
    if not any(kept.get(name) for name in _REGISTRIES):
        address = _uv_file_index(environ) or environ.get("PIP_INDEX_URL", "") or _pip_file_index(environ)
        if address:
            kept["UV_DEFAULT_INDEX"] = address
    return kept


def for_pip(environ: Mapping[str, str]) -> Dict[str, str]:
    """The user's settings for pip, which reads its own configuration: its variables, or else the registry that is set for uv."""
    kept = {name: value for name, value in environ.items() if _KEPT_FOR_PIP.match(name)}
    address = next((environ[name] for name in _REGISTRIES if environ.get(name)), "") or _uv_file_index(environ)
    if address and not kept.get("PIP_INDEX_URL") and not _pip_file_index(environ):
        # uv takes NAME=ADDRESS, too.
        kept["PIP_INDEX_URL"] = re.sub(r"^[\w-]+=(?=[a-z]+://)", "", address)
    return kept


def kept(environ: Mapping[str, str]) -> Dict[str, str]:
    """The variables of both, as they are, for a child process that reads them in the same way."""
    return {
        name: value
        for name, value in environ.items()
        if name == TORCH_INDEX or _KEPT_FOR_UV.match(name) or _KEPT_FOR_PIP.match(name)
    }


def torch_index(environ: Mapping[str, str]) -> str:
    """The address with PyTorch's indexes, one per build: PyTorch's own or a mirror; "" if torch comes from the user's folder."""
    if environ.get("UV_OFFLINE") and environ.get("UV_FIND_LINKS"):
        return ""
    return environ.get(TORCH_INDEX, "").rstrip("/") or PYTORCH


def torch_from(build: str, environ: Mapping[str, str]) -> Tuple[List[str], Dict[str, str]]:
    """(options, variables) with which uv takes torch from PyTorch's index of a build, from a mirror of it, or from the user's folder."""
    mirror = torch_index(environ)
    if not mirror:
        return [], {}
    if mirror == PYTORCH:
        return ["--torch-backend=" + build], {}
    # A variable, because an address may contain a password.
    return [], {"UV_INDEX": " ".join(filter(None, (mirror + "/" + build, environ.get("UV_INDEX"))))}


def _uv_file_index(environ: Mapping[str, str]) -> str:
    """The registry that the configuration files of uv set; "" if none, or on a Python that cannot read them.

    Source: uv documentation, "Configuration files": the user's file counts more than the system's.
    """
    if sys.version_info < (3, 11):
        return ""
    from trainer_core.files import read_toml

    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    named = environ.get("UV_CONFIG_FILE")
    for file in [named] if named else [os.path.join(home, "uv", "uv.toml"), "/etc/uv/uv.toml"]:
        try:
            table = read_toml(Path(file))
        except EaselError:
            continue
        for address in _addresses(table):
            return address
    return ""


def _addresses(table: Mapping[str, Any]) -> Iterator[str]:
    own = table.get("pip")
    for section in (table, own if isinstance(own, dict) else {}):
        rows = section.get("index")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and row.get("default") is True and isinstance(row.get("url"), str):
                yield row["url"]
        if isinstance(section.get("index-url"), str):
            yield section["index-url"]


def _pip_file_index(environ: Mapping[str, str]) -> str:
    """The registry that the configuration files of pip set; "" if none.

    Source: pip documentation, "Configuration": the user's files count more than the system's.
    """
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    files = [os.path.join(home, "pip", "pip.conf"), os.path.expanduser("~/.pip/pip.conf"), "/etc/pip.conf"]
    named = environ.get("PIP_CONFIG_FILE")
    if named:
        files = [] if named == os.devnull else [named, *files]
    for file in files:
        found = configparser.RawConfigParser(strict=False)
        try:
            found.read(file, "utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            address = found.get(section, "index-url", fallback="").strip()
            if address:
                return address
    return ""
