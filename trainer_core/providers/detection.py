"""Which platform this machine is. The variable EASEL_PROVIDER decides before everything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping

from trainer_core.errors import InstallError, wrong_use
from trainer_core.providers.table import LOCAL, PROVIDERS, Provider

OVERRIDE = "EASEL_PROVIDER"


def current(
    environment: Mapping[str, str] | None = None, modules: Collection[str] | None = None, root: str = "/"
) -> Provider:
    """The platform of this machine: the first row of the table that is recognised, or the one that EASEL_PROVIDER names.

    Keys such as RUNPOD_API_KEY mean nothing: users have them on their own machines. `modules` are the names of the loaded modules.

    Raises:
        InstallError: EASEL_PROVIDER names no platform that Easel knows.
    """
    environment = os.environ if environment is None else environment
    if chosen := environment.get(OVERRIDE, "").strip():
        return named(chosen)
    modules = sys.modules if modules is None else modules
    return next((each for each in PROVIDERS if _is(each, environment, modules, root)), LOCAL)


def named(name: str) -> Provider:
    """The platform with this id.

    Raises:
        InstallError: there is none.
    """
    known = {each.id: each for each in (*PROVIDERS, LOCAL)}
    if name not in known:
        raise wrong_use(
            InstallError(f"{OVERRIDE} names no platform that Easel knows.", f"Set it to one of: {', '.join(known)}.")
        )
    return known[name]


def _is(provider: Provider, environment: Mapping[str, str], modules: Collection[str], root: str) -> bool:
    """Whether this machine is such a platform; an empty variable counts as not set."""
    if any(all(environment.get(name) for name in group) for group in provider.variables):
        return True
    if provider.module and provider.module in modules and os.path.isdir(_below(root, provider.module_folder)):  # noqa: PTH112
        return True
    return any(os.path.exists(_below(root, file)) for file in provider.files)  # noqa: PTH110


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))  # noqa: PTH118 - called for every path of Easel's home
