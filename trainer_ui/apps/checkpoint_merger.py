"""The merger app: two or three checkpoints, or a checkpoint and LoRAs, become one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from trainer_core.weights.merging import blocks, methods
from trainer_ui.apps.utility import UtilityApp
from trainer_ui.tool_fields import Card, Choice, Field, File, Files, Number, Switch, Words
from trainer_ui.tool_session import Utility

if TYPE_CHECKING:
    from trainer_ui.tool_session import Module, Values

PAGE = "merging"
PRECISIONS = (
    ("As in model A", "same"),
    ("16 bits, fp16", "fp16"),
    ("16 bits, bf16", "bf16"),
    ("32 bits, fp32", "fp32"),
)
MODELS = ("checkpoint", "diffusion_model")
PARTS = {"denoiser": "UNet or transformer", "text_encoders": "Text encoders", "vae": "VAE"}
USUAL = ""
"""A part as the method has it."""


def checkpoint_merger() -> None:
    """Displays the merger."""
    CheckpointMerger().present()


def _takes(values: Values, number: int) -> bool:
    return number in methods.methods()[values["method"]].models


def _models(values: Values) -> tuple[str, ...]:
    """The models that are given, as many as the method takes."""
    given = [values["a"], values["b"], *([values["c"]] if _takes(values, 3) and values["c"] else [])]
    return tuple(given)


def _parameters() -> tuple[Field, ...]:
    """A field for each parameter of each method, shown while that method is chosen."""

    def is_of(values: Values, method: str, least_models: int) -> bool:
        return values["method"] == method and least_models in (0, len(_models(values)))

    return tuple(
        Number(
            name=f"{method.id}.{name}",
            title=parameter.title,
            default=parameter.default,
            low=parameter.least,
            high=parameter.most,
            help=f"From {parameter.least:g} to {parameter.most:g}.",
            when=partial(is_of, method=method.id, least_models=parameter.models),
        )
        for method in methods.methods().values()
        for name, parameter in method.parameters.items()
    )


def _merge(module: Module, values: Values) -> Any:
    chosen = methods.methods()[values["method"]]
    models = _models(values)
    known = {name for name, one in chosen.parameters.items() if one.models in (0, len(models))}
    return module.Settings(
        models=models,
        method=chosen.id,
        parameters={name: values[f"{chosen.id}.{name}"] for name in known},
        preset=values["preset"],
        block_weights=_numbers(values["block_weights"]),
        parts={part: values[f"part.{part}"] for part in PARTS if values[f"part.{part}"] != USUAL},
        vae=values["vae"],
        dtype=values["dtype"],
        prediction=values["prediction"],
        seed=values["seed"],
        target=values["target"],
    )


def _numbers(text: str) -> tuple[float, ...]:
    from trainer_core.errors import WeightsError

    try:
        return tuple(float(each) for each in text.replace(",", " ").split())
    except ValueError:
        raise WeightsError("The weights of the blocks are numbers with commas between them.", "") from None


def _bake(module: Module, values: Values) -> Any:
    rows = [row for row in values["networks"] if row["path"]]
    return module.Settings(
        model=values["checkpoint"],
        networks=tuple(row["path"] for row in rows),
        strengths=tuple(row["strength"] for row in rows),
        text_strengths=tuple(row["text"] for row in rows),
        dtype=values["dtype"],
        skip=values["skip"],
        target=values["target"],
    )


MERGE = Utility(
    id="merge",
    title="Merge",
    verb="Merge",
    about="Computes each weight of a new checkpoint from those of two or three others of the same family.",
    module="trainer_core.tools.merge",
    made=_merge,
    kinds=("merge",),
    guide=(PAGE, "the-methods"),
    takes="a",
    cards=(
        Card(
            "Models",
            (
                File(name="a", title="Model A", roles=MODELS, help="The new file has its format, and what only A has."),
                File(name="b", title="Model B", roles=MODELS),
                File(
                    name="c",
                    title="Model C",
                    roles=MODELS,
                    help="What A and B were trained from, or a third model of a sum.",
                    when=partial(_takes, number=3),
                ),
            ),
        ),
        Card(
            "Method",
            (
                Choice(
                    name="method",
                    title="How each weight is computed",
                    default="weighted_sum",
                    options=tuple((one.title, one.id) for one in methods.methods().values()),
                    told={one.id: f"{one.formula}. {one.sentence}" for one in methods.methods().values()},
                ),
                *_parameters(),
                Number(
                    name="seed",
                    title="Seed",
                    default=0,
                    whole=True,
                    low=0,
                    help="The same seed drops the same changes.",
                    when=lambda values: methods.methods()[values["method"]].random,
                ),
            ),
        ),
        Card(
            "Blocks and parts",
            (
                Choice(
                    name="preset",
                    title="Weights by block",
                    help="A preset replaces the weight above, block by block.",
                    options=(
                        ("The same in all blocks", ""),
                        *((f"{name}: {one.title}", name) for name, one in blocks.presets().items()),
                    ),
                ),
                Words(
                    name="block_weights",
                    title="Own weights",
                    placeholder="0.5, 0, 0, 1, …",
                    help="One number for each block, in order, BASE first. Empty for the preset, or the weight above.",
                ),
                *(
                    Choice(
                        name=f"part.{part}",
                        title=title,
                        default=USUAL,
                        options=(
                            ("As the method", USUAL),
                            ("Merged", "merge"),
                            ("From A", "a"),
                            ("From B", "b"),
                            ("From C", "c"),
                        ),
                    )
                    for part, title in PARTS.items()
                ),
            ),
            folds=True,
        ),
        Card(
            "Output",
            (
                Words(
                    name="target",
                    title="New file",
                    placeholder="empty: named after the models, in Easel's models folder",
                    help="A name goes into that folder, a path elsewhere. A file that exists is never replaced.",
                ),
                Choice(name="dtype", title="Precision", default="same", options=PRECISIONS),
                File(
                    name="vae",
                    title="Another VAE",
                    roles=("vae",),
                    help="It replaces that of the models. Empty for none.",
                ),
                Choice(
                    name="prediction",
                    title="Prediction type, where a file does not say it",
                    option="--prediction",
                    options=(
                        ("As its family usually has it", ""),
                        ("epsilon", "epsilon"),
                        ("v-prediction", "v_prediction"),
                    ),
                ),
            ),
        ),
    ),
)
BAKE = Utility(
    id="bake",
    title="Bake LoRAs",
    verb="Bake",
    about="Adds what LoRAs change to the weights of a checkpoint: it then needs no LoRA any more.",
    module="trainer_core.tools.bake",
    made=_bake,
    kinds=("bake",),
    guide=("lora-tools", "bake-a-network-into-a-model"),
    takes="checkpoint",
    cards=(
        Card(
            "Files",
            (
                File(
                    name="checkpoint",
                    title="Checkpoint",
                    roles=MODELS,
                    help="Or one part of it, such as its UNet alone.",
                ),
                Files(
                    name="networks",
                    title="LoRA",
                    roles=("lora",),
                    numbers=(("strength", "Strength", 1.0), ("text", "Strength in the text encoders", 1.0)),
                ),
            ),
        ),
        Card(
            "Output",
            (
                Words(
                    name="target",
                    title="New file",
                    placeholder="empty: named after the files, next to the checkpoint",
                    help="A name goes into that folder, a path elsewhere. A file that exists is never replaced.",
                ),
                Choice(
                    name="dtype",
                    title="Precision",
                    default="same",
                    options=(("As in the checkpoint", "same"), *PRECISIONS[1:]),
                ),
                Switch(
                    name="skip",
                    option="--skip-missing",
                    title="Leave out what the checkpoint has no place for",
                    help="Otherwise a LoRA with such a module is refused.",
                ),
            ),
        ),
    ),
)


class CheckpointMerger(UtilityApp):
    """Merges checkpoints, and bakes LoRAs into one."""

    id, title = "checkpoint_merger", "Checkpoint Merger"
    guide_page = PAGE
    utilities = (MERGE, BAKE)
