"""A fresh machine gets every package that the project names."""

import re
import tomllib

import pytest

from tests.support.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEST_TOOLS = PROJECT["optional-dependencies"]["dev"]


def named(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize(
    ("file", "wanted"), [("suite", PROJECT["dependencies"]), ("dev", [*PROJECT["dependencies"], *TEST_TOOLS])]
)
def test_every_dependency_is_pinned(file, wanted):
    pinned = {named(line) for line in (ROOT / "requirements" / f"{file}.txt").read_text().splitlines() if "==" in line}
    missing = {named(each) for each in wanted} - pinned
    assert not missing, f"run `python requirements/refresh.py suite`: {missing}"
