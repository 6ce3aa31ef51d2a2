"""The list of packages with their licences, of Easel's own environment and of an engine's."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.support import tiny_engine
from trainer_core.cli import easel
from trainer_core.install import environments, packages

engine = tiny_engine.engine
WRITTEN = {
    "new-1.0.dist-info": "Metadata-Version: 2.4\nName: new\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n",
    "old-2.0.dist-info": "Metadata-Version: 2.1\nName: Old\nVersion: 2.0\nLicense: BSD 3-Clause\n",
    "text-3.dist-info": f"Metadata-Version: 2.1\nName: text\nVersion: 3\nLicense: {'all of it ' * 40}\n"
    "Classifier: License :: OSI Approved :: MIT License\nClassifier: Programming Language :: Python\n",
    "silent-4.dist-info": "Metadata-Version: 2.1\nName: silent\nVersion: 4\nLicense: UNKNOWN\n",
    "broken.dist-info": "nothing",
}


def test_licences_are_read_in_each_form_in_which_packages_state_them(tmp_path):
    for folder, text in WRITTEN.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_text(text)
    found = {each.name: (each.licence, each.is_expression) for each in packages._of("x", tmp_path)}
    assert found == {
        "new": ("MIT OR Apache-2.0", True),
        "Old": ("BSD 3-Clause", False),
        "text": ("MIT License", False),
        "silent": ("", False),
    }


@pytest.mark.usefixtures("engine")
def test_the_packages_of_an_engine_are_listed_and_written_as_a_bill_of_materials(tmp_path):
    environments.install("tiny", "cpu", report=lambda _: None, tried=False)
    file = tmp_path / "easel.cdx.json"
    answer = CliRunner().invoke(easel, ["backends", "packages", "--sbom", str(file), "--json"])
    assert answer.exit_code == 0, answer.output
    listed = {(each["environment"], each["name"]) for each in json.loads(answer.output)}
    assert {("easel", "numpy"), ("tiny", "tinytrainer")} <= listed
    bill = json.loads(file.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(references) == len(set(references)) == len(listed)
    (numpy,) = [each for each in bill["components"] if each["bom-ref"].startswith("easel/numpy@")]
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    assert "BSD-3-Clause" in numpy["licenses"][0]["expression"]
    again = CliRunner().invoke(easel, ["backends", "packages", "--sbom", str(file)])
    assert again.exit_code != 0, "an existing file is not replaced"
