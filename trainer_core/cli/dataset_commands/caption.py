"""`easel dataset caption`: captions the images of a dataset with an endpoint or a model on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

SHOWN, MARKED = 10, 20


@click.command("caption")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--endpoint", default="", metavar="URL", help="A server with OpenAI's interface, such as http://127.0.0.1:11434/v1.")  # fmt: skip
@click.option("--model", default="", help="The model of the endpoint, or a captioner of this machine; `easel dataset taggers` lists those.")  # fmt: skip
@click.option("--models", "lists", is_flag=True, help="Only list the models of the endpoint. No image is sent.")
@click.option("--send-to", "confirmed", default="", metavar="HOST", help="Allow that the images are sent to this host; needed for every host but this machine.")  # fmt: skip
@click.option("--key-variable", default="EASEL_CAPTION_KEY", show_default=True, help="The environment variable with the key of the endpoint.")  # fmt: skip
@click.option("--for", "template", type=click.Choice(["character", "style", "concept", "scene"]), default="scene", show_default=True, help="What the captions are for.")  # fmt: skip
@click.option("--question", "text", default="", metavar="TEXT", help="Another question. {tags}, {name} and {trigger} are filled in.")  # fmt: skip
@click.option("--trigger", default="", metavar="WORD", help="The trigger word; at the end of captions for a style, else at the start.")  # fmt: skip
@click.option("--tagger", default="", help="Take {tags} from this tagger, where it has seen the images.")
@click.option("--tagger-folder", default="", help="The folder with the files of that tagger.")
@click.option("--model-folder", default="", help="The folder of a captioner of this machine.")
@click.option("--again", is_flag=True, help="Ask again about images that have an answer to this question.")
@click.option("--at-once", "most_at_once", type=click.IntRange(1, 16), default=4, show_default=True, help="How many images are asked about at once, at most.")  # fmt: skip
@click.option("--any-language", is_flag=True, help="Do not mark captions that are not in English.")
@click.option("--accept", multiple=True, metavar="MARK", help="Also write captions with this mark; can be repeated.")
@click.option("--apply", "applies", is_flag=True, help="Write the captions; without it they are only shown.")
@click.option("--preview", "previews", is_flag=True, help="Only show what would be written. This is the default.")
@click.option("--write", "mode", type=click.Choice(["empty", "machine", "all"]), default="empty", show_default=True, help="Which captions are written: of images without one, also those by a program, or all.")  # fmt: skip
@click.option(
    "--caption-extension", "extension", default=".txt", show_default=True, help="The file extension of captions."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path | None, *, applies: bool, previews: bool, as_json: bool, lists: bool, **asked: Any) -> None:
    """Caption the images of a dataset.

    A job asks about each image once. Answers that are wrong are marked and not written: refusals, repetitions, cut off ones.
    `--apply` writes the others, as one edit that `easel dataset undo` takes back.
    """
    from trainer_core.captioning import asking, checks
    from trainer_core.cli import captioning

    if lists:
        _list_models(asked, as_json)
        return
    if folder is None:
        raise click.UsageError("Missing argument 'FOLDER'.")
    if applies and previews:
        raise click.UsageError("--apply and --preview exclude each other.")
    if not asked["model"]:
        raise click.UsageError(
            "Name a --model: one of the endpoint, or a captioner that `easel dataset taggers` lists."
        )
    accepted = _accepted(asked["accept"])
    settings = _settings(folder, asked)
    captioning.stop_at(checks.before_captioning(settings), as_json)
    found, job = asking.known(settings), None
    if settings.again or captioning.missing(settings.dataset, found):
        job = captioning.finished(asking.start(settings), quiet=as_json)
        found = asking.known(settings)
    title = f"Captions by {settings.author}"
    result = captioning.Result(
        folder,
        asking.writable(found, accepted),
        asked["mode"],
        settings.author,
        title,
        settings.extension,
        applies=applies,
    )
    if as_json:
        marked = {
            path: {"marks": each.marks, "text": each.text, "said": each.said}
            for path, each in found.items()
            if each.marks
        }
        show.as_json(
            {
                "job": job.name if job is not None else None,
                "captioned": len(found),
                "marks": asking.counted(found),
                "marked": marked,
                **result.as_json(),
            }
        )
        sys.exit(0)
    _show_marks(found, accepted)
    result.show(SHOWN)


def _settings(folder: Path, asked: dict[str, Any]) -> Any:
    from trainer_core.captioning import asking

    same = ("endpoint", "model", "confirmed", "key_variable", "template", "text", "trigger", "tagger", "tagger_folder", "again", "most_at_once", "extension")  # fmt: skip
    values = {name: asked[name] for name in same}
    return asking.Settings(
        dataset=str(folder), folder=asked["model_folder"], english=not asked["any_language"], **values
    )


def _accepted(names: tuple[str, ...]) -> tuple[str, ...]:
    from trainer_core.captioning import answers

    for name in names:
        if name not in answers.marks():
            known = ", ".join(mark.id for mark in answers.marks().values() if mark.refused)
            raise click.UsageError(f"{name!r:.40} is not a mark. Known: {known}.")
    return names


def _list_models(asked: dict[str, Any], as_json: bool) -> None:
    from trainer_core.captioning import checks, endpoint

    if not asked["endpoint"]:
        raise click.UsageError("--models needs an --endpoint.")
    host = endpoint.parse(asked["endpoint"])
    names = checks.models_of(asked["endpoint"], asked["key_variable"])
    if as_json:
        show.as_json({"endpoint": host.url, "host": host.host, "is_local": host.is_local, "models": names})
        return
    for name in names:
        show.line(name)


def _show_marks(found: Any, accepted: tuple[str, ...]) -> None:
    from trainer_core.captioning import answers

    shown = 0
    for path, caption in found.items():
        if not answers.is_refused(caption, accepted) or shown == MARKED:
            continue
        shown += 1
        why = "; ".join(answers.marks()[mark].title for mark in caption.marks if answers.marks()[mark].refused)
        show.line(f"{path} is not written: {why}.", "yellow")
        show.line(f"    {' '.join(caption.said.split())[:200]}", "dim")
    from trainer_core.captioning import asking

    for mark, count in asking.counted(found).items():
        show.line(f"{count:,} of {len(found):,}: {answers.marks()[mark].title}")
