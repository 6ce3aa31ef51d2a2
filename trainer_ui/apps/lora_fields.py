"""The fields that several tools for LoRAs have: the new file, precision, family, and how the rank is chosen."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from trainer_core.models.families import load_families
from trainer_core.weights.lora import naming, ranks
from trainer_ui.tool_fields import Card, Choice, Field, File, Number, Words

if TYPE_CHECKING:
    from trainer_ui.tool_fields import Values

LORAS, MODELS = ("lora",), ("checkpoint", "diffusion_model")
TARGET = Words(
    name="target",
    title="New file",
    placeholder="empty: next to the first file, with another name",
    help="A name goes into that folder, a path elsewhere. A file that exists is never replaced.",
)
DTYPES = (("As in the file", "same"), ("16 bits, fp16", "fp16"), ("16 bits, bf16", "bf16"), ("32 bits, fp32", "fp32"))
DTYPE = Choice(name="dtype", title="Precision", default="same", options=DTYPES)
ONE = File(name="file", title="LoRA", roles=LORAS)
FAMILY = Choice(
    name="family",
    title="Family",
    option="--family",
    options=(("As the file shows it", ""), *((one.title, name) for name, one in load_families().items())),
)
PREDICTION = Choice(
    name="prediction",
    title="Prediction type, where a file does not say it",
    option="--prediction",
    options=(("As its family usually has it", ""), ("epsilon", "epsilon"), ("v-prediction", "v_prediction")),
)
UNKNOWN = Card("If the family is not recognised", (FAMILY,), folds=True)
EXACT = "exact"
NAMINGS = tuple((title, name) for name, title in naming.TITLES.items())


def rank_fields(exact: str = "") -> tuple[Field, ...]:
    """The fields that choose the rank; `exact` are the words for the choice without one, if there is such a choice."""
    options = (
        *(((exact, EXACT),) if exact else ()),
        *((text[0].upper() + text[1:], name) for name, text in ranks.METHODS.items()),
    )

    def needs_rank(values: Values) -> bool:
        return values["method"] != EXACT

    def needs_value(values: Values) -> bool:
        return values["method"] not in (EXACT, ranks.FIXED)

    return (
        Choice(name="method", title="How the rank is chosen", default=EXACT if exact else ranks.FIXED, options=options),
        Number(
            name="value",
            title="Value",
            default=0.95,
            low=0,
            help="A share from 0 to 1; for the last way a number above 1, such as 10.",
            when=needs_value,
        ),
        Number(name="rank", title="Largest rank", default=16, low=1, high=ranks.MOST_RANK, whole=True, when=needs_rank),
        Number(
            name="conv_rank",
            title="Largest rank of convolutions",
            default=0,
            low=0,
            high=ranks.MOST_RANK,
            whole=True,
            help="0 for the same.",
            when=needs_rank,
        ),
    )


def only_if_plain(field: Field) -> Field:
    """The same field, shown only where plain layers are made."""
    shown = field.when
    return dataclasses.replace(field, when=lambda values: values["plain"] and shown(values))


def chosen_rank(values: Values) -> dict[str, Any]:
    """The settings of the rank that the fields stand for."""
    if values["method"] == EXACT:
        return {}
    value = {} if values["method"] == ranks.FIXED else {"value": values["value"]}
    return {"method": values["method"], "rank": values["rank"], "conv_rank": values["conv_rank"], **value}
