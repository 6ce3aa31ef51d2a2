"""`easel dataset edit`: changes many captions at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.curation.captions import Operation

SHOWN = 10


@click.command("edit")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--trigger", metavar="WORD", help="Put this word first in every caption.")
@click.option("--add", metavar="TAGS", help="Add tags at the end, where they are missing.")
@click.option("--add-first", metavar="TAGS", help="Add tags at the start, where they are missing.")
@click.option("--remove", metavar="TAGS", help="Remove tags. * stands for any text, ? for one character.")
@click.option("--replace", nargs=2, metavar="TEXT NEW", help="Replace a text wherever it stands.")
@click.option("--replace-tag", nargs=2, metavar="TAG NEW", help="Replace whole tags, with * and ? as in --remove.")
@click.option("--remove-frequent", type=click.IntRange(1, 100), metavar="PERCENT", help="Remove tags that so many captions have.")  # fmt: skip
@click.option("--no-repeats", is_flag=True, help="Remove tags that a caption has twice.")
@click.option("--sort", "is_sorted", is_flag=True, help="Sort the tags; the trigger word stays first.")
@click.option("--for-style", is_flag=True, help="Remove tags that name a style, and put the trigger word at the end.")
@click.option("--only", metavar="PATTERN", help="Edit only images whose name fits, such as 'face*'.")
@click.option("--write-missing", is_flag=True, help="Also write captions for images that have none.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, *, as_json: bool, dry_run: bool, write_missing: bool, **asked: Any) -> None:
    """Change the captions of a dataset.

    Removing is done first, then replacing, adding, sorting; then the trigger word is put first, or last with --for-style. `easel dataset undo` takes the edit back.
    """
    from trainer_core.curation import captions, gathering
    from trainer_core.curation.journal import Journal

    if any(asked[name] and not asked[name][0].strip() for name in ("replace", "replace_tag")):
        raise click.UsageError("The text to be replaced is empty.")
    if "," in (asked["trigger"] or ""):
        raise click.UsageError("A trigger word has no comma: it would be two tags.")
    journal = Journal(folder)
    journal.recover()
    found = gathering.caption_files(folder, asked["caption_extension"], asked["only"] or "")
    texts = [item.text for item in found]
    operations, title = _operations(asked, texts)
    if not operations:
        raise click.UsageError("Nothing to do: give at least one change, such as --trigger or --remove.")
    seen = captions.preview(folder, [item.path for item in found], operations, makes=write_missing)
    edit = None
    if seen.changes and not dry_run:
        edit = journal.apply("captions", title, [one.change for one in seen.changes])
    refused = [*seen.refused, *(edit.refused if edit is not None else ())]
    if as_json:
        show.as_json(
            {
                "edit": edit.number if edit is not None else None,
                "title": title,
                "changes": [{"path": one.path, "before": one.before, "after": one.after} for one in seen.changes],
                "unchanged": seen.unchanged,
                "refused": refused,
            }
        )
        return
    for one in seen.changes[:SHOWN]:
        show.line(one.path)
        show.line(f"  - {one.before.strip()}")
        show.line(f"  + {one.after.strip()}")
    if len(seen.changes) > SHOWN:
        show.line(f"and {len(seen.changes) - SHOWN:,} more")
    for path, reason in refused:
        show.line(f"{path} was left as it is: {reason}.")
    show.line(_told(len(seen.changes), edit is not None, dry_run=dry_run))


def _told(changed: int, is_made: bool, *, dry_run: bool) -> str:
    if not changed:
        return "No caption changes."
    files = f"{changed:,} {'caption' if changed == 1 else 'captions'}"
    if dry_run:
        return f"{files} would change. Nothing was written."
    return f"{files} changed. `easel dataset undo` takes it back." if is_made else "Nothing was changed."


def _operations(asked: dict[str, Any], texts: list[str]) -> tuple[list[Operation], str]:
    """What shall be done with each caption, in order, and a title for it."""
    from trainer_core.curation import captions, style_captions

    def frequent(percent: int) -> tuple[Operation, str]:
        kept = (asked["trigger"] or "").strip().casefold()
        tags = [tag for tag, _ in captions.frequent(texts, percent / 100) if tag != kept]
        return captions.remove_exactly(tags), f"remove {', '.join(tags) or 'no tag'}"

    def replaced(pair: tuple[str, str]) -> tuple[Operation, str]:
        find, by = pair
        return captions.replace(find, by), f"replace {find} with {by or 'nothing'}"

    def replaced_tag(pair: tuple[str, str]) -> tuple[Operation, str]:
        find, by = pair
        operation = captions.replace(find, by, whole_tags=True)
        return operation, f"replace the tag {find} with {by or 'nothing'}"

    makers: dict[str, Callable[[Any], tuple[Operation, str]]] = {
        "remove_frequent": frequent,
        "remove": lambda given: (captions.remove(given), f"remove {given}"),
        "replace": replaced,
        "replace_tag": replaced_tag,
        "add": lambda given: (captions.add(given), f"add {given}"),
        "no_repeats": lambda _: (captions.without_repeats(), "remove repeated tags"),
        "is_sorted": lambda _: (captions.sort(asked["trigger"] or ""), "sort"),
        "add_first": lambda given: (captions.add(given, "start"), f"add {given} first"),
        "trigger": lambda given: (captions.trigger_first(given), f"put {given} first"),
    }
    if asked["for_style"]:
        makers["for_style"] = lambda _: (style_captions.mended(asked["trigger"] or ""), "mend captions for a style")
        makers.pop("trigger")
    found = [make(asked[name]) for name, make in makers.items() if asked[name]]
    title = "; ".join(title for _, title in found)
    return [operation for operation, _ in found], title[:1].upper() + title[1:]
