"""Every available engine fulfils the contract, and an engine that cannot be loaded does not affect the others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_core import events, places
from trainer_core.engines import contract, registry
from trainer_core.engines.manifest import load_manifest
from trainer_core.engines.resume_contract import resumed_jobs
from trainer_core.errors import BackendError
from trainer_core.plan import fields
from trainer_core.problems import Problem


def guide(file: str) -> str:
    """The text of one file of the example in docs/adding.md; the first line of each file is its name."""
    text = (places.CHECKOUT / "docs" / "adding.md").read_text("utf-8")
    found = re.search(rf"```\w+\n(# {re.escape(file)}\b.*?)```", text, re.DOTALL)
    assert found, file
    return found[1]


PROJECT = tomllib.loads(guide("pyproject.toml"))["project"]
[(THIRD_PARTY, ENTRY)] = PROJECT["entry-points"]["trainer_core.backends"].items()
MANIFEST, MODULE = guide("my_engine/backend.toml"), guide("my_engine/__init__.py")

QUERY = """
import json
from trainer_core.engines.contract import check_contract
from trainer_core.engines import contract, registry
from trainer_core.engines.manifest import load_manifest
from trainer_core.engines.resume_contract import resumed_jobs
if any(backend.manifest.id == "my_engine" for backend in registry.available()):
    check_contract(registry.get("my_engine"))
known = [backend.manifest.id for backend in registry.available()]
print(json.dumps({"known": known, "broken": {name: str(error) for name, error in registry.broken().items()}}))
"""


def install(site: Path, name: str, modules: dict[str, str], entry: str) -> None:
    """Installs a package: modules, data, and the metadata with its entry point."""
    package, info = site / name, site / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    for file, text in modules.items():
        (package / file).write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[trainer_core.backends]\n{name} = {entry}\n")


def engines_found(*sites: Path) -> dict[str, Any]:
    """The engines that another Python process finds with these folders in its PYTHONPATH."""
    path = os.pathsep.join(str(site) for site in (*sites, places.CHECKOUT))
    command = [sys.executable, "-P", "-c", QUERY]
    answer = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=sites[0], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


BACKENDS = registry.available(include_hidden=True)
CELLS = [(backend, *cell) for backend in BACKENDS for cell in contract.cells(backend)]
NAMES = [f"{backend.manifest.id}-{family}-{method}" for backend, family, method in CELLS]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.manifest.id)
def test_every_engine_has_a_valid_manifest_and_parses_any_line(backend):
    contract.check_manifest(backend)
    contract.check_parse(backend)


@pytest.mark.parametrize(("backend", "family", "method"), CELLS, ids=NAMES)
def test_every_claimed_cell_is_rendered_completely(backend, family, method):
    for sampling in (False, True):
        contract.check_render(backend, contract.plan_of(backend, family, method, sampling=sampling))


@pytest.mark.parametrize(("backend", "family", "method"), CELLS, ids=NAMES)
def test_every_setting_changes_the_rendered_job_or_causes_a_problem(backend, family, method):
    contract.check_settings(backend, family, method)


@pytest.mark.parametrize(("backend", "family", "method"), CELLS, ids=NAMES)
def test_every_rendered_option_is_valid_for_the_engine(backend, family, method):
    contract.check_options(backend, family, method)


@pytest.mark.parametrize(("backend", "family", "method"), CELLS, ids=NAMES)
def test_no_native_value_overrides_a_setting_in_silence(backend, family, method):
    contract.check_natives(backend, family, method)


@pytest.mark.parametrize(("backend", "family", "method"), CELLS, ids=NAMES)
def test_every_cell_continues_from_the_state_that_it_is_given(backend, family, method):
    plan = contract.plan_of(backend, family, method, output__keep_states=2)
    assert len(resumed_jobs(backend, plan, contract.place())) == 3


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.manifest.id)
@given(line=st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_line_causes_an_exception(backend, line):
    found = backend.parse(line)
    assert found is None or isinstance(found, contract.LINE_EVENTS)


class Faulty:
    """An engine that fulfils the contract, except for the attributes that a test replaces."""

    def __init__(self, **replaced: Any) -> None:
        valid = registry.get("rehearsal")
        self.manifest = valid.manifest
        self.problems, self.render, self.parse = valid.problems, valid.render, valid.parse
        for name, value in replaced.items():
            setattr(self, name, value)


def render_without(*paths: str):
    """A `render` that ignores these settings without a Problem."""

    def render(plan, place):
        flat = {**fields.flatten(plan.model_dump()), **{path: fields.all_fields()[path].default for path in paths}}
        native = flat.pop("native", {})
        return registry.get("rehearsal").render(
            type(plan).model_validate({**fields.nest(flat), "native": native}), place
        )

    return render


def render_from_the_start(plan, place):
    """A `render` that ignores the state that the run continues from."""
    return registry.get("rehearsal").render(plan, replace(place, resume=None))


def render_with_a_secret(plan, place):
    """A `render` with a variable that only its value shows to be a secret."""
    spec = registry.get("rehearsal").render(plan, place)
    return replace(spec, steps=tuple(replace(step, environment={"STORE": "Host=h;Password=pw"}) for step in spec.steps))


def parse_badly(line):
    return int(line.split("epoch ")[1]) if "epoch " in line else None


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (Faulty(), ""),
        (Faulty(render=render_without("schedule.seed")), "no Problem reports it: schedule.seed."),
        (Faulty(render=render_without("optimizer.d0")), "optimizer.d0 (with optimizer.name 'Prodigy')"),
        (Faulty(render=render_from_the_start), "must differ from one that starts at step 0"),
        (Faulty(render=render_with_a_secret), "STORE: a job must not contain secrets"),
        (Faulty(parse=lambda line: events.Notice("error", line)), "'' must not become an event"),
        (Faulty(problems=lambda plan, *_: [Problem("model.path", "error", "No.")]), "No."),
        (Faulty(parse=parse_badly), "invalid literal"),
    ],
)
def test_an_engine_that_violates_the_contract_causes_an_error(faulty, message):
    if not message:
        contract.check_contract(faulty)
        return
    with pytest.raises((AssertionError, ValueError), match=re.escape(message)):
        contract.check_contract(faulty)


def test_an_option_of_a_setting_that_is_still_listed_as_native_is_named(monkeypatch):
    kohya = registry.get("kohya")
    rules = kohya.manifest.options
    owned = tuple(name for name in rules.owned if name != "noise_offset")
    changed = replace(kohya.manifest)
    vars(changed)["options"] = replace(rules, owned=owned, native={**rules.native, "noise": ("noise_offset",)})
    monkeypatch.setattr(type(kohya), "manifest", changed)
    contract.check_settings(kohya, "sd15", "lora")
    with pytest.raises(AssertionError, match=re.escape("as native, but a setting determines them: noise_offset (sch")):
        contract.check_natives(kohya, "sd15", "lora")


def test_our_engines_are_usable_and_the_hidden_one_is_not_offered():
    assert registry.broken() == {}
    assert [backend.manifest.id for backend in registry.available()] == ["kohya", "musubi", "simpletuner"]
    assert registry.get("rehearsal").manifest.hidden


def test_the_engine_of_a_third_party_package_is_found_and_fulfils_the_contract(tmp_path):
    install(tmp_path, THIRD_PARTY, {"__init__.py": MODULE, "backend.toml": MANIFEST}, ENTRY)
    found = engines_found(tmp_path)
    assert found == {"known": ["kohya", "musubi", THIRD_PARTY, "simpletuner"], "broken": {}}
    path = os.pathsep.join((str(tmp_path), str(places.CHECKOUT)))
    command = [sys.executable, "-P", "-m", "trainer_core.cli", "backends", "list"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    row = next(line for line in done.stdout.splitlines() if line.startswith(THIRD_PARTY))
    assert row.endswith("runs in Easel's own environment")


def test_broken_packages_are_reported_and_do_not_affect_others(tmp_path):
    install(tmp_path, "shattered", {"__init__.py": "import no_such_thing"}, "shattered:backend")
    install(tmp_path, "untidy", {"__init__.py": "backend = object()"}, "untidy:backend")
    install(tmp_path, "rude", {"__init__.py": "1 / 0"}, "rude:backend")
    files = {"__init__.py": MODULE, "backend.toml": MANIFEST, "options.toml": "nonsense = 1"}
    install(tmp_path, THIRD_PARTY, files, ENTRY)
    found = engines_found(tmp_path)
    assert found["known"] == ["kohya", "musubi", "simpletuner"]
    assert set(found["broken"]) == {"shattered", "untidy", "rude", THIRD_PARTY}
    assert "options.toml has an unknown key: 'nonsense'" in found["broken"][THIRD_PARTY]
    assert "no_such_thing" in found["broken"]["shattered"]
    assert "lacks problems, render, parse" in found["broken"]["untidy"]


def test_a_third_party_package_cannot_replace_a_known_engine(tmp_path):
    manifest = MANIFEST.replace(f'"{THIRD_PARTY}"', '"kohya"')
    install(tmp_path, THIRD_PARTY, {"__init__.py": MODULE, "backend.toml": manifest}, ENTRY)
    found = engines_found(tmp_path)
    assert found["known"] == ["kohya", "musubi", "simpletuner"]
    assert "another engine called kohya" in found["broken"][f"kohya ({THIRD_PARTY})"]


def test_another_package_called_backends_is_reported(tmp_path):
    (tmp_path / "backends").mkdir()
    (tmp_path / "backends" / "__init__.py").write_text("")
    install(tmp_path, THIRD_PARTY, {"__init__.py": MODULE, "backend.toml": MANIFEST}, ENTRY)
    found = engines_found(tmp_path)
    assert found["known"] == [THIRD_PARTY]
    assert str(tmp_path / "backends") in found["broken"]["backends"]


def test_an_incomplete_manifest_is_an_error_that_names_the_key(tmp_path):
    (file := tmp_path / "backend.toml").write_text('id = "x"\ntitle = "X"')
    with pytest.raises(BackendError, match="lacks the key 'licence'"):
        load_manifest(file)
    file.write_text("id = ")
    with pytest.raises(BackendError, match="is not TOML"):
        load_manifest(file)
    with pytest.raises(BackendError, match="There is no training engine called 'nobody'"):
        registry.get("nobody")
