"""The image of the worker: what its Dockerfile copies exists and is not ignored, and what it starts is there."""

import fnmatch
import importlib.util
import json
import re

import pytest

from tests.support.checkout import ROOT

FILE = ROOT / "docker" / "worker.Dockerfile"


@pytest.fixture(scope="module")
def instructions():
    """The instructions as (name, text), with continued lines joined and comments left out."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def texts(instructions, name):
    return [text for each, text in instructions if each == name]


def copied(instructions):
    """The paths in the checkout that are copied, and where each goes."""
    for text in texts(instructions, "COPY"):
        *sources, target = [word for word in text.split() if not word.startswith("--")]
        yield from ((source.rstrip("/"), target) for source in sources)


def test_it_is_made_of_known_instructions_and_begins_with_a_pinned_image(instructions):
    known = {"ARG", "FROM", "RUN", "USER", "WORKDIR", "ENV", "COPY", "ENTRYPOINT"}
    assert {name for name, _ in instructions} == known
    values = dict(text.split("=", 1) for text in texts(instructions, "ARG"))
    (base,) = texts(instructions, "FROM")
    assert base == "${BASE}"
    assert re.fullmatch(r"[a-z0-9./-]+:\d[\w.-]+", values["BASE"])


def test_whatever_it_copies_exists_and_is_not_ignored(instructions):
    rules = [
        line
        for line in FILE.with_name(f"{FILE.name}.dockerignore").read_text().splitlines()
        if line[:1] not in ("", "#")
    ]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    sources = {source for source, _ in copied(instructions)}
    for source in sources:
        assert (ROOT / source).exists(), source
    assert sources == kept
    assert all((ROOT / name).exists() and not fnmatch.fnmatch("docs/guide/x.md", name) for name in kept)


def test_it_copies_what_the_package_is_built_from(instructions):
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = {*build["targets"]["wheel"]["sources"], *build["only-include"]} - {"docs"}
    assert needed <= {source for source, _ in copied(instructions)}


def test_it_installs_the_pinned_library_with_hashes(instructions):
    (install,) = (text for text in texts(instructions, "RUN") if "installer.py" in text)
    assert "--require-hashes -r requirements/worker.txt" in install
    assert re.search(r"^runpod==", (ROOT / "requirements" / "worker.txt").read_text(), re.MULTILINE)


def test_versions_of_the_library_fit_those_of_the_suite():
    def pins(name):
        text = (ROOT / "requirements" / name).read_text()
        return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))

    suite, worker = pins("suite.txt"), pins("worker.txt")
    assert suite.keys() & worker.keys()
    assert {name: worker[name] for name in suite.keys() & worker.keys()} == {
        name: suite[name] for name in suite.keys() & worker.keys()
    }


def test_it_does_not_work_as_root_and_starts_the_worker(instructions):
    names = [name for name, _ in instructions]
    assert texts(instructions, "USER") == ["1000:1000"]
    assert names.index("USER") < names.index("COPY") < names.index("ENTRYPOINT")
    command = json.loads(texts(instructions, "ENTRYPOINT")[0])
    assert command[1] == "-m"
    assert importlib.util.find_spec(f"{command[2]}.__main__")


def test_it_contains_no_secret(instructions):
    assert not re.search(r"(?i)(key|token|secret|password)\w*\s*=", FILE.read_text(encoding="utf-8"))
