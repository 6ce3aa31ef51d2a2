"""The settings of the images and captions. See `sections` for how settings are declared."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from trainer_core.plan.section import PIXELS, STEPS, TOKENS, Section
from trainer_core.plan.setting import Setting
from trainer_core.plan.subsets import MOST_SUBSETS, Subset, as_tables, of_percent

CLASS_METHODS = ("lora", "dreambooth")
"""The methods that can train class images beside those of the subject."""
VALIDATION_METHODS = ("lora",)
"""The methods with which the loss of held-out images is measured."""


class DatasetSettings(Section):
    """The training images and captions, and how they are processed."""

    path: Annotated[
        str,
        Field(title="Dataset"),
        Setting(path="folder", decides=("dataset", "subject"), done_by_easel=True, option="--dataset"),
    ] = ""
    """The folder with the images and their caption files. Easel only reads it and never writes to it."""
    trigger: Annotated[
        str,
        Field(title="Trigger word"),
        Setting(decides=("dataset", "subject"), done_by_easel=True, option="--trigger"),
    ] = ""
    """The word that makes the trained subject appear in a prompt. It is also the caption of images without one."""
    repeats: Annotated[int, Field(title="Repeats", ge=1, le=1000), Setting(policy="rule")] = 1
    """How many times each image is used in one epoch."""
    resolution: Annotated[
        int,
        Field(title="Resolution", ge=64, le=4096, json_schema_extra=PIXELS),
        Setting(is_side=True, option="--resolution"),
    ] = 512
    """Images are scaled to the area of a square with this side."""
    bucketing: Annotated[bool, Field(title="Aspect buckets")] = True
    """Keeps the aspect ratio of images by grouping them into buckets; off crops every image to a square."""
    bucket_step: Annotated[int, Field(title="Bucket step", ge=8, le=256, json_schema_extra=PIXELS)] = 64
    """The width and height of each bucket are multiples of this."""
    caption_extension: Annotated[
        str,
        Field(title="Caption extension", pattern=r"^\.[A-Za-z0-9_]{1,12}$"),
        Setting(owner="recipe", decides=("dataset",), done_by_easel=True),
    ] = ".txt"
    """The file extension of the caption files next to the images."""
    skip_unreadable: Annotated[
        bool, Field(title="Leave out unreadable files"), Setting(owner="job", decides=("dataset",), done_by_easel=True)
    ] = False
    """Leaves out images that cannot be read, and those whose caption cannot, instead of stopping before the training."""
    caption_tokens: Annotated[
        int | None,
        Field(title="Caption length", ge=1, le=4096, json_schema_extra=TOKENS),
        Setting(claim="caption_options"),
    ] = None
    """How many tokens of each caption are read; the rest has no effect. Empty means the usual length of the model."""
    shuffle_captions: Annotated[bool, Field(title="Shuffle tags")] = False
    """Shuffles the comma-separated tags of a caption at each step, except the kept ones."""
    keep_tokens: Annotated[int, Field(title="Keep tags", ge=0, le=75)] = 0
    """How many tags at the start of a caption keep their place when tags are shuffled."""
    caption_dropout: Annotated[float, Field(title="Caption dropout", ge=0, le=1)] = 0.0
    """The share of steps in which an image is trained without its caption."""
    flip: Annotated[bool, Field(title="Random flip")] = False
    """Mirrors images horizontally at random. Do not use it for asymmetric subjects."""
    random_crop: Annotated[bool, Field(title="Random crop")] = False
    """Crops a different part of an image each time. Cannot be combined with cached latents."""
    color_augmentation: Annotated[bool, Field(title="Colour augmentation")] = False
    """Changes hue and brightness slightly at random. Cannot be combined with cached latents."""
    tag_dropout: Annotated[float, Field(title="Tag dropout", ge=0, le=1)] = 0.0
    """The share of comma-separated tags that are removed from a caption at each step."""
    subsets: Annotated[
        tuple[Subset, ...],
        BeforeValidator(as_tables),
        Field(title="More image folders", max_length=MOST_SUBSETS),
        Setting(owner="job", decides=("dataset",)),
    ] = ()
    """More folders of images, each with its own repeats, captions or masks. What a folder does not set is taken from these settings."""
    selection: Annotated[
        str, Field(title="Selection"), Setting(decides=("dataset",), done_by_easel=True, empty="none")
    ] = ""
    """The name of a selection of the dataset: only its images are trained."""
    validation_share: Annotated[
        float,
        BeforeValidator(of_percent),
        Field(title="Held-out share", ge=0, le=0.5),
        Setting(decides=("dataset",), methods=VALIDATION_METHODS, claim="validation"),
    ] = 0.0
    """The share of images that are not trained, so that their loss shows when the model begins to repeat the others; 0 trains all, 5 means 5 %."""
    validate_every: Annotated[
        int,
        Field(title="Validate every", ge=0, le=1_000_000, json_schema_extra=STEPS),
        Setting(only_with="dataset.validation_share", methods=VALIDATION_METHODS, claim="validation"),
    ] = 0
    """Measures the loss of held-out images every this many steps; 0 measures it after each epoch."""
    masks: Annotated[
        str, Field(title="Masks"), Setting(path="folder", decides=("dataset",), empty="none", claim="masks")
    ] = ""
    """A folder with a mask for each image, with the same name: white is trained, black is not. An image without one is trained whole."""
    controls: Annotated[
        str,
        Field(title="Control images"),
        Setting(path="folder", decides=("dataset",), empty="none", claim="controls"),
    ] = ""
    """A folder with the image that an edit model is shown for each image of the dataset, with the same name. The caption is the instruction."""
    controls_2: Annotated[
        str,
        Field(title="Second control images"),
        Setting(path="folder", decides=("dataset",), empty="none", claim="controls", only_with="dataset.controls"),
    ] = ""
    """A folder with a second image that the model is shown for each image of the dataset, with the same name."""
    controls_3: Annotated[
        str,
        Field(title="Third control images"),
        Setting(path="folder", decides=("dataset",), empty="none", claim="controls", only_with="dataset.controls"),
    ] = ""
    """A folder with a third image that the model is shown for each image of the dataset, with the same name."""
    only_pairs: Annotated[
        bool,
        Field(title="Leave out images without a pair"),
        Setting(owner="job", decides=("dataset",), done_by_easel=True, claim="controls", only_with="dataset.controls"),
    ] = False
    """Leaves out the images that have no control image, instead of stopping before the training."""
    class_path: Annotated[
        str,
        Field(title="Class images"),
        Setting(path="folder", decides=("dataset",), empty="none", methods=CLASS_METHODS, claim="class_images"),
    ] = ""
    """A folder with images of other subjects of the same kind, so that the model does not forget them (prior preservation). An epoch then has as many of them as images of the subject, and twice the steps."""
    class_caption: Annotated[
        str,
        Field(title="Class caption"),
        Setting(done_by_easel=True, only_with="dataset.class_path", methods=CLASS_METHODS, claim="class_images"),
    ] = ""
    """What the class images show, such as "a dog": the caption of those without one. Leave the trigger word out."""
    class_repeats: Annotated[
        int,
        Field(title="Class repeats", ge=1, le=1000),
        Setting(only_with="dataset.class_path", methods=CLASS_METHODS, claim="class_images"),
    ] = 1
    """How many times each class image is used before the next ones are: with too few, all are repeated until they are as many as the images of the subject."""
    class_weight: Annotated[
        float,
        Field(title="Class weight", gt=0, le=10),
        Setting(only_with="dataset.class_path", methods=CLASS_METHODS, claim="class_images"),
    ] = 1.0
    """How much the loss of class images counts beside that of the subject (prior loss weight)."""
