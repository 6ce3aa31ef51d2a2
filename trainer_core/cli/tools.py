"""`easel tools`: commands that copy model files in other forms, or check them. Each command runs as a separate job."""

from __future__ import annotations

import dataclasses
import sys

import click

from trainer_core import places
from trainer_core.cli import jobs, making, show
from trainer_core.cli.options import JSON_HELP, known_family
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState
from trainer_core.models import header, loaders
from trainer_core.tools import check_loading as checking
from trainer_core.tools import hub_files
from trainer_core.tools import rename as renaming
from trainer_core.tools import scrub as scrubbing


@click.group()
def tools() -> None:
    """Copy and check model files, and fetch tokenizers."""


@tools.command()
@click.argument("file")
@click.option("--layout", required=True, help="The layout of the new names, such as ldm or transformers.")
@click.option("--kind", default="", help="The part or family to copy; by default the only one in the file.")
@click.option("--prefix", default="", help="The prefix of all new names; by default none.")
@click.option("--folder", default="", help="The folder for the copy; by default one of Easel's models.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def rename(file: str, layout: str, kind: str, prefix: str, folder: str, as_json: bool) -> None:
    """Copy FILE with other tensor names.

    The weights stay the same, and FILE is not changed. When a plan needs a copy, it shows the complete command.
    The output is the path of the copy.
    """
    job = renaming.start(renaming.Settings(file=file, layout=layout, kind=kind, prefix=prefix, folder=folder))
    _finish(job, as_json)


@tools.command("hub-files")
@click.option("--engine", required=True, help="The engine that loads the files.")
@click.option("--family", required=True, callback=known_family, help="The family of the model that is trained.")
@click.option("--variant", default="", help="Only the files for this variant, such as klein-4b. Default: for all.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def fetch_hub_files(engine: str, family: str, variant: str, as_json: bool) -> None:
    """Fetch the tokenizers that an engine needs.

    An engine loads these and similar small files from the Hugging Face Hub when it starts. They are put where it looks for
    them, so that trainings can then start without a connection. The output is a folder with them.
    """
    _finish(hub_files.start(hub_files.Settings(engine=engine, family=family, variant=variant)), as_json)


@tools.command("fetch-captioner")
@click.option("--model", required=True, help="The tagger or captioner; `easel dataset taggers` lists them.")
@click.option(
    "--folder", default="", help="The folder with its files, if you have them: only the environment is installed."
)
@click.option("--accelerator", default="auto", help="The kind of device it is for, such as cpu.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def fetch_captioner(model: str, folder: str, accelerator: str, as_json: bool) -> None:
    """Fetch a tagger or captioner, with what it needs.

    Its files come from the Hugging Face Hub, and its packages into an environment of their own. The output is the folder with the files.
    """
    from trainer_core.captioning import fetching

    _finish(fetching.start(fetching.Settings(model=model, folder=folder, accelerator=accelerator)), as_json)


@tools.command()
@click.argument("file")
@click.option("--keep", multiple=True, help="A group or a metadata key to keep; can be repeated.")
@click.option(
    "--out",
    type=making.NEW_FILE,
    default="",
    help="The file to write. Default: next to FILE, with -public in its name.",
)
@click.option("--show", "only_show", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Write the copy without asking.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def scrub(file: str, keep: tuple[str, ...], out: str, only_show: bool, yes: bool, as_json: bool) -> None:
    """Copy FILE without personal metadata, for publishing.

    Folder names, captions, prompts, comments, times and paths are removed. What would be removed is shown first. The weights
    stay the same, and FILE is not changed. The output is the path of the copy.
    """
    settings = scrubbing.Settings(file=file, target=out, keep=keep)
    kept, findings, _ = scrubbing.preview(settings)
    if as_json and only_show:
        show.as_json({"removed": [dataclasses.asdict(each) for each in findings], "kept": sorted(kept)})
        return
    if not as_json:
        show.table(("metadata key", "", "because", "value"), scrubbing.described(findings))
        show.line(f"{len(kept)} keys stay. --keep takes a key, or one of: {', '.join(scrubbing.groups())}.", "dim")
    if only_show:
        return
    if not (yes or as_json):
        click.confirm("Write the copy?", abort=True, default=True)
    _finish(scrubbing.start(settings), as_json)


@tools.command("check-loading")
@click.argument("file")
@click.option(
    "--family", default="", callback=known_family, help="The family of its base model, if the file does not show it."
)
@click.option("--engine", default="", help="The installed engine whose environment is used. Default: any that fits.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def check_loading(file: str, family: str, engine: str, as_json: bool) -> None:
    """Show whether ComfyUI and diffusers load FILE.

    FILE is a LoRA or another network. The answer for ComfyUI comes from recorded layer names. diffusers' own loader runs in the environment of an engine, with a
    model that has shapes and no weights: nothing is downloaded, and it takes a minute. The exit code is 1 if diffusers does
    not load the whole file.
    """
    found = header.read_file(places.typed(file))
    family = checking.family_of(found, family)
    answers = loaders.judge(found, family)
    job = checking.start(checking.Settings(file=file, family=family, engine=engine))
    jobs.watch(job, quiet=as_json)
    report = checking.report_of(job.folder)
    if report is None:
        told = (job.result or {}).get("diagnosis") or {}
        raise JobError(str(told.get("cause", "The check gave no answer.")), str(told.get("advice", "")))
    said = checking.words(report, len(loaders.modules(found, family)))
    if as_json:
        recorded = [answer.as_dict() for answer in answers]
        show.as_json({"family": family, "recorded": recorded, "diffusers": dataclasses.asdict(report), "words": said})
    else:
        for answer in answers:
            show.line(f"{answer.program} ({answer.source}, recorded): {answer.loads}. {answer.reason}".rstrip())
        for sentence in said:
            show.line(sentence)
    sys.exit(0 if report.is_loaded else 1)


def _finish(job: Job, as_json: bool) -> None:
    """Shows the progress of a job that makes a copy, then the path of the copy."""
    jobs.watch(job, quiet=as_json)
    result = job.result or {}
    path = next(iter(result.get("outputs", ())), "")
    if job.state is not JobState.COMPLETED or not path:
        told = result.get("diagnosis") or {}
        raise JobError(str(told.get("cause", "The copy was not made.")), str(told.get("advice", "")))
    if as_json:
        show.as_json({"path": path, "job": job.name})
    else:
        show.line(path)
