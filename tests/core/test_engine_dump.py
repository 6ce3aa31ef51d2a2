"""An installation records the engine's own options, and works without."""

from __future__ import annotations

import argparse

import pytest

from tests.core import test_environments
from trainer_core import engine_dump, engine_options, environments

engine = test_environments.engine
DUMP = """
import argparse, importlib.metadata, os

def programs(path, options_of):
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=int(importlib.metadata.version("tinytrainer")[0]))
    yield "bake", "bake.py", options_of(parser)
    parser.add_argument("--heat", type=float)
    yield "fry", "fry.py", options_of(parser)
    yield "boil", "boil.py", "there is no water"
    yield "dataset", "dataset", {"size": {"type": "int"}}
    open("litter", "w").close()
"""


def install():
    said = []
    found = environments.install("tiny", "cpu", report=said.append)
    return found, "\n".join(said)


def recording(engine, text=DUMP):
    """Makes the engine one that lists its options."""
    table = engine.package / "backend.toml"
    table.write_text(table.read_text() + '\n[options]\ndump = "dump_options.py"\n')
    (engine.package / "dump_options.py").write_text(text)


def test_an_installation_records_the_options_of_what_it_installed(engine):
    recording(engine)
    found, said = install()
    assert "Recorded the options of Tiny: 3 tables" in said
    schema = engine_options.dump_folder("tiny")
    assert sorted(path.name for path in schema.iterdir()) == ["bake.json", "common.json", "dataset.json", "fry.json"]
    bake, fry = engine_options.load(schema / "bake.json"), engine_options.load(schema / "fry.json")
    assert bake.version == found.version
    assert bake.options == {"steps": engine_options.Option("int", default=1)}
    assert set(fry.options) == {"steps", "heat"}
    assert "heat" not in (schema / "common.json").read_text()
    assert list(found.home.rglob("litter")) == []
    assert list(found.home.glob(".schema-*")) == []


def test_new_options_are_recorded_when_the_engine_is_verified_and_gone_with_it(engine):
    recording(engine)
    install()
    file = engine.package / "dump_options.py"
    file.write_text(file.read_text().replace("--heat", "--warmth"))
    environments.verify("tiny", report=lambda line: None)
    assert "warmth" in engine_options.load(engine_options.dump_folder("tiny") / "fry.json").options
    environments.remove("tiny", report=lambda line: None)
    assert not engine_options.dump_folder("tiny").exists()


def test_an_installation_does_not_fail_by_it_and_keeps_an_older_record(engine):
    recording(engine)
    install()
    (engine.package / "dump_options.py").write_text("raise LookupError('no list today')\n")
    said = []
    environments.verify("tiny", report=said.append)
    assert any("could not be recorded" in line and "no list today" in line for line in said)
    assert (engine_options.dump_folder("tiny") / "bake.json").is_file()


def test_an_engine_that_lists_nothing_says_nothing(engine):
    _, said = install()
    assert "options" not in said
    assert not engine_options.dump_folder("tiny").exists()


def parser():
    made = argparse.ArgumentParser()
    made.add_argument("place", help="not an option")
    made.add_argument("--text", default="it")
    made.add_argument("--on", action="store_true")
    made.add_argument("--many", nargs="*", type=float, choices=[0.5, float("inf")])
    made.add_argument("--again", action="append")
    made.add_argument("--odd", type=lambda text: text, default=("a", 1))
    made.add_argument("--long", default="x" * 500)
    made.add_argument("--two-words", type=int, default=argparse.SUPPRESS)
    return made


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("text", {"type": "str", "action": "StoreAction", "default": "it"}),
        ("on", {"type": "bool", "action": "StoreTrueAction", "default": False}),
        ("many", {"type": "float", "action": "StoreAction", "many": True, "choices": [0.5, "inf"]}),
        ("again", {"type": "str", "action": "AppendAction", "many": True}),
        ("odd", {"type": "any", "action": "StoreAction", "default": ["a", 1]}),
        # Prose is the engine's own.
        ("long", {"type": "str", "action": "StoreAction"}),
        ("two_words", {"type": "int", "action": "StoreAction"}),
    ],
)
def test_a_parser_is_recorded_as_it_is(name, entry):
    found = engine_dump.options_of(parser())
    assert found[name] == entry
    assert "place" not in found
    assert "help" not in found


def test_what_parsers_share_is_what_is_the_same_in_all():
    one, two = {"a": {"type": "int"}, "b": {"type": "int"}}, {"a": {"type": "int"}, "b": {"type": "float"}}
    assert engine_dump.shared([one, two]) == {"a": {"type": "int"}}
    assert engine_dump.shared([one]) == {}
