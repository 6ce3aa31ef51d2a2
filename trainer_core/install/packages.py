"""The packages in Easel's environments with their licences, also as a software bill of materials. Standard library only."""

from __future__ import annotations

import datetime as dt
import sysconfig
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from trainer_core import __version__, places
from trainer_core.engines import manifest
from trainer_core.install.installed import engine_home, installed
from trainer_core.text import printable

OWN = "easel"
"""The name of the environment of Easel itself."""
_LONGEST = 100
"""A longer licence in the old field is its text, not its name. Source: Core metadata specifications, License."""


@dataclass(frozen=True)
class Package:
    """A package as its own metadata describe it; `licence` is "" if they do not say it. `is_expression`: in SPDX's form.

    `repository` is the address of source code that comes from no registry of packages.
    """

    environment: str
    name: str
    version: str
    licence: str
    is_expression: bool = False
    repository: str = ""

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return asdict(self)


def found() -> list[Package]:
    """The packages of each environment: Easel's own, and those of the installed engines, whose source code is one more package."""
    packages = list(_of(OWN, Path(sysconfig.get_paths()["purelib"])))
    folders = sorted(places.engines().iterdir()) if places.engines().is_dir() else []
    for engine in (folder.name for folder in folders):
        if installed(engine) is None:
            continue
        table = manifest.read(engine)
        if table.has_source:
            packages.append(
                Package(engine, table.upstream.name, table.commit, table.licence, True, table.upstream.repository)
            )
        for site in sorted((engine_home(engine) / "venv" / "lib").glob("python*/site-packages")):
            packages += _of(engine, site)
    return packages


def _of(environment: str, site: Path) -> Iterator[Package]:
    rows = {}
    for each in metadata.distributions(path=[str(site)]):
        about = each.metadata
        name = about["Name"]
        if name:
            rows[name.lower()] = (name, each.version, *_licence(about))
    for _, (name, version, licence, is_expression) in sorted(rows.items()):
        yield Package(environment, printable(name, 200), printable(version, 100), licence, is_expression)


def _licence(about: Any) -> tuple[str, bool]:
    """The licence, and whether it is an SPDX expression.

    Source: Core metadata specifications, License-Expression, License and Classifier.
    """
    if expression := about["License-Expression"]:
        return printable(expression, 300), True
    old = (about["License"] or "").strip()
    if old and len(old) <= _LONGEST and "\n" not in old and old.upper() != "UNKNOWN":
        return printable(old, _LONGEST), False
    classes = [
        text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or () if text.startswith("License ::")
    ]
    return printable(", ".join(sorted(set(classes))), 300), False


def bill(packages: Sequence[Package]) -> Mapping[str, Any]:
    """The packages as a CycloneDX document. Source: CycloneDX 1.6, JSON reference."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "component": {
                "type": "application",
                "bom-ref": "easel-trainer",
                "name": "easel-trainer",
                "version": __version__,
            },
        },
        "components": [_component(each) for each in packages],
    }


def _component(package: Package) -> dict[str, Any]:
    kind = {"expression": package.licence} if package.is_expression else {"license": {"name": package.licence}}
    registered = {"purl": f"pkg:pypi/{package.name.lower().replace('_', '-')}@{package.version}"}
    where = {"externalReferences": [{"type": "vcs", "url": package.repository}]} if package.repository else registered
    return {
        "type": "library",
        "bom-ref": f"{package.environment}/{package.name}@{package.version}",
        "group": package.environment,
        "name": package.name,
        "version": package.version,
        **where,
        **({"licenses": [kind]} if package.licence else {}),
    }
