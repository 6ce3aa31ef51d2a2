"""`easel profiles`: lists, shows, checks, imports and exports profiles, and makes one from a LoRA."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from trainer_core import places
from trainer_core import profiles as profile_files
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, known_family
from trainer_core.cli.pasted import import_command
from trainer_core.errors import ProfileError
from trainer_core.models import detection, header
from trainer_core.plan import fields
from trainer_core.profiles import Change, Draft, Profile
from trainer_core.text import printable

FAILED, PROBLEMS = 1, 3
PRINT = Path("-")


@click.group()
def profiles() -> None:
    """List, show, check and share training profiles.

    A profile is a set of values for a purpose, each with its reason and its source.
    """


profiles.add_command(import_command)


@profiles.command("list")
@click.option("--family", default="", help="Only profiles for this family or lineage, such as sdxl or pony.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per profile.")
def list_profiles(family: str, as_json: bool) -> None:
    """List Easel's profiles and your own."""
    mine, refused = profile_files.own()
    known = profile_files.known().values()
    if family and family not in {name for each in known for name in (each.family, each.lineage)}:
        known_family(None, None, family)
    found = [each for each in known if family in ("", each.family, each.lineage)]
    found.sort(key=lambda each: (each.family, each.lineage, each.id))
    if as_json:
        show.as_json([_as_data(each) | {"own": each.id in mine} for each in found])
        return
    show.table(
        ("id", "for", "title", ""),
        ((each.id, each.lineage or each.family, each.title, "yours" if each.id in mine else "") for each in found),
    )
    for error in refused:
        show.error(error)


@profiles.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the profile as a JSON object.")
def show_profile(name: str, as_json: bool) -> None:
    """Show a profile with its reasons.

    NAME is an id or a file. The output has every value with its reason, the sources, and where the profile was tested.
    """
    profile = profile_files.by_name(name)
    if as_json:
        show.as_json(_as_data(profile))
        return
    _head(profile)
    show.table(
        ("setting", "value", "reason"),
        ((path, show.value(value), profile.reasons.get(path, "")) for path, value in profile.settings.items()),
    )
    if profile.unknown:
        show.line(f"unknown: {', '.join(profile.unknown)}", "yellow")
    for source in profile.sources:
        show.line(f"source [{source.id}]: {source}", "dim")


def _head(profile: Profile) -> None:
    show.line(f"{profile.title} ({profile.id})", "bold")
    made_for = " ".join(part for part in (profile.family, profile.lineage, profile.prediction) if part)
    show.line(f"for {made_for}, {profile.method}: {profile.explanation}")
    show.line(profile.tested, "dim")
    if profile.author or profile.licence:
        show.line(f"by {profile.author or 'an unknown author'}, licence: {profile.licence or 'not stated'}", "dim")


@profiles.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per file.")
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check whether files are valid profiles.

    For a file that is not, it shows which key is wrong and why.

    Exit codes: 0 all are valid, 3 one is refused, 1 one cannot be read.
    """
    rows = [_verdict(path) for path in files]
    if as_json:
        show.as_json([{key: row[key] for key in ("file", "id", "key", "error", "hint")} for row in rows])
    else:
        for row in rows:
            show.line(f"{row['file']}: {row['error'] or 'is a profile: ' + row['id']}", "red" if row["error"] else "")
            if row["hint"]:
                show.line(f"    {row['hint']}", "dim")
    sys.exit(max((row["code"] for row in rows), key=(0, PROBLEMS, FAILED).index))


def _verdict(path: Path) -> dict[str, Any]:
    try:
        profile = profile_files.load(places.typed(path))
    except ProfileError as error:
        code = FAILED if error.is_unread else PROBLEMS
        return {"file": str(path), "id": "", "key": error.key, "error": error.message, "hint": error.hint, "code": code}
    return {"file": str(path), "id": profile.id, "key": "", "error": None, "hint": "", "code": 0}


@profiles.command("import")
@click.argument("origin", metavar="FILE|LINK|hub:OWNER/NAME[/FILE]")
@click.option("--id", "wanted_id", default="", help="The id to save it under, instead of its own.")
@click.option("--yes", is_flag=True, help="Import without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON; imports only with --yes.")
def import_profile(origin: str, wanted_id: str, yes: bool, as_json: bool) -> None:
    """Add somebody else's profile to your own.

    The command shows what the profile changes, and asks before it saves it.
    """
    found = profile_files.incoming(origin, wanted_id)
    if as_json:
        written = profile_files.save(found.profile) if yes else None
        changes = [dataclasses.asdict(change) for change in found.changes]
        show.as_json(_as_data(found.profile) | {"origin": found.origin, "changes": changes, "written": written})
        return
    _head(found.profile)
    against = f"your profile {found.present.id}" if found.present else "the defaults"
    show.line(f"Compared with {against}, it changes {len(found.changes)} settings:")
    _changes(found.changes)
    if not yes:
        click.confirm("Import it?", abort=True)
    show.line(f"Saved: {profile_files.save(found.profile)}")
    show.line(f"Use it with: --profile {found.profile.id}", "dim")


def _changes(changes: Iterable[Change]) -> None:
    show.table(
        ("setting", "now", "imported", "reason"),
        ((row.path, show.value(row.before), show.value(row.after), row.reason) for row in changes),
    )


@profiles.command()
@click.argument("name", default="")
@click.option("--from-run", default="", help="Make it from the plan of this run: its folder or name.")
@click.option("--from-plan", type=click.Path(path_type=Path), default=None, help="Make it from this plan file.")
@click.option("--id", "wanted_id", default="", help="The new id. Default: the profile keeps its own.")
@click.option("--title", default="", help="The new title.")
@click.option("--use", default="", help="The purpose: character, style, concept, ...")
@click.option("--family", default="", callback=known_family, help="The family, if a plan file does not state it.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=PRINT, help="The file to write. Default: print the profile."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def export(
    name: str, from_run: str, from_plan: Path | None, out: Path, family: str, as_json: bool, **texts: str
) -> None:
    """Write a profile to a file to share.

    The profile is the one called NAME, or is made from a run or a plan file. From a run or a plan, paths, names, the trigger word, native settings and tokens are left out.
    """
    if sum(map(bool, (name, from_run, from_plan))) != 1:
        raise click.UsageError("Give exactly one of: the name of a profile, --from-run, --from-plan.")
    if name:
        changed = {key.removeprefix("wanted_"): text for key, text in texts.items() if text}
        draft = Draft(profile_files.checked(dataclasses.replace(profile_files.by_name(name), **changed)))
    else:
        plan, based_on = _run_plan(from_run) if from_run else (_plan_file(from_plan or PRINT), "")
        texts["title"] = texts["title"] or "From a training"
        texts["wanted_id"] = texts["wanted_id"] or "from-a-training"
        draft = profile_files.from_plan(plan, based_on=based_on, family=family, **texts)
    _write(draft, out, as_json)


def _run_plan(name: str) -> tuple[dict[str, Any], str]:
    """The plan of a run, and the id of the profile it was made with."""
    from trainer_core.cli.runs import find_run

    folder = find_run(name).folder
    return folder.plan, str(folder.versions.get("profile", ""))


def _plan_file(path: Path) -> dict[str, Any]:
    import tomllib

    from trainer_core.profiles.reading import LARGEST_FILE_BYTES, read

    raw = read(places.typed(path))
    if len(raw) > LARGEST_FILE_BYTES:
        raise ProfileError(f"{path.name} is larger than {LARGEST_FILE_BYTES // 1024} kB: that is not a plan.")
    try:
        tables = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path.name} cannot be read as a plan: {printable(str(error), 160)}.") from error
    return {name: table for name, table in tables.items() if isinstance(table, dict)}


def _write(draft: Draft, out: Path, as_json: bool) -> None:
    """Prints the profile's file, or writes it where no file exists; what was left out goes to stderr."""
    text = profile_files.dumps(draft.profile)
    for note in draft.notes:
        click.secho(printable(note), fg="yellow", err=True)
    if out == PRINT and not as_json:
        click.echo(text, nl=False)
        return
    target = places.typed(out)
    if out != PRINT:
        _write_new(target, text)
    if as_json:
        written = None if out == PRINT else target.absolute()
        show.as_json({**_as_data(draft.profile), "notes": draft.notes, "written": written})
    else:
        show.line(f"Saved: {out}")


def _write_new(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise ProfileError(f"{out} already exists.", "Choose another name.") from error


@profiles.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per setting.")
def compare(first: str, second: str, as_json: bool) -> None:
    """Compare two profiles, with what differs first.

    FIRST and SECOND are ids or files. A value in brackets is the default, which that profile does not set.
    """
    one, other = profile_files.by_name(first), profile_files.by_name(second)
    rows = profile_files.compare(one, other)
    if as_json:
        show.as_json([dataclasses.asdict(row) | {"differs": row.differs} for row in rows])
        return
    show.line(f"{sum(row.differs for row in rows)} of {len(rows)} settings differ.")
    show.table(
        ("setting", one.id, other.id, ""),
        (
            (
                row.path,
                *(
                    show.value(value) if is_set else f"({show.value(value)})"
                    for value, is_set in zip((row.first, row.second), row.is_set, strict=True)
                ),
                "differs" if row.differs else "",
            )
            for row in rows
        ),
    )


@profiles.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Put the removed profile back.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def remove(name: str, undo: bool, as_json: bool) -> None:
    """Remove one of your own profiles.

    Its file is kept, so that --undo can put it back.
    """
    file = profile_files.put_back(name) if undo else profile_files.remove(name)
    if as_json:
        show.as_json({"profile": name, "removed": not undo, "file": file})
    elif undo:
        show.line(f"Put back: {file}")
    else:
        show.line(f"Removed; its file is now {file}")
        show.line(f"Put it back with: easel profiles remove {name} --undo", "dim")


@profiles.command("from-lora")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--family", default="", callback=known_family, help="The family it was made for, if the file does not state it."
)
@click.option("--id", "wanted_id", default="", help="The profile's id. Default: the file's name.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=PRINT, help="The file to write. Default: print the profile."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def from_lora(file: Path, family: str, wanted_id: str, out: Path, as_json: bool) -> None:
    """Make a profile from a LoRA file.

    Training settings that the file does not state are marked as unknown.
    """
    found = header.read(places.typed(file))
    draft = profile_files.from_lora(found, detection.detect(found), wanted_id=wanted_id, family=family)
    _write(draft, out, as_json)


def _as_data(profile: Profile) -> dict[str, Any]:
    """A profile as JSON data, each value with its title and its reason."""
    known = fields.all_fields()
    values = {
        path: {"title": known[path].title, "value": value, "reason": profile.reasons.get(path, "")}
        for path, value in profile.settings.items()
    }
    return {**dataclasses.asdict(profile), "values": values, "tested": profile.tested}
