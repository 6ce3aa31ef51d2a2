"""`easel profiles import-command`: a command or a configuration of an engine as a plan file, with what becomes of each option."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import EaselError, PlanError

if TYPE_CHECKING:
    from trainer_core.prepare.pasting import Offer
    from trainer_core.prepare.workbench import Workbench

STDIN = Path("-")


@click.command("import-command")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--model", default="", help="The base model, if the command does not name one of this machine.")
@click.option("--dataset", default="", help="The images, if the command does not name a folder of this machine.")
@click.option(
    "--save-plan", type=click.Path(path_type=Path), default=None, help="Write the settings as a new plan file."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def import_command(source: Path, model: str, dataset: str, save_plan: Path | None, as_json: bool) -> None:
    """Take over a command of sd-scripts or musubi-tuner.

    SOURCE is a text file with the command, a configuration in TOML, what the kohya GUI saved for a LoRA (JSON), or - for the input.
    Nothing of it is run. The command shows what becomes of each option; with --save-plan, the settings become a plan file for `easel plan` and `easel train`.
    """
    from trainer_core.prepare import pasting
    from trainer_core.prepare.workbench import Workbench

    bench = Workbench(quick=False)
    named = {path: text for path, text in (("model.path", model), ("dataset.path", dataset)) if text}
    bench.set({path: str(places.typed(text).absolute()) for path, text in named.items()})
    offer = pasting.look(bench, _text(source))
    own = dict(bench.state.draft.values)
    pasting.take(bench, offer)
    bench.set({path: own[path] for path in named})
    written = _save(bench, offer, source, save_plan) if save_plan is not None else None
    if as_json:
        show.as_json({**offer.as_dict(), "written": written})
        return
    for heading, items in offer.grouped().items():
        show.line(heading, "bold")
        rows = [
            (one.option, one.shown, one.path and f"{one.path} = {show.value(one.value)}", one.reason) for one in items
        ]
        show.table(("option", "value", "becomes", ""), rows)
        show.line()
    show.line(offer.sentence)
    if written is None:
        show.line("To use it: --save-plan FILE, then easel train FILE.", "dim")
    else:
        show.line(f"The plan was saved: {written}")


def _text(source: Path) -> str:
    from trainer_core.engines.pasted import LONGEST

    try:
        if source == STDIN:
            return sys.stdin.read(LONGEST + 1)
        with places.typed(source).open(encoding="utf-8-sig") as file:
            return file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise PlanError(f"{source} cannot be read: {reason}.", "Name a text file, or - for the input.") from error


def _save(bench: Workbench, offer: Offer, source: Path, target: Path) -> Path:
    """The path of the new plan file."""
    import tomli_w

    from trainer_core.draft.layers import Source
    from trainer_core.plan import fields

    values: dict[str, Any] = dict(bench.state.draft.layers.get(Source.USER, {}))
    native = values.pop("native", None)
    left_out = [f"# Left out: {one.option}: {one.reason}" for one in offer.items if one.kind == "refused"]
    lines = [f"# Read from {source.name!r}: {offer.sentence}", *(" ".join(line.split()) for line in left_out)]
    top = {"schema_version": 1, "engine": offer.engine, "profile": "plain"}
    tables = {**top, **fields.nest(values), **({"native": native} if native else {})}
    path = places.typed(target).absolute()
    # All of the text before the file: nothing is left of a text that cannot be written.
    try:
        content = ("\n".join(lines) + "\n" + tomli_w.dumps(tables)).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise EaselError("A value has half of a character, which cannot be written.", "Correct the text.") from error
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise EaselError(f"{path} already exists.", "Choose another name.") from error
    except OSError as error:
        raise EaselError(f"{path} cannot be written: {error.strerror or error}.", "Choose another folder.") from error
    return path
