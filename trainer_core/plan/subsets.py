"""The image folders of a plan: one as it is declared in `dataset.subsets`, one as an engine gets it, and a list as text.

The first folder is `dataset.path`, whose values are the settings of `dataset`. Further folders are in `dataset.subsets`. The text
has one folder a line, each with its repeats if its name begins with them, or it is a JSON list:

    /images/10_mika
    [{"path": "/images/dogs", "kind": "regularisation", "caption": "a dog"}]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_serializer

from trainer_core.datasets import folders
from trainer_core.plan.section import PIXELS, Section

MOST_SUBSETS = 64
FIRST, CLASS, LIST = "dataset.path", "dataset.class_path", "dataset.subsets"
"""The settings that an image folder of a plan can come from."""


def of_percent(value: Any) -> Any:
    """A share from 0 to 1, as which a number of percent is understood; anything else as it is."""
    is_percent = isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100
    return value / 100 if is_percent else value


class Subset(Section):
    """One more image folder. What is left out has the value of the setting with the same name in `dataset`."""

    path: Annotated[str, Field(title="Folder", min_length=1)]
    """The folder with the images and their caption files. Easel only reads it."""
    kind: Annotated[Literal["images", "regularisation"], Field(title="Kind")] = "images"
    """What its images show: the subject, or other subjects of the same kind ("regularisation"), so that the model does not forget them."""
    repeats: Annotated[int | None, Field(title="Repeats", ge=1, le=1000)] = None
    """How many times each image is used in one epoch."""
    resolution: Annotated[int | None, Field(title="Resolution", ge=64, le=4096, json_schema_extra=PIXELS)] = None
    """Images are scaled to the area of a square with this side."""
    caption: Annotated[str | None, Field(title="Default caption")] = None
    """The caption of images without one; empty means the trigger word, or the class caption for regularisation images."""
    caption_extension: Annotated[str | None, Field(title="Caption extension", pattern=r"^\.[A-Za-z0-9_]{1,12}$")] = None
    """The file extension of the caption files next to the images."""
    shuffle_captions: Annotated[bool | None, Field(title="Shuffle tags")] = None
    """Shuffles the comma-separated tags of a caption at each step, except the kept ones."""
    keep_tokens: Annotated[int | None, Field(title="Keep tags", ge=0, le=75)] = None
    """How many tags at the start of a caption keep their place when tags are shuffled."""
    caption_dropout: Annotated[float | None, Field(title="Caption dropout", ge=0, le=1)] = None
    """The share of steps in which an image is trained without its caption."""
    tag_dropout: Annotated[float | None, Field(title="Tag dropout", ge=0, le=1)] = None
    """The share of comma-separated tags that are removed from a caption at each step."""
    caption_choices: Annotated[bool | None, Field(title="Several captions")] = None
    """Picks one line of a caption file, and one of the words in {red|blue}, at random at each step."""
    flip: Annotated[bool | None, Field(title="Random flip")] = None
    """Mirrors images horizontally at random."""
    alpha_masks: Annotated[bool | None, Field(title="Transparency as mask")] = None
    """Does not train transparent parts of the images."""
    masks: Annotated[str | None, Field(title="Masks")] = None
    """A folder with a mask for each image, with the same name: white is trained, black is not."""
    controls: Annotated[str | None, Field(title="Control images")] = None
    """A folder with what the model is shown for each image, with the same name."""
    controls_2: Annotated[str | None, Field(title="Second control images")] = None
    """A folder with a second image that the model is shown for each image."""
    controls_3: Annotated[str | None, Field(title="Third control images")] = None
    """A folder with a third image that the model is shown for each image."""
    validation_share: Annotated[
        float | None, BeforeValidator(of_percent), Field(title="Held-out share", ge=0, le=1)
    ] = None
    """The share of images that are not trained, whose loss is measured; 1 trains none of the folder."""
    selection: Annotated[str | None, Field(title="Selection")] = None
    """The name of a selection of the folder: only its images are trained."""

    @model_serializer
    def _set_values(self) -> dict[str, Any]:
        """Only the values that are set: TOML has no word for an empty one."""
        return {
            name: value
            for name, field in type(self).model_fields.items()
            if (value := getattr(self, name)) is not None and value != field.default
        }


OWN = tuple(name for name in Subset.model_fields if name not in ("path", "kind"))
"""What a folder can have of its own."""
CONTROLS = ("controls", "controls_2", "controls_3")
"""The folders of control images that a folder can have, in the order in which a model is shown them."""
PATHS = ("path", "masks", *CONTROLS)
"""What of a folder is a path."""
OF_ITS_IMAGES = {"masks": "", "selection": "", **dict.fromkeys(CONTROLS, "")}
"""What belongs to the images of one folder, so that no other folder takes it from the settings."""


@dataclass(frozen=True)
class ImageFolder:
    """An image folder as an engine gets it, with every value; see `Subset` for them.

    `name` is that of its folder in a run, which is different for each. `setting` is where it comes from, and `index` counts the
    entries of `dataset.subsets` from 0. `label` names it in a sentence; "" for the first folder. Without a value in the plan,
    `alpha_masks` and `caption_choices` are None: the engine's own setting decides.
    """

    name: str
    setting: str
    path: str
    label: str = ""
    index: int = -1
    is_regularisation: bool = False
    repeats: int = 1
    resolution: int = 512
    caption: str = ""
    caption_extension: str = ".txt"
    shuffle_captions: bool = False
    keep_tokens: int = 0
    caption_dropout: float = 0.0
    tag_dropout: float = 0.0
    caption_choices: bool | None = None
    flip: bool = False
    alpha_masks: bool | None = None
    masks: str = ""
    controls: str = ""
    controls_2: str = ""
    controls_3: str = ""
    selection: str = ""
    validation_share: float = 0.0

    @property
    def is_trained(self) -> bool:
        """Whether any of its images is trained; else all are held out."""
        return self.validation_share < 1

    @property
    def validation_name(self) -> str:
        """The name of the folder of its held-out images in a run."""
        return f"{self.name}_validation"

    @property
    def group(self) -> tuple[int, bool]:
        """Folders of one resolution share batches; those with mask files only with others that have some."""
        return self.resolution, bool(self.masks)

    @property
    def source(self) -> tuple[object, ...]:
        """What decides which images are read, and how."""
        how = (self.caption, self.caption_extension, self.caption_choices, self.alpha_masks)
        return (self.path, self.selection, self.masks, self.controls_given, self.validation_share, *how)

    @property
    def masks_name(self) -> str:
        """The name of the folder of its masks in a run."""
        return f"{self.name}_masks"

    @property
    def controls_given(self) -> Mapping[str, str]:
        """Each folder of control images that it has, by the setting; none without the first one, which the others come after."""
        given = {name: path for name in CONTROLS if (path := getattr(self, name))}
        return given if self.controls else {}

    @property
    def controls_names(self) -> tuple[str, ...]:
        """The names of the folders of its control images in a run, in the order in which the model is shown them."""
        return tuple(f"{self.name}_controls_{number}" for number in range(1, len(self.controls_given) + 1))


def filled(index: int, subset: Subset, shared: Mapping[str, Any]) -> ImageFolder:
    """The folder with the values of `dataset` for what it does not have itself; `shared` has `dataset`'s settings by name."""
    is_class = subset.kind == "regularisation"
    # The trigger word is what keeps its place; regularisation images do not have it.
    usual = {name: shared[name] for name in OWN if name in shared} | OF_ITS_IMAGES
    usual |= {"caption": shared["class_caption" if is_class else "trigger"]}
    # Class images are not held out: their loss says nothing about the subject.
    usual |= {"repeats": shared["class_repeats"], "keep_tokens": 0, "validation_share": 0.0} if is_class else {}
    own = {name: value for name in OWN if (value := getattr(subset, name)) is not None}
    label = f"Image folder {index + 2} ({PurePath(subset.path).name[:80]})"
    return ImageFolder(
        f"subset_{index + 2}", LIST, subset.path, label, index, is_regularisation=is_class, **{**usual, **own}
    )


def of_dataset(shared: Mapping[str, Any], subsets: Iterable[Subset], *, with_class: bool) -> tuple[ImageFolder, ...]:
    """All image folders of a plan, the first one first; those of class images only `with_class`."""
    usual = {name: shared[name] for name in OWN if name in shared}
    found = [ImageFolder("dataset", FIRST, shared["path"], **{**usual, "caption": shared["trigger"]})]
    if with_class and shared["class_path"]:
        of_class = {"caption": shared["class_caption"], "repeats": shared["class_repeats"], "keep_tokens": 0}
        others = {**usual, **OF_ITS_IMAGES, "validation_share": 0.0, **of_class}
        named = ("class_images", CLASS, shared["class_path"], "Class images")
        found.append(ImageFolder(*named, is_regularisation=True, **others))
    every = (filled(index, each, shared) for index, each in enumerate(subsets))
    return (*found, *(each for each in every if with_class or not each.is_regularisation))


def as_tables(found: Any) -> Any:
    """A list of folders as a tuple of tables; a text alone is a path. Anything else is returned as it is, for pydantic to refuse."""
    if not isinstance(found, list | tuple):
        return found
    return tuple(of_path(each) if isinstance(each, str) else each for each in found)


def of_path(path: str) -> dict[str, Any]:
    """The entry for a folder; a name in kohya's layout, as 10_elena, has its repeats and the caption of images without one."""
    said = folders.repeats(PurePath(path).name)
    if said is None:
        return {"path": path}
    return {"path": path, "repeats": said.number, **({"caption": said.word} if said.word else {})}


def to_text(subsets: Iterable[Any]) -> str:
    """The folders as text: one path a line, or as JSON if a folder has more of its own."""
    subsets = list(subsets)
    if all(isinstance(each, Mapping) and isinstance(each.get("path"), str) for each in subsets):
        lines = "\n".join(each["path"] for each in subsets)
        if from_text(lines) == (tuple(dict(each) for each in subsets), ""):
            return lines
    return json.dumps(subsets, ensure_ascii=False, default=str)


def from_text(text: str) -> tuple[Any, str]:
    """The folders of a text, and "" or a sentence with the reason why it cannot be read."""
    text = text.strip()
    if text.startswith("["):
        try:
            return as_tables(json.loads(text)), ""
        except (ValueError, RecursionError) as error:
            return text, f"The list of image folders is not JSON: {error}."
    return tuple(of_path(line) for line in filter(None, map(str.strip, text.split("\n")))), ""


def with_paths(value: Any, change: Any) -> Any:
    """A list of folders with each of their paths changed by a function."""
    return tuple(
        {
            name: change(each) if name in PATHS and isinstance(each, str) and each else each
            for name, each in dict(table).items()
        }
        for table in value
    )
