"""The help of the command line, and how it prints tables."""

import re

import click
import pytest
from click.testing import CliRunner

from trainer_core import places, policies, profiles
from trainer_core.cli import easel, show

WIDTH = 80


def commands(command=easel, name="easel"):
    """Every command of the program with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            yield from commands(command.get_command(context, each), f"{name} {each}")


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_has_a_help_text(name, command):
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[0]}"


@pytest.mark.parametrize(("name", "group"), [(n, c) for n, c in commands() if isinstance(c, click.Group)])
def test_no_line_of_a_list_of_commands_is_cut(name, group):
    shown = CliRunner().invoke(group, ["--help"], terminal_width=WIDTH, prog_name=name).output
    listed = shown.partition("Commands:")[2]
    assert listed.strip()
    assert "..." not in listed


@pytest.mark.parametrize(
    "arguments", [["presets", "pny"], ["policies", "--family", "pny"], ["models", "list", "--family", "pny"]]
)
def test_an_unknown_family_is_wrong_usage_and_not_an_empty_list(arguments):
    done = CliRunner().invoke(easel, arguments)
    assert done.exit_code == 2
    assert "'pny' is not a family. Known: " in done.output


def test_profiles_are_listed_by_family_and_by_lineage():
    def listed(family):
        done = CliRunner().invoke(easel, ["profiles", "list", "--family", family])
        return done.exit_code, {row.split()[0] for row in done.output.splitlines()[1:] if row and done.exit_code == 0}

    shipped = profiles.known().values()
    assert listed("pony") == (0, {each.id for each in shipped if each.lineage == "pony"})
    assert listed("sdxl")[1] > listed("pony")[1]
    assert listed("pny") == (2, set())


def test_in_a_pipe_a_table_has_one_complete_line_per_row(monkeypatch):
    monkeypatch.setattr(show.out, "_width", 40)
    rows = CliRunner().invoke(easel, ["policies"]).output.splitlines()[1:]
    expected = policies.shipped()
    assert [row.split()[0] for row in rows] == list(expected)
    assert all(row.endswith(one.explanation) for row, one in zip(rows, expected.values(), strict=True))


def test_on_a_terminal_the_first_column_is_never_cut_and_nothing_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(show.out, "_force_terminal", True)
    for width, is_table in ((120, True), (40, False)):
        monkeypatch.setattr(show.out, "_width", width)
        _check_table(capsys, is_table)


def _check_table(capsys, is_table):
    name, path = "optimizer.text_encoder_learning_rate", "/a/folder/" + "with-a-long-name/" * 3
    show.table(("setting", "value", "source"), [(name, path, "you"), ("short", "1", "the default")])
    lines = capsys.readouterr().out.splitlines()
    assert "…" not in "".join(lines)
    if is_table:
        assert name in lines[1]
        assert path in "".join(line.removeprefix(name).replace("you", "").strip() for line in lines[1:-1])
    else:
        assert lines[:3] == [name, f"  value: {path}", "  source: you"], "too narrow for columns"


def shown():
    """Every `easel` command line in the docs, as words, except in the dated records."""
    pages = sorted((places.CHECKOUT / "docs").rglob("*.md"))
    for file in [places.CHECKOUT / "README.md", *(page for page in pages if page.parent.name != "records")]:
        for line in re.findall(r"(?:^|`)(?:\.venv/bin/)?easel ([a-z][^`\n#]*)", file.read_text("utf-8"), re.MULTILINE):
            yield pytest.param(line.split(), id=f"{file.name}: {line.strip()}"[:60])


@pytest.mark.parametrize("words", list(shown()))
def test_each_command_in_the_docs_exists_with_its_options(words):
    command = easel
    while isinstance(command, click.Group) and words:
        name, *words = words
        command = command.get_command(click.Context(command), name)
        assert command, name
    known = {name for option in command.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= known
