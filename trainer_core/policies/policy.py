"""What a prefill policy is made of: tiers by number of pictures, and a closed vocabulary of rules, as strict data.

id, title, explanation, sources     what people read
families, uses, methods             what it is for; empty means any
settings, reasons                   what is the same for every dataset, as in a profile, and why
steps, repeats                      rules, for every tier that has none of its own
alpha_per_rank                      alpha as a multiple of the rank, so that it follows a rank of the user's
warmup_percent                      the warm-up as a share of the steps, so that it follows every change of them
pictures_per_step                   how many pictures an optimizer step averages where the numbers come from
[[tiers]]                           by number of pictures, each up to and with `up_to`; the last has no end
[environment]                       environment variables that replace single numbers
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trainer_core.errors import PolicyError
from trainer_core.plan import fields

if TYPE_CHECKING:
    from trainer_core.policies.compute import Prefilled

STEPS, WARMUP, REPEATS = "schedule.steps", "schedule.warmup_steps", "dataset.repeats"
BATCH, ACCUMULATION = "schedule.batch_size", "schedule.gradient_accumulation"
RATE, OPTIMIZER, SCHEDULER = "optimizer.learning_rate", "optimizer.name", "schedule.scheduler"
RANK, ALPHA, SAVED_AS = "network.rank", "network.alpha", "output.save_precision"

PLAIN = frozenset({RATE, OPTIMIZER, SCHEDULER, RANK, ALPHA, BATCH, ACCUMULATION, SAVED_AS})
"""The settings that a policy may give a plain value. Steps, warm-up and repeats come from rules only."""

MOST_STEPS, MOST_PICTURES, MOST_PER_IMAGE = 1_000_000, 1_000_000, 10_000
Count = Annotated[int, Field(ge=1, le=MOST_STEPS)]


class Strict(BaseModel):
    """Frozen data that refuses keys it does not know and values of another type."""

    # Built when the first policy is read: the start of a notebook does not wait for it.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Steps(Strict):
    """How many optimizer steps: a fixed number, so many for each picture, or so many epochs; within `least` and `most`."""

    fixed: Count | None = None
    per_image: Annotated[int, Field(ge=1, le=MOST_PER_IMAGE)] | None = None
    epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    least: Count = 1
    most: Count = MOST_STEPS

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if [self.fixed, self.per_image, self.epochs].count(None) != 2:
            raise ValueError("steps say one of fixed, per_image and epochs")
        if self.least > self.most:
            raise ValueError("least is above most")
        return self


class Repeats(Strict):
    """How often a picture is shown in an epoch: a fixed number, or as makes an epoch of so many pictures."""

    fixed: Annotated[int, Field(ge=1, le=1000)] | None = None
    pictures_per_epoch: Annotated[int, Field(ge=1, le=MOST_PICTURES)] | None = None
    rounding: Literal["up", "down", "nearest"] = "nearest"
    least: Annotated[int, Field(ge=1, le=1000)] = 1
    most: Annotated[int, Field(ge=1, le=1000)] = 1000

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if (self.fixed is None) == (self.pictures_per_epoch is None) or self.least > self.most:
            raise ValueError("repeats say one of fixed and pictures_per_epoch, and least is not above most")
        return self


Values = dict[str, Any]


def _checked(tables: Values) -> Values:
    """The settings by dotted path."""
    flat = fields.flatten(tables)
    for path, value in flat.items():
        if path not in PLAIN:
            raise ValueError(f"{path:.80} cannot be set by a policy")
        flat[path], sentence = fields.check(path, value)
        if sentence:
            raise ValueError(f"{path}: {sentence}")
    return flat


class Tier(Strict):
    """What holds up to and with `up_to` pictures; a `warning` or `note` is said whenever the tier is taken."""

    name: str = ""
    up_to: Annotated[int, Field(ge=1, le=MOST_PICTURES)] | None = None
    steps: Steps | None = None
    repeats: Repeats | None = None
    settings: Values = {}
    reason: str = ""
    warning: str = ""
    note: str = ""

    _settings_are_known = field_validator("settings")(_checked)


class Policy(Strict):
    """One policy, as its file has it."""

    id: str
    title: str
    explanation: str
    sources: list[str] = Field(min_length=1)
    families: list[str] = []
    uses: list[str] = []
    methods: list[str] = ["lora"]
    settings: Values = {}
    reasons: Values = {}
    steps: Steps | None = None
    repeats: Repeats | None = None
    alpha_per_rank: Annotated[float, Field(gt=0, le=16)] | None = None
    warmup_percent: Annotated[int, Field(ge=0, lt=100)] | None = None
    pictures_per_step: Annotated[int, Field(ge=1, le=256)] = 1
    tiers: list[Tier] = [Tier()]
    environment: dict[str, str] = {}

    _settings_are_known = field_validator("settings")(_checked)
    _reasons_have_paths = field_validator("reasons")(fields.flatten)

    @model_validator(mode="after")
    def _tiers_follow_each_other(self) -> Self:
        ends = [tier.up_to for tier in self.tiers]
        inner = [end for end in ends[:-1] if end is not None]
        if not ends or ends[-1] is not None or len(inner) != len(ends) - 1 or inner != sorted(set(inner)):
            raise ValueError("tiers rise by up_to, and the last one has none")
        return self

    def values(self, case: PolicyCase) -> Prefilled:
        """What it sets in a case, each value with its reason, and one message."""
        from trainer_core.policies.compute import values

        return values(self, case)

    def suits(self, family: str, use: str = "", method: str = "") -> bool:
        """Whether it is for this family, use and method; "" is one that is not known."""
        asked = ((family, self.families), (use, self.uses), (method, self.methods))
        return all(not one or not known or one in known for one, known in asked)

    @property
    def owns(self) -> frozenset[str]:
        """The settings it sets, by dotted path."""
        owned = {path for table in (self.settings, *(tier.settings for tier in self.tiers)) for path in table}
        rules = ((STEPS, "steps"), (REPEATS, "repeats"))
        owned |= {path for path, rule in rules if any(getattr(part, rule) for part in (self, *self.tiers))}
        owned |= {ALPHA} if self.alpha_per_rank is not None else set()
        return frozenset(owned | ({WARMUP} if self.warmup_percent is not None else set()))

    def tier(self, images: int) -> int:
        """The place of the tier that so many pictures fall into."""
        return next(place for place, tier in enumerate(self.tiers) if tier.up_to is None or images <= tier.up_to)

    def span(self, place: int) -> str:
        """For how many pictures a tier is, in words; "" for the only one."""
        first = (self.tiers[place - 1].up_to or 0) + 1 if place else 1
        last = self.tiers[place].up_to
        if last is None:
            return f"{first} pictures and more" if place else ""
        return f"up to {last} pictures" if first == 1 else f"{first}-{last} pictures"


@dataclass(frozen=True)
class PolicyCase:
    """What a policy decides upon.

    `images` is the number of pictures, 0 when it is not known. `given` are the values that stand above the policy (the
    user's, and what the card decides), `below` those under it (the profile's), both by dotted path; what is no valid
    value is passed over. `environment` is where variables such as SB_HP_STYLE_LR are looked up.
    """

    images: int
    given: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    method: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def stands(self, path: str) -> bool:
        """Whether a valid value stands above the policy at this path."""
        return path in self.given and not fields.check(path, self.given[path])[1]

    def value(self, path: str, policy: Mapping[str, Any]) -> Any:
        """The value in effect at a path, with these values of the policy."""
        for layer in (self.given, policy, self.below):
            if path in layer:
                value, sentence = fields.check(path, layer[path])
                if not sentence:
                    return value
        return fields.all_fields()[path].default


def load(path: Path) -> Policy:
    """The policy in a TOML file, whose name is its id.

    Raises:
        PolicyError: the file cannot be read, or says something that no policy says.
    """
    from trainer_core.policies.environment import TARGETS

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        policy = Policy.model_validate({**data, "id": path.stem})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"{path.name} cannot be read: {error}.", "Install Easel again.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PolicyError(f"{path.name}: {where}: {first['msg']}.", "Install Easel again.") from error
    for name, target in policy.environment.items():
        if not TARGETS.fullmatch(target):
            raise PolicyError(f"{path.name}: environment.{name}: {target!r:.60} is nothing that can be replaced.")
    return policy
