"""What an engine supports for one model family, and for one method of it: [families.*] of a backend.toml.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trainer_core.errors import BackendError
from trainer_core.files import from_table, refuse_unknown
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.plan.setting import Setting

HINT = "See docs/adding.md for what an engine declares."


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How many control images a model is shown for each image: at `least`, and at `most`.

    `same_shape`: whether they must have the aspect ratio of their image, because the engine cuts both in the same way.
    """

    most: int = 0
    least: int = 0
    same_shape: bool = False


@dataclass(frozen=True, kw_only=True)
class Forced:
    """A setting whose number the engine replaces by `value` for a family, and `why`; `is_highest`: only if it is higher."""

    value: float
    why: str
    is_highest: bool = False

    def allows(self, number: float) -> bool:
        """Whether the engine trains with this number."""
        return number <= self.value if self.is_highest else number == self.value


@dataclass(frozen=True, kw_only=True)
class Written:
    """The names of the layers in a network's file. What loads them is compared with recorded names: `models.loaders.foreseen`.

    `naming` says whose names they are, `layers` is a pattern of those that get a network, and `own_layers` of those that a plain LoRA
    without convolutions changes, if they are others. `own` is the prefix before them in a plain LoRA of the engine's own, and `others` in every other network; with an underscore
    at its end dots become underscores. `ends` is the code of the endings of a plain LoRA's tensors, as in `models.loaders.ENDINGS`.
    """

    naming: Literal["original", "diffusers"]
    layers: str
    own_layers: str = ""
    own: str = "lora_unet_"
    others: str = "lora_unet_"
    ends: Literal["u", "U", "m", "M"] = "u"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What an engine supports for one family and method, as far as Easel's core reads it.

    An engine that needs more keys for a cell declares them as fields of a subclass. Keys can be in the table of the
    family, or in the table of one of its methods, which takes precedence.
    """

    program: str = ""
    """The engine's script that trains this cell, whose options are recorded; "" for an engine with only one program."""
    model_family: str = ""
    """The engine's name of the family, if its recorded options name the families that they are for."""
    lora: Literal["own", "lycoris"] = "own"
    """What creates a plain LoRA: the engine itself, or LyCORIS, which also keeps a full changed weight for each layer."""
    written: Written | None = None
    """The names in the file of a network; None: Easel does not know them."""
    clip_skip: bool = False
    """Whether clip skip is supported."""
    swap: Mapping[str, int] = field(default_factory=dict)
    """The highest number of swapped blocks, by variant of the model; "" means all other variants. Empty: no block swap."""
    offload_checkpointing: bool = False
    """Whether activation offload is supported."""
    not_in_fp8: tuple[str, ...] = ()
    """The dtypes of model files with which the engine stops if the base model is kept in 8 bits."""
    also_fp8: tuple[str, ...] = ()
    """The engine's own options that also keep the base model in 8 bits, but not the text encoders."""
    convolutions: bool = False
    """Whether the model has convolutions that a network can be applied to."""
    caption_tokens: Mapping[str, int] = field(default_factory=dict)
    """The number of caption tokens that are read by default, by model variant; "" means all others. Empty: unknown."""
    tokenizer: Literal["clip", "words"] = "clip"
    """How these tokens are counted: as CLIP does, or by words, for all other text encoders."""
    caption_options: tuple[str, ...] = ()
    """The engine's options that set the number of tokens; empty: it is fixed."""
    caption_lengths: tuple[int, ...] = ()
    """The numbers of tokens that these options accept; a single one is the maximum; empty: any number."""
    bucket_step: int = 64
    """The bucket step, in pixels: the engine requires a multiple of it, or always uses this one."""
    class_images: bool = False
    """Whether class images can be trained, too: as many in an epoch as images of the subject, as `batches` counts them."""
    validation: int = 0
    """How often the model runs for each held-out image when their loss is measured; 0: the engine cannot measure it."""
    masks: bool = False
    """Whether image folders can have masks: files that say which parts of an image are trained."""
    controls: Mapping[str, Controls] = field(default_factory=dict)
    """The control images that the model is shown, by variant of the model; "" means all other variants. Empty: none. The engine
    trains the variants that are named here."""
    flavours: Mapping[str, str] = field(default_factory=dict)
    """The engine's name of each variant that it must be told, as `model.variant`; the first is that of an unknown one. Empty: it
    need not be told."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """By variant, the network that the engine adds to a distilled model while it trains another one, as it is called on the Hub."""
    precisions: tuple[str, ...] = ()
    """The mixed precisions with which the engine trains, the best first; empty: all."""
    trained_dtype: Literal["float32", "precision", "file"] = "float32"
    """In full finetuning: the dtype of the trained weights without `memory.half_weights`: 32 bits, that of mixed precision, or
    that of the file."""

    def controls_of(self, variant: str | None) -> Controls:
        """The control images of a variant; None for one that is not known, which may be any of them."""
        if variant is None:
            return Controls(most=max((each.most for each in self.controls.values()), default=0))
        return self.controls.get(variant) or self.controls.get("") or Controls()


def flavour_problems(cell: Cell, variant: str) -> Iterator[Problem]:
    """The Problem of a variant that the engine has no name for."""
    if variant and cell.flavours and variant not in cell.flavours:
        known = ", ".join(cell.flavours)
        message = f"The engine does not train the variant {variant!r:.60} of this family. It trains: {known}."
        yield Problem("model.variant", "error", message, Fix("Use the detected variant", {"model.variant": ""}))


def flavour(cell: Cell, variant: str) -> str:
    """The engine's name of a variant; "" if it has none for any."""
    return cell.flavours.get(variant) or next(iter(cell.flavours.values()), "")


def caption_problems(cell: Cell, tokens: int | None) -> Iterator[Problem]:
    """The Problem of a caption length that an engine does not support for a family and method."""
    path, lengths = "dataset.caption_tokens", cell.caption_lengths
    if tokens is None:
        return
    if not cell.caption_options:
        message = "Caption length has no effect here: this engine always reads the same number of tokens."
        yield Problem(path, "warning", message, Fix("Leave it out", {path: None}))
    elif len(lengths) == 1 and tokens > lengths[0]:
        message = f"The text encoder of this model reads at most {lengths[0]} tokens here."
        yield Problem(path, "error", message, Fix(f"Use {lengths[0]}", {path: lengths[0]}))
    elif len(lengths) > 1 and tokens not in lengths:
        nearest = next((length for length in lengths if length >= tokens), lengths[-1])
        message = f"The caption length must be one of {', '.join(map(str, lengths))} here."
        yield Problem(path, "error", message, Fix(f"Use {nearest}", {path: nearest}))


def caption_options(cell: Cell, tokens: int | None) -> dict[str, int]:
    """The engine's options for a caption length; {} for the default length, which a parser may not accept as a value."""
    usual = len(cell.caption_lengths) > 1 and tokens == cell.caption_lengths[0]
    return {} if tokens is None or usual else dict.fromkeys(cell.caption_options, tokens)


@dataclass(frozen=True)
class FamilyClaim:
    """What an engine supports for one model family.

    `methods` are the cells by method. `parts` maps the settings of `ModelSettings` that name a companion file
    to the engine's option, `optional_parts` are those that may be empty; `parts_inside` is False
    for an engine that reads each component from a separate file. `algorithms` are the network algorithms it trains,
    `predictions` the prediction types. `layouts` and `prefixes` are those of tensor names in a single file that its loader
    supports; None means any. `folders` and `single_file` say whether a model may be a diffusers folder, and a single file.
    `variants` are variants that it trains although most engines do not. Width and height of samples are multiples of
    `sample_step`, in pixels; None means one latent pixel.

    `without` are variants that it does not train although others of the family are trained, each with the reason.

    `unproved` is the sentence about what was tried instead of real weights; "" if the family was trained with them, or if it
    is not known to differ. `notes` are more sentences that are said before a start; `forced` are settings that the engine replaces,
    by path.

    `part_layouts` and `part_prefixes` are the same for the file of each part, by setting; a setting that is missing there may
    have any. The first of each is what Easel renames a file to. `leading_prefixes` are the settings ("path" is the
    model) whose prefix the loader removes only if the first name in the file, in alphabetical order, has it. `any_ending` are the settings
    of files that the loader reads as safetensors with any extension; it would read others as a pickle.
    `follows_links`: the loader looks at the ending of the file that a link of the model leads to, instead of the link's own.
    `weight_variants`: for each mixed precision, the variants of weights ("fp16") that the loader reads in a diffusers folder
    without plain ones; None means any. `hub` are the repositories in the engine's `hub.toml` whose files its programs load by
    name, and `variant_hub` those that they load only for one variant. `relative_links` is False if it cannot follow a link whose target is a relative path.
    """

    family: str
    methods: Mapping[str, Cell]
    hub: tuple[str, ...] = ()
    variant_hub: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    optional_parts: tuple[str, ...] = ()
    parts_inside: bool = True
    algorithms: tuple[str, ...] = ("lora",)
    predictions: tuple[str, ...] = ()
    layouts: tuple[str, ...] | None = None
    prefixes: tuple[str, ...] | None = None
    folders: bool = True
    single_file: bool = True
    variants: tuple[str, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict)
    unproved: str = ""
    notes: tuple[str, ...] = ()
    forced: Mapping[str, Forced] = field(default_factory=dict)
    sample_step: int | None = None
    part_layouts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    part_prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leading_prefixes: tuple[str, ...] = ()
    any_ending: tuple[str, ...] = ()
    weight_variants: Mapping[str, tuple[str, ...]] | None = None
    follows_links: bool = False
    relative_links: bool = True

    def cell(self, method: str) -> Cell:
        """The cell of a method; an empty cell if the engine does not claim the method."""
        return self.methods.get(method, Cell())

    @property
    def also_trained(self) -> frozenset[str]:
        """The variants that the engine trains although most engines do not: those of `variants`, and those with control images."""
        return frozenset(self.variants).union(*(cell.controls for cell in self.methods.values()))

    @property
    def named_variants(self) -> frozenset[str]:
        """All variants that the claim names, in any of its tables."""
        tables = [
            table
            for cell in self.methods.values()
            for table in (cell.swap, cell.caption_tokens, cell.controls, cell.flavours)
        ]
        return frozenset(self.variants).union(self.without, *tables) - {""}

    def possible(self, prediction: str) -> tuple[str, ...]:
        """The prediction types that a model of this family can have if it has `prediction`, "" meaning unknown.

        Where the engine supports only one, every model has that one.
        """
        return (prediction,) if prediction and len(self.predictions) != 1 else self.predictions

    def ignores(self, about: Setting, method: str, prediction: str) -> str:
        """Why a setting has no effect for a method and a prediction type, as the end of a sentence; "" if it has an effect."""
        possible = self.possible(prediction)
        if about.predictions and possible and not {*possible} & {*about.predictions}:
            if len(about.predictions) == 1:
                return f"this is not a {_shown(about.predictions)} model."
            return f"{_shown(possible)} models do not use it."
        if about.claim and not getattr(self.cell(method), about.claim):
            return "the engine does not support it for this model."
        return ""

    def hub_of(self, variant: str) -> tuple[str, ...]:
        """The repositories that are needed for a variant of the family; for one that is not known, all of them."""
        tables = self.variant_hub
        more = tables.get(variant, ()) if variant else (name for names in tables.values() for name in names)
        return tuple(dict.fromkeys((*self.hub, *more)))

    def needed_parts(self, inside: Collection[str]) -> tuple[str, ...]:
        """The settings of companion files that are needed for a model which contains the components `inside`."""
        contained = inside if self.parts_inside else ()
        return tuple(part for part in self.parts if part not in self.optional_parts and part not in contained)


def _shown(predictions: tuple[str, ...]) -> str:
    return " and ".join(predictions).replace("_", "-")


def read_claims(families: object, cell: type[Cell] | None, where: str) -> Mapping[str, FamilyClaim]:
    """The claims in the table [families], by family; `methods` is a list of names, or a table with keys for each method.

    `cell` is the type of every cell; with None only the core's own keys are read.

    Raises:
        BackendError: a key is unknown or missing, or a value has another type.
    """
    if not isinstance(families, Mapping):
        raise BackendError(f"{where} [families] must be a table.", HINT)
    return {family: _claim(family, table, cell, where) for family, table in families.items()}


def _claim(family: str, table: Any, cell: type[Cell] | None, where: str) -> FamilyClaim:
    table_name = f"{where} [families.{family}]"
    if not isinstance(table, Mapping):
        raise BackendError(f"{table_name} must be a table.", HINT)
    of_claim = [each.name for each in dataclasses.fields(FamilyClaim) if each.name not in ("family", "methods")]
    of_cell = [each.name for each in dataclasses.fields(cell or Cell)]
    of_cells = {key: value for key, value in table.items() if key not in (*of_claim, "methods")}
    if cell is not None:
        refuse_unknown(of_cells, [*of_cell, *of_claim, "methods"], table_name, BackendError, HINT)
    methods = table.get("methods")
    if not isinstance(methods, Mapping | list):
        raise BackendError(f"{table_name} lacks the key 'methods'.", HINT)
    by_method = methods if isinstance(methods, Mapping) else {str(method): {} for method in methods}
    cells = {}
    for method, own in by_method.items():
        place = f"{where} [families.{family}.methods.{method}]"
        if not isinstance(own, Mapping):
            raise BackendError(f"{place} must be a table.", HINT)
        if cell is not None:
            refuse_unknown(own, of_cell, place, BackendError, HINT)
        known = {key: value for key, value in {**of_cells, **own}.items() if key in of_cell}
        cells[method] = from_table(cell or Cell, known, place, BackendError, HINT)
    own_keys = {key: value for key, value in table.items() if key in of_claim}
    return from_table(FamilyClaim, own_keys, table_name, BackendError, HINT, {"family": family, "methods": cells})
