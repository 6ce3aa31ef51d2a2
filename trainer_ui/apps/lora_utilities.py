"""The LoRA app: LoRAs are looked into, merged, resized, scaled, extracted, converted and published, and their metadata edited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer_core.weights.lora import ranks
from trainer_core.weights.networks import naming as extracted
from trainer_ui.app import Place
from trainer_ui.apps.lora_fields import (
    DTYPE,
    DTYPES,
    FAMILY,
    LORAS,
    MODELS,
    NAMINGS,
    ONE,
    PREDICTION,
    TARGET,
    UNKNOWN,
    chosen_rank,
    only_if_plain,
    rank_fields,
)
from trainer_ui.apps.lora_publishing import METADATA, PUBLISH
from trainer_ui.apps.utility import UtilityApp
from trainer_ui.panels.tools.lora_report import LoraReport
from trainer_ui.panels.tools.metadata_view import MetadataView
from trainer_ui.panels.tools.publishing import FileFacts, PublishBar, PublishPlace
from trainer_ui.tool_fields import Blocks, Card, Choice, File, Files, Number, Switch
from trainer_ui.tool_session import Utility

if TYPE_CHECKING:
    from trainer_ui.tool_session import Module, Values

PAGE = "lora-tools"


def lora_utilities() -> None:
    """Displays the LoRA app."""
    LoraUtilities().present()


def _inspect(module: Module, values: Values) -> Any:
    return module.Settings(file=values["file"], family=values["family"])


def _merge(module: Module, values: Values) -> Any:
    rows = [row for row in values["files"] if row["path"]]
    return module.Settings(
        files=tuple(row["path"] for row in rows),
        strengths=tuple(row["strength"] for row in rows),
        naming=values["naming"],
        dtype=values["dtype"],
        target=values["target"],
        family=values["family"],
        **chosen_rank(values),
    )


def _half(module: Any, values: Values) -> Values:
    """Half of the largest rank of the file; where the numbers decide about the rank, all of it."""
    if not values["file"]:
        return {}
    largest = module.largest_rank(values["file"], values["family"])
    return {"rank": max(1, largest // 2 if values["method"] == ranks.FIXED else largest)}


def _resize(module: Module, values: Values) -> Any:
    names = ("file", "dtype", "target", "family")
    return module.Settings(**{name: values[name] for name in names}, **chosen_rank(values))


def _scale(module: Module, values: Values) -> Any:
    blocks = {block: weight for block, weight in values["blocks"].items() if weight != 1}
    return module.Settings(**{name: values[name] for name in ("file", "strength", "target", "family")}, blocks=blocks)


def _convert(module: Module, values: Values) -> Any:
    rank = chosen_rank(values) if values["plain"] else {}
    return module.Settings(
        file=values["file"],
        naming=values["naming"],
        plain=values["plain"],
        dtype=values["dtype"],
        target=values["target"],
        family=values["family"],
        **rank,
    )


def _extract(module: Module, values: Values) -> Any:
    names = (
        "tuned",
        "base",
        "target",
        "rank",
        "conv_rank",
        "energy",
        "denoiser",
        "text",
        "naming",
        "dtype",
        "family",
        "prediction",
    )
    return module.Settings(**{name: values[name] for name in names})


INSPECT = Utility(
    id="inspect",
    title="Look inside",
    verb="Look inside",
    about="Rank, strength by block, settings of its training, likely trigger words, and which programs load it.",
    module="trainer_core.tools.lora_inspect",
    made=_inspect,
    kinds=("lora-inspect",),
    guide=(PAGE, "what-is-in-a-lora"),
    takes="file",
    makes=False,
    cards=(Card("File", (ONE,)), UNKNOWN),
)
MERGE = Utility(
    id="merge",
    title="Merge",
    verb="Merge",
    about="Makes one LoRA that changes a model as several do together.",
    module="trainer_core.tools.lora_merge",
    made=_merge,
    kinds=("lora-merge",),
    guide=(PAGE, "merging"),
    takes="files",
    cards=(
        Card(
            "LoRAs",
            (Files(name="files", title="LoRA", roles=LORAS, numbers=(("strength", "Strength", 1.0),), least=2),),
        ),
        Card("Rank", rank_fields("Exact: the ranks add up")),
        UNKNOWN,
        Card(
            "Output",
            (
                TARGET,
                DTYPE,
                Choice(name="naming", title="Names of its layers", options=(("As in the first file", ""), *NAMINGS)),
            ),
        ),
    ),
)
RESIZE = Utility(
    id="resize",
    title="Resize",
    verb="Resize",
    about="Makes a smaller LoRA that changes a model as nearly as possible in the same way. The error of each layer is said.",
    module="trainer_core.tools.lora_resize",
    made=_resize,
    kinds=("lora-resize",),
    guide=(PAGE, "a-smaller-rank"),
    takes="file",
    proposes=_half,
    cards=(Card("File", (ONE,)), Card("Rank", rank_fields()), UNKNOWN, Card("Output", (TARGET, DTYPE))),
)
SCALE = Utility(
    id="scale",
    title="Scale",
    verb="Scale",
    about="Makes a LoRA that is stronger or weaker, as a whole or in some blocks. At 0 a block is left out.",
    module="trainer_core.tools.lora_scale",
    made=_scale,
    kinds=("lora-scale",),
    guide=(PAGE, "weaker-stronger-or-only-in-some-blocks"),
    takes="file",
    cards=(
        Card("File", (ONE,)),
        Card(
            "Strength",
            (
                Number(name="strength", title="Strength of the whole", default=1.0),
                Blocks(name="blocks", title="Blocks", of="file", default={}),
            ),
        ),
        UNKNOWN,
        Card("Output", (TARGET,)),
    ),
)
EXTRACT = Utility(
    id="extract",
    title="Extract",
    verb="Extract",
    about="Makes a LoRA of the difference between a finetuned checkpoint and the one that it was made from.",
    module="trainer_core.tools.extract",
    made=_extract,
    kinds=("extract",),
    guide=(PAGE, "extract-a-lora-from-two-models"),
    cards=(
        Card(
            "Models",
            (
                File(name="tuned", title="Finetuned model", roles=MODELS, wants="either"),
                File(name="base", title="Base model", roles=MODELS, wants="either"),
            ),
        ),
        Card(
            "Rank",
            (
                Number(name="rank", title="Rank", default=32, low=1, high=ranks.MOST_RANK, whole=True),
                Number(
                    name="energy",
                    title="Share of the difference that is kept",
                    default=0.0,
                    low=0,
                    high=1,
                    help="0 for the rank alone; with 0.95 a layer gets only the rank that it needs for 95 %, up to the rank above.",
                ),
                Number(
                    name="conv_rank",
                    title="Rank of convolutions",
                    option="--conv-rank",
                    default=0,
                    low=0,
                    high=ranks.MOST_RANK,
                    whole=True,
                    help="0 leaves them out.",
                ),
                Switch(name="denoiser", title="UNet or transformer", default=True),
                Switch(name="text", title="Text encoders", default=True, help="Where they differ."),
            ),
        ),
        Card("If the family is not recognised", (FAMILY, PREDICTION), folds=True),
        Card(
            "Output",
            (
                TARGET,
                Choice(name="dtype", title="Precision", default="fp16", options=DTYPES[1:]),
                Choice(
                    name="naming",
                    title="Names of its layers",
                    default=extracted.NAMINGS[0],
                    options=(
                        ("sd-scripts: for most programs", extracted.NAMINGS[0]),
                        ("PEFT: for diffusers", extracted.NAMINGS[1]),
                    ),
                ),
            ),
        ),
    ),
)
CONVERT = Utility(
    id="convert",
    title="Convert",
    verb="Convert",
    about="Gives the layers other names, another precision, or makes plain LoRA layers of LoHa, LoKr and full differences.",
    module="trainer_core.tools.lora_convert",
    made=_convert,
    kinds=("lora-convert",),
    guide=(PAGE, "names-for-another-program"),
    takes="file",
    cards=(
        Card("File", (ONE,)),
        Card(
            "Form",
            (
                Choice(name="naming", title="Names of its layers", options=(("As they are", ""), *NAMINGS)),
                Switch(name="plain", title="Make every layer a plain LoRA layer", option="--plain"),
                *(only_if_plain(each) for each in rank_fields("Exact: whatever rank it takes")),
            ),
        ),
        UNKNOWN,
        Card("Output", (TARGET, DTYPE)),
    ),
)


class LoraUtilities(UtilityApp):
    """Tools for LoRAs."""

    id, title = "lora_utilities", "LoRA Utilities"
    guide_page = PAGE
    elsewhere = (("Checkpoint_Merger", "Bake LoRAs"),)
    utilities = (INSPECT, MERGE, RESIZE, SCALE, EXTRACT, CONVERT, METADATA, PUBLISH)
    results = (LoraReport,)

    def place_of(self, utility: Utility) -> Place:
        """The metadata of the file stands beside its form; an upload has a form of its own."""
        if utility is PUBLISH:
            self.publishing = PublishPlace(self.session, utility)
            columns = [
                [self.kept.lines[utility.id], self.forms[utility.id], self.publishing],
                [FileFacts(self.publishing)],
            ]
            return Place(utility.title, columns, PublishBar(self.publishing), "wide-left", utility.guide)
        place = super().place_of(utility)
        if utility is METADATA:
            self.metadata_view = MetadataView(self.session, utility)
            form, notes = place.columns
            return replace(place, columns=[form, [*notes, self.metadata_view]])
        return place

    def close(self, why: str = "") -> None:
        """Ends the feed of an upload, too; the upload goes on."""
        self.publishing.close()
        super().close(why)
