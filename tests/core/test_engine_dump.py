"""An installation records the engine's own options, and works without that record."""

from __future__ import annotations

import argparse
import json

import pytest

from tests.support import tiny_engine
from trainer_core.engines import options
from trainer_core.errors import InstallError
from trainer_core.install import environments
from trainer_core.install.inside import dump

engine = tiny_engine.engine
DUMP = """
import argparse, importlib.metadata, os

def programs(path, options_of):
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=int(importlib.metadata.version("tinytrainer")[0]))
    yield "bake", "bake.py", options_of(parser)
    parser.add_argument("--heat", type=float)
    yield "fry", "fry.py", options_of(parser)
    yield "boil", "boil.py", "it cannot be imported"
    yield "dataset", "dataset", {"size": {"type": "int"}}
    open("litter", "w").close()
"""


def install():
    lines = []
    found = environments.install("tiny", "cpu", report=lines.append)
    return found, "\n".join(lines)


def add_dump_script(engine, text=DUMP, ships=""):
    """Adds the script that lists the engine's options; `ships` is the version of a record that comes with the engine."""
    if ships:
        (engine.package / "schema").mkdir()
        record = {"program": "bake.py", "version": ships, "options": {"steps": {"type": "int"}}}
        (engine.package / "schema" / "bake.json").write_text(json.dumps(record))
    (engine.package / "dump_options.py").write_text(text)


def test_an_installation_records_the_options_of_the_engine(engine):
    add_dump_script(engine)
    found, output = install()
    assert "Recorded the options of Tiny: 3 tables" in output
    schema = options.dump_folder("tiny")
    assert sorted(path.name for path in schema.iterdir()) == ["bake.json", "common.json", "dataset.json", "fry.json"]
    bake, fry = options.load(schema / "bake.json"), options.load(schema / "fry.json")
    assert bake.version == found.version
    assert bake.options == {"steps": options.Option("int", default=1)}
    assert set(fry.options) == {"steps", "heat"}
    assert "heat" not in (schema / "common.json").read_text()
    assert list(found.home.rglob("litter")) == []
    assert list(found.home.glob(".schema-*")) == []


def test_a_shipped_record_is_enough_until_options_are_requested(engine):
    add_dump_script(engine, ships="1.0")
    found, output = install()
    assert "options" not in output
    assert not options.dump_folder("tiny").exists()
    lines = []
    folder = environments.record_options("tiny", report=lines.append)
    assert folder == options.dump_folder("tiny")
    assert options.load(folder / "bake.json").version == found.version
    assert ["Recorded the options of Tiny" in line for line in lines] == [True]
    written = (folder / "bake.json").stat().st_mtime_ns
    assert environments.record_options("tiny", report=lines.append) == folder
    assert ((folder / "bake.json").stat().st_mtime_ns, len(lines)) == (written, 1)


def test_options_of_a_version_without_a_shipped_record_are_recorded_at_once(engine):
    add_dump_script(engine, ships="0.9")
    _, output = install()
    assert "Recorded the options of Tiny" in output
    assert (options.dump_folder("tiny") / "bake.json").is_file()


def test_a_request_for_options_that_cannot_be_recorded_is_an_error(engine):
    with pytest.raises(InstallError, match="not installed"):
        environments.record_options("tiny")
    install()
    with pytest.raises(InstallError, match="does not list its options"):
        environments.record_options("tiny", report=lambda line: None)
    add_dump_script(engine, "raise LookupError('listing failed')\n", ships="1.0")
    with pytest.raises(InstallError, match="listing failed"):
        environments.record_options("tiny", report=lambda line: None)


def test_verify_records_new_options_and_remove_deletes_them(engine):
    add_dump_script(engine)
    install()
    file = engine.package / "dump_options.py"
    file.write_text(file.read_text().replace("--heat", "--warmth"))
    environments.verify("tiny", report=lambda line: None)
    assert "warmth" in options.load(options.dump_folder("tiny") / "fry.json").options
    environments.remove("tiny", report=lambda line: None)
    assert not options.dump_folder("tiny").exists()


def test_verify_does_not_fail_when_recording_fails_and_keeps_the_older_record(engine):
    add_dump_script(engine)
    install()
    (engine.package / "dump_options.py").write_text("raise LookupError('listing failed')\n")
    lines = []
    environments.verify("tiny", report=lines.append)
    assert any("could not be recorded" in line and "listing failed" in line for line in lines)
    assert (options.dump_folder("tiny") / "bake.json").is_file()


def test_an_engine_without_a_list_of_options_gets_no_record(engine):
    _, output = install()
    assert "options" not in output
    assert not options.dump_folder("tiny").exists()


def parser():
    found = argparse.ArgumentParser()
    found.add_argument("place", help="not an option")
    found.add_argument("--text", default="it")
    found.add_argument("--on", action="store_true")
    found.add_argument("--many", nargs="*", type=float, choices=[0.5, float("inf")])
    found.add_argument("--again", action="append")
    found.add_argument("--odd", type=lambda text: text, default=("a", 1))
    found.add_argument("--long", default="x" * 500)
    found.add_argument("--two-words", type=int, default=argparse.SUPPRESS)
    return found


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("text", {"type": "str", "action": "StoreAction", "default": "it"}),
        ("on", {"type": "bool", "action": "StoreTrueAction", "default": False}),
        ("many", {"type": "float", "action": "StoreAction", "many": True, "choices": [0.5, "inf"]}),
        ("again", {"type": "str", "action": "AppendAction", "many": True}),
        ("odd", {"type": "any", "action": "StoreAction", "default": ["a", 1]}),
        # Long texts are not recorded.
        ("long", {"type": "str", "action": "StoreAction"}),
        ("two_words", {"type": "int", "action": "StoreAction"}),
    ],
)
def test_the_options_of_a_parser_are_recorded(name, entry):
    found = dump.options_of(parser())
    assert found[name] == entry
    assert "place" not in found
    assert "help" not in found


def test_shared_options_are_equal_in_all_parsers():
    one, two = {"a": {"type": "int"}, "b": {"type": "int"}}, {"a": {"type": "int"}, "b": {"type": "float"}}
    assert dump.shared([one, two]) == {"a": {"type": "int"}}
    assert dump.shared([one]) == {}
