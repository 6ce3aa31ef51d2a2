"""`easel dataset tag`: tags the images of a dataset with a tagger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import amount

if TYPE_CHECKING:
    from trainer_core.captioning.thresholds import Thresholds

PROBLEMS = 3
SHOWN, MOST_TAGS = 10, 20


@click.command("tag")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", default="wd-swinv2-tagger-v3", show_default=True, help="The tagger; `easel dataset taggers` lists them.")  # fmt: skip
@click.option(
    "--model-folder", default="", help="The folder with the tagger's files, if it is not among Easel's models."
)
@click.option("--threshold", multiple=True, metavar="[CATEGORY=]VALUE", help="The lowest probability of tags, such as 0.4 for general ones or character=0.9. 'meta=0.5' writes another category, 'copyright=no' leaves one out.")  # fmt: skip
@click.option("--without", default="", metavar="TAGS", help="Tags to leave out. * stands for any text, ? for one character.")  # fmt: skip
@click.option(
    "--first", default="", metavar="TAGS", help="Tags that come first, in this order, in images that have them."
)
@click.option("--trigger", default="", metavar="WORD", help="Put this word first in every caption.")
@click.option("--underscores", is_flag=True, help="Keep the underscores of tags.")
@click.option("--characters-last", is_flag=True, help="Sort names of characters like other tags.")
@click.option("--most", type=click.IntRange(0), default=0, metavar="NUMBER", help="Write at most so many tags.")
@click.option("--histogram", default="", metavar="TAG", help="Show how probable one tag is in the images.")
@click.option("--device", type=click.Choice(["auto", "cpu"]), default="auto", help="Where the tagger runs.")
@click.option(
    "--apply", "applies", is_flag=True, help="Write the tags into the captions; without it they are only shown."
)
@click.option("--preview", "previews", is_flag=True, help="Only show what would be written. This is the default.")
@click.option("--write", "mode", type=click.Choice(["empty", "machine", "all"]), default="empty", show_default=True, help="Which captions are written: of images without one, also those by a program, or all.")  # fmt: skip
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, *, applies: bool, previews: bool, as_json: bool, **asked: Any) -> None:
    """Tag the images of a dataset.

    Each image is tagged once, as a job; then thresholds act at once. `--apply` writes the captions, as one edit that
    `easel dataset undo` takes back.
    """
    from trainer_core.captioning import checks, tagging, thresholds
    from trainer_core.cli import captioning

    if applies and previews:
        raise click.UsageError("--apply and --preview exclude each other.")
    settings = tagging.Settings(
        dataset=str(folder), model=asked["model"], folder=asked["model_folder"], device=asked["device"]
    )
    captioning.stop_at(checks.before_tagging(settings), as_json)
    by = _thresholds(asked)
    found = tagging.known(settings)
    job = None
    if captioning.missing(settings.dataset, found):
        job = captioning.finished(tagging.start(settings), quiet=as_json)
        found = tagging.known(settings)
    choose = thresholds.Chooser(by)
    said = {image: ", ".join(choose(each)) for image, each in found.items()}
    title = f"Tags by {settings.model}"
    result = captioning.Result(
        folder, said, asked["mode"], settings.model, title, asked["caption_extension"], applies=applies
    )
    seen = thresholds.preview(result.before(), found, by)
    bars = thresholds.histogram(found.values(), asked["histogram"]) if asked["histogram"] else ()
    if as_json:
        show.as_json(
            {
                "job": job.name if job is not None else None,
                "thresholds": dict(by.least),
                "tagged": len(found),
                "untagged": seen.untagged,
                "tags": {"gained": seen.gained, "lost": seen.lost, "counts": dict(seen.counts)},
                "frequent": thresholds.frequent(seen),
                "histogram": bars,
                **result.as_json(),
            }
        )
        sys.exit(0)
    show.table(("tag", "images"), [(tag, f"{count:,}") for tag, count in seen.counts[:MOST_TAGS]])
    if len(seen.counts) > MOST_TAGS:
        show.line(f"and {amount(len(seen.counts) - MOST_TAGS, 'other tag')}")
    for place, count in enumerate(bars):
        low = thresholds.LEAST * (place + 1)
        show.line(f"{low:.2f} to {low + thresholds.LEAST:.2f}  {count:>6,}  {'#' * min(60, count)}")
    if common := thresholds.frequent(seen):
        show.line(f"Most images have: {', '.join(common[:MOST_TAGS])}. If they describe your subject, leave them out with --without: the trigger word learns them.")  # fmt: skip
    show.line(f"Against the captions now: {amount(seen.gained, 'tag')} more, {seen.lost:,} less.")
    result.show(SHOWN)


def _thresholds(asked: dict[str, Any]) -> Thresholds:
    from trainer_core.captioning import taggers, thresholds

    least = dict(thresholds.usual(taggers.get(asked["model"])).least)
    for text in asked["threshold"]:
        category, _, value = text.rpartition("=")
        category = category.strip() or "general"
        if value.strip() == "no":
            least.pop(category, None)
            continue
        try:
            least[category] = float(value)
        except ValueError:
            raise click.UsageError(f"{text!r:.60} is not a threshold. Write 0.4, character=0.9, or meta=no.") from None
    return thresholds.Thresholds(
        least=least,
        without=asked["without"],
        first=asked["first"],
        trigger=asked["trigger"],
        spaces=not asked["underscores"],
        characters_first=not asked["characters_last"],
        most=asked["most"],
    ).checked()
