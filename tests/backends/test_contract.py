"""Every engine that is found keeps the seam's contract, and one that cannot be loaded breaks no other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.backends.contract import check_contract
from trainer_core import places, registry
from trainer_core.errors import BackendError


def guide(file: str) -> str:
    """A file of the example in docs/adding.md, which begins with its name."""
    text = (places.CHECKOUT / "docs" / "adding.md").read_text("utf-8")
    found = re.search(rf"```\w+\n(# {re.escape(file)}\b.*?)```", text, re.DOTALL)
    assert found, file
    return found[1]


PROJECT = tomllib.loads(guide("pyproject.toml"))["project"]
[(OUTSIDE, ENTRY)] = PROJECT["entry-points"]["trainer_core.backends"].items()
MANIFEST, MODULE = guide("my_engine/backend.toml"), guide("my_engine/__init__.py")

ASK = """
import json
from tests.backends.contract import check_contract
from trainer_core import registry
if any(backend.manifest.id == "my_engine" for backend in registry.available()):
    check_contract(registry.get("my_engine"))
known = [backend.manifest.id for backend in registry.available()]
print(json.dumps({"known": known, "broken": {name: str(error) for name, error in registry.broken().items()}}))
"""


def install(site: Path, name: str, modules: dict[str, str], entry: str) -> None:
    """Lays a package where an installer would: modules, data, and the metadata that names its entry point."""
    package, info = site / name, site / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    for file, text in modules.items():
        (package / file).write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[trainer_core.backends]\n{name} = {entry}\n")


def asked(*sites: Path) -> dict[str, Any]:
    """What another Python process finds when these folders are on its path as well."""
    path = os.pathsep.join(str(site) for site in (*sites, places.CHECKOUT))
    command = [sys.executable, "-P", "-c", ASK]
    answer = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=sites[0], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", registry.available(include_hidden=True), ids=lambda backend: backend.manifest.id)
def test_every_engine_keeps_the_contract(backend):
    check_contract(backend)


def test_none_of_our_engines_is_broken_and_the_hidden_one_is_not_offered():
    assert registry.broken() == {}
    assert [backend.manifest.id for backend in registry.available()] == ["kohya", "simpletuner"]
    assert registry.get("rehearsal").manifest.hidden


def test_an_outside_package_appears_and_keeps_the_same_contract(tmp_path):
    install(tmp_path, OUTSIDE, {"__init__.py": MODULE, "backend.toml": MANIFEST}, ENTRY)
    found = asked(tmp_path)
    assert found == {"known": ["kohya", OUTSIDE, "simpletuner"], "broken": {}}
    path = os.pathsep.join((str(tmp_path), str(places.CHECKOUT)))
    command = [sys.executable, "-P", "-m", "trainer_core.cli", "doctor"]
    said = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"{OUTSIDE}: runs in Easel's own environment" in said.stdout


def test_a_broken_package_is_named_and_breaks_no_other(tmp_path):
    install(tmp_path, "shattered", {"__init__.py": "import no_such_thing"}, "shattered:backend")
    install(tmp_path, "untidy", {"__init__.py": "backend = object()"}, "untidy:backend")
    install(tmp_path, "rude", {"__init__.py": "1 / 0"}, "rude:backend")
    found = asked(tmp_path)
    assert found["known"] == ["kohya", "simpletuner"]
    assert set(found["broken"]) == {"shattered", "untidy", "rude"}
    assert "no_such_thing" in found["broken"]["shattered"]
    assert "lacks problems, render, parse" in found["broken"]["untidy"]


def test_a_stranger_cannot_take_the_place_of_a_known_engine(tmp_path):
    manifest = MANIFEST.replace(f'"{OUTSIDE}"', '"kohya"')
    install(tmp_path, OUTSIDE, {"__init__.py": MODULE, "backend.toml": manifest}, ENTRY)
    found = asked(tmp_path)
    assert found["known"] == ["kohya", "simpletuner"]
    assert "another engine called kohya" in found["broken"][f"kohya ({OUTSIDE})"]


def test_another_package_called_backends_is_named(tmp_path):
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "__init__.py").write_text("")
    install(tmp_path, OUTSIDE, {"__init__.py": MODULE, "backend.toml": MANIFEST}, ENTRY)
    found = asked(tmp_path)
    assert found["known"] == [OUTSIDE]
    assert str(tmp_path / "backends") in found["broken"]["backends"]


def test_a_manifest_that_lacks_something_says_what(tmp_path):
    (file := tmp_path / "backend.toml").write_text('id = "x"\ntitle = "X"')
    with pytest.raises(BackendError, match="dataset"):
        registry.load_manifest(file)
    file.write_text("id = ")
    with pytest.raises(BackendError, match="is not TOML"):
        registry.load_manifest(file)
    with pytest.raises(BackendError, match="There is no training engine called 'nobody'"):
        registry.get("nobody")
