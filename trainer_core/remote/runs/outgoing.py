"""What a trainer needs for a run of this machine: the plan, the images that it trains, and its model files.

It is written into the run's folder when the run is made, so that every follower brings the same: the images that the plan was
checked with, and no others of their folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trainer_core.errors import JobError
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.folder import LARGEST_FILE_BYTES, json_object, json_text, writing
from trainer_core.plan.subsets import CLASS, FIRST, LIST
from trainer_core.remote.runs.notes import FOLDER
from trainer_core.remote.runs.request import CHOSEN, PlanPath, Request, changed, paths_of
from trainer_core.training.folder import RunFolder

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.plan.subsets import ImageFolder

FILE = "outgoing.json"


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image folder that the trainer needs: images and captions, masks, or control images.

    `path` is the place in the plan that names the folder; the name of its last folder can have a meaning (`10_elena`).
    `files` are paths in that folder, with "/".
    """

    path: PlanPath
    files: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder on this machine."""
        return Path(self.path.path)

    def sources(self) -> Iterator[tuple[str, Path]]:
        """Each file by its path in the folder, and where it is on this machine."""
        for name in self.files:
            yield name, self.folder / name


@dataclass(frozen=True)
class Outgoing:
    """What is to be brought. `plan` has the paths of this machine; `models` are files or folders, each named once."""

    id: str
    engine: str
    plan: Mapping[str, Any]
    chosen: Mapping[str, str]
    images: tuple[ImageFiles, ...]
    models: tuple[PlanPath, ...] = field(default=())

    @classmethod
    def of(cls, run: Path, id: str) -> Self:  # noqa: A002 - the id of a run is called so everywhere
        """What the run in this folder needs.

        Raises:
            JobError: a file of the folder is missing or damaged.
        """
        folder = RunFolder(run)
        try:
            with open_own(run / FOLDER / FILE) as file:
                listed = json_object(file.read(LARGEST_FILE_BYTES))
        except (OSError, ValueError):
            listed = None
        engine = folder.spec.details.get("backend")
        if listed is None or not isinstance(engine, str):
            raise JobError(
                f"The {FILE} in {run / FOLDER} is missing or damaged.", "Start a new run from its plan.toml."
            )
        plan, versions = folder.plan, folder.versions
        images, models = [], {}
        for each in paths_of(plan, engine):
            names = listed.get(each.key)
            if isinstance(names, list):
                images.append(ImageFiles(each, tuple(name for name in names if isinstance(name, str))))
            elif not each.is_images:
                models[each.path] = each
        chosen = {name: str(versions.get(name) or "") for name in CHOSEN}
        return cls(id, engine, plan, chosen, tuple(images), tuple(models.values()))

    def request(self, there: Callable[[PlanPath], str]) -> Request:
        """The request for the run; `there` returns where the trainer has what a place of the plan names.

        One folder of images can be named at several places (`PlanPath.key`), each with other images of it. The selections of
        image folders are left out of the request, because only their images are brought.
        """
        tables = changed(self.plan, self.engine, there)
        dataset = tables.get("dataset", {})
        dataset.pop("selection", None)
        for row in dataset.get("subsets", ()):
            row.pop("selection", None)
        return Request(self.id, self.engine, tables, self.chosen)


def write(run: Path, plan: TrainingPlan, dataset: Dataset | None) -> None:
    """Writes down which images of its folders a run trains.

    Raises:
        JobError: the folder cannot be written.
    """
    folders = dataset.folders if dataset is not None else {}
    listed: dict[str, list[str]] = {}
    for each in plan.folders:
        if (found := folders.get(each.name)) is not None:
            listed |= _files(each, found)
    with writing(run):
        write_whole(run / FOLDER / FILE, json_text(listed), durable=True)


def _files(folder: ImageFolder, found: Dataset) -> dict[str, list[str]]:
    """The files of an image folder, of its masks and of its control images, by the places in the plan that name these folders."""
    images = [*found.images, *(found.validation.images if found.validation is not None else ())]
    key = folder.setting if folder.setting != LIST else f"{LIST}.{folder.index}.path"
    files = [file for image in images for file in (image.path, image.caption_file) if file is not None]
    listed = {key: _inside(found.root, files)}
    if folder.masks and folder.setting != CLASS:
        place = "dataset.masks" if folder.setting == FIRST else f"{LIST}.{folder.index}.masks"
        masks = [*found.masks.values(), *(found.validation.masks.values() if found.validation is not None else ())]
        listed[place] = _inside(Path(folder.masks), masks)
    for (name, path), controls in zip(folder.controls_given.items(), found.controls, strict=False):
        place = f"dataset.{name}" if folder.setting == FIRST else f"{LIST}.{folder.index}.{name}"
        listed[place] = _inside(Path(path), [controls[image.name].path for image in images if image.name in controls])
    return listed


def _inside(root: Path, files: list[Path]) -> list[str]:
    """The paths of files in their folder, each once."""
    return list(dict.fromkeys(file.relative_to(root).as_posix() for file in files if file.is_relative_to(root)))
