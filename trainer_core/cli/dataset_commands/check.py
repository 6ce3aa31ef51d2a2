"""`easel dataset check`: checks a dataset without changing it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_core.curation.quality import State
    from trainer_core.curation.style_captions import StyleFinding
    from trainer_core.datasets.scan import Dataset

PROBLEMS = 3
SHOWN = 3


@click.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--engine", default="", help="The engine whose rules are used to read the folder.  [default: the first by rank]"
)
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--trigger", default="", help="The trigger word to look for in the captions.")
@click.option("--style", is_flag=True, help="Also check captions for training a style: they should not name it.")
@click.option(
    "--controls",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A folder of control images, for models that edit images; several times for several control images.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path,
    engine: str,
    caption_extension: str,
    trigger: str,
    style: bool,
    controls: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Show what an engine will see in a folder.

    This includes the files that the engine would skip or fail on, and images that are worth a look, such as blurred ones.
    The exit code is 3 when training could not start.
    """
    from trainer_core.cli.dataset_commands.score import measured
    from trainer_core.curation import caption_faults, quality, scores, style_captions
    from trainer_core.datasets import scan
    from trainer_core.engines import registry
    from trainer_core.problems import blocking

    rules = (registry.get(engine) if engine else registry.first()).manifest.dataset
    # Each image is decoded once, for damage and quality.
    looks = measured(folder)
    inspect = scores.inspector(folder, looks)
    found = scan.scan(folder, rules, caption_extension, trigger, inspect=inspect, apart=controls)
    found = _with_controls(found, controls)
    seen = {path: said for path, look in looks.items() if (said := quality.found(look.scores))}
    texts = {image.name: image.caption for image in found.images if image.caption}
    styled = style_captions.findings(texts, trigger) if style else []
    faults = caption_faults.of(texts.items())
    stopping = blocking(found.problems)
    if as_json:
        show.as_json(
            {
                "folder": folder,
                "images": [dataclasses.asdict(image) for image in found.images],
                "unseen": found.unseen,
                "pairs": _pairs(found),
                "unpaired": found.unpaired,
                "unused_controls": found.unused,
                "problems": [problem.as_dict() for problem in found.problems],
                "quality": seen,
                "captions": faults,
                "style": [dataclasses.asdict(one) for one in styled],
            }
        )
    else:
        show.line(found.summary)
        _show_pairs(found)
        show.problems(found.problems)
        _quality(seen)
        _captions(faults)
        _style(styled)
    sys.exit(PROBLEMS if stopping else 0)


def _with_controls(found: Dataset, controls: Sequence[Path]) -> Dataset:
    """The dataset with its control images.

    Raises:
        DatasetError: there are more folders of them than a plan can have.
    """
    from trainer_core.datasets import pairs
    from trainer_core.errors import DatasetError
    from trainer_core.plan.subsets import CONTROLS

    if len(controls) > len(CONTROLS):
        raise DatasetError(f"There can be {len(CONTROLS)} folders of control images, and not {len(controls)}.")
    given = {f"dataset.{name}": str(path.absolute()) for name, path in zip(CONTROLS, controls, strict=False)}
    return pairs.paired(found, given, only=False) if given else found


def _pairs(found: Dataset) -> list[dict[str, Any]]:
    """Each image that has control images, with these and its caption, which is the instruction."""
    return [
        {"image": image.name, "controls": [each[image.name].name for each in found.controls], "caption": image.caption}
        for image in found.images
        if found.controls and all(image.name in each for each in found.controls)
    ]


def _show_pairs(found: Dataset) -> None:
    if not found.controls:
        return
    pairs = _pairs(found)
    show.line(f"{len(pairs):,} {'pair' if len(pairs) == 1 else 'pairs'} of images:" if pairs else "No pairs of images.")
    for pair in pairs[:SHOWN]:
        shown = ", ".join(pair["controls"])
        show.line(f"  {shown} -> {pair['image']}: {printable(pair['caption'] or 'no instruction', 80)}")
    if len(pairs) > SHOWN:
        show.line(f"  and {len(pairs) - SHOWN:,} more")


def _quality(seen: Mapping[str, Mapping[str, State]]) -> None:
    from trainer_core.curation import quality

    for key, finding in quality.FINDINGS.items():
        names = [path for path, said in seen.items() if said.get(key) == "found"]
        if names:
            show.line(f"{_files(names)}: {finding.meaning}. {finding.advice}")
    unsure = [path for path, said in seen.items() if "found" not in said.values()]
    if unsure:
        show.line(f"{_files(unsure)} may be worth a look: `easel dataset score` shows why.")


def _captions(found: Mapping[str, Mapping[str, str]]) -> None:
    from trainer_core.curation import caption_faults

    for key, fault in caption_faults.FAULTS.items():
        texts = {path: said[key] for path, said in found.items() if key in said}
        if texts:
            shown = ", ".join(printable(text, 40) for text in dict.fromkeys(texts.values()))
            show.line(f"{_files(list(texts))}: the caption {fault.reason}: {printable(shown, 160)}. {fault.advice}")


def _style(found: Sequence[StyleFinding]) -> None:
    from trainer_core.curation import style_captions

    for kind, title in style_captions.titles().items():
        pairs = [(one.path, named.words) for one in found for named in one.named if named.kind == kind]
        if pairs:
            words = ", ".join(printable(word, 40) for word in dict.fromkeys(word for _, word in pairs))
            show.line(
                f"{_files([path for path, _ in pairs])}: the caption {title}: {words}. The trigger word should learn it."
            )
    last = [one.path for one in found if not one.has_trigger_last]
    if last:
        show.line(f"{_files(last)}: the trigger word is not at the end of the caption.")
    if found:
        show.line("`easel dataset edit --for-style --trigger WORD` mends what is sure.")


def _files(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - SHOWN:,} more" if len(unique) > SHOWN else ""
    shown = ", ".join(printable(name, 60) for name in unique[:SHOWN])
    return f"{len(unique):,} {'image' if len(unique) == 1 else 'images'} ({shown}{more})"
