"""The data model of a prefill policy: tiers by number of images, and a fixed vocabulary of rules, strictly validated.

id, title, explanation, sources     texts for the user
families, uses, methods             what it is for; empty means any
automatic                           whether it is used if neither a profile nor a policy is chosen
settings, reasons                   values that are the same for every dataset, as in a profile, and why
steps, repeats                      rules for every tier without rules of its own
alpha_per_rank                      alpha as a multiple of the rank, so that it changes with the rank
warmup_percent                      the warm-up as a share of the steps, so that it changes with them
images_per_step                     how many images per optimizer step the numbers were made for
[[tiers]]                           by number of images, up to and including `up_to`; the last tier has no limit
[environment]                       environment variables that replace single numbers
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trainer_core.errors import PolicyError
from trainer_core.files import read_toml
from trainer_core.plan import fields

STEPS, WARMUP, REPEATS = "schedule.steps", "schedule.warmup_steps", "dataset.repeats"
BATCH, ACCUMULATION = "schedule.batch_size", "schedule.gradient_accumulation"
RATE, OPTIMIZER, SCHEDULER = "optimizer.learning_rate", "optimizer.name", "schedule.scheduler"
RANK, ALPHA = "network.rank", "network.alpha"

TARGETS = re.compile(r"learning_rate|steps\.(per_image|least|most)|tiers\.[0-9]\.(learning_rate|up_to)")
"""What an environment variable can replace: a number of the policy, or of one of its tiers, counted from 0."""
FORMER_NAMES = {"pictures_per_step": "images_per_step", "pictures_per_epoch": "images_per_epoch"}
"""Former names of keys, which users' files may still contain."""

MOST_STEPS, MOST_IMAGES, MOST_PER_IMAGE = 1_000_000, 1_000_000, 10_000
Count = Annotated[int, Field(ge=1, le=MOST_STEPS)]


class Strict(BaseModel):
    """Frozen data that refuses unknown keys and values of another type."""

    # Built when the first policy is read, so that it does not slow the start of a notebook.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class Steps(Strict):
    """How many optimizer steps: a fixed number, a number per image, or a number of epochs; limited to `least` and `most`."""

    fixed: Count | None = None
    per_image: Annotated[int, Field(ge=1, le=MOST_PER_IMAGE)] | None = None
    epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    least: Count = 1
    most: Count = MOST_STEPS

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if [self.fixed, self.per_image, self.epochs].count(None) != 2:
            raise ValueError("steps need exactly one of fixed, per_image and epochs")
        if self.least > self.most:
            raise ValueError("least is above most")
        return self


class Repeats(Strict):
    """How often an epoch uses each image: a fixed number, or enough for a number of images per epoch."""

    fixed: Annotated[int, Field(ge=1, le=1000)] | None = None
    images_per_epoch: Annotated[int, Field(ge=1, le=MOST_IMAGES)] | None = None
    rounding: Literal["up", "down", "nearest"] = "nearest"
    least: Annotated[int, Field(ge=1, le=1000)] = 1
    most: Annotated[int, Field(ge=1, le=1000)] = 1000

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if (self.fixed is None) == (self.images_per_epoch is None) or self.least > self.most:
            raise ValueError("repeats need exactly one of fixed and images_per_epoch, and least must not be above most")
        return self


Values = dict[str, Any]


def _checked(tables: Values) -> Values:
    """The settings by dotted path."""
    flat = fields.flatten(tables)
    for path, value in flat.items():
        setting = fields.all_fields().get(path)
        if setting is None or setting.about.policy != "value":
            raise ValueError(f"{path:.80} cannot be set by a policy")
        flat[path], sentence = fields.check(path, value)
        if sentence:
            raise ValueError(f"{path}: {sentence}")
    return flat


class Tier(Strict):
    """The values for up to `up_to` images (inclusive); its `warning` and `note` are shown whenever the tier applies."""

    name: str = ""
    up_to: Annotated[int, Field(ge=1, le=MOST_IMAGES)] | None = None
    steps: Steps | None = None
    repeats: Repeats | None = None
    settings: Values = {}
    reason: str = ""
    warning: str = ""
    note: str = ""

    _settings_are_known = field_validator("settings")(_checked)


class Policy(Strict):
    """One policy, as in its file."""

    id: str
    title: str
    explanation: str
    sources: list[str] = Field(min_length=1)
    families: list[str] = []
    uses: list[str] = []
    methods: list[str] = ["lora"]
    automatic: bool = False
    settings: Values = {}
    reasons: Values = {}
    steps: Steps | None = None
    repeats: Repeats | None = None
    alpha_per_rank: Annotated[float, Field(gt=0, le=16)] | None = None
    warmup_percent: Annotated[int, Field(ge=0, lt=100)] | None = None
    images_per_step: Annotated[int, Field(ge=1, le=256)] = 1
    tiers: list[Tier] = [Tier()]
    environment: dict[str, str] = {}

    _settings_are_known = field_validator("settings")(_checked)
    _reasons_have_paths = field_validator("reasons")(fields.flatten)

    @model_validator(mode="after")
    def _tiers_follow_each_other(self) -> Self:
        ends = [tier.up_to for tier in self.tiers]
        inner = [end for end in ends[:-1] if end is not None]
        if not ends or ends[-1] is not None or len(inner) != len(ends) - 1 or inner != sorted(set(inner)):
            raise ValueError("tiers must be in rising order of up_to, and the last one must have none")
        return self

    def suits(self, family: str, use: str = "", method: str = "") -> bool:
        """Whether it is for this family, use and method; "" means unknown."""
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
        """The index of the tier for a number of images."""
        return next(place for place, tier in enumerate(self.tiers) if tier.up_to is None or images <= tier.up_to)

    def span(self, place: int) -> str:
        """The range of images of a tier, as text; "" if it is the only tier."""
        first = (self.tiers[place - 1].up_to or 0) + 1 if place else 1
        last = self.tiers[place].up_to
        if last is None:
            return f"{first} or more images" if place else ""
        return f"up to {last} images" if first == 1 else f"{first}-{last} images"


@dataclass(frozen=True)
class PolicyCase:
    """The inputs of a policy.

    `images` is the number of images, 0 if unknown. `given` contains the values that override the policy (the user's, and
    those set for the GPU), `below` those that the policy overrides (the profile's), both by dotted path; invalid values
    are ignored. `environment` is where variables such as SB_HP_STYLE_LR are looked up. `processes` train at the same time.
    """

    images: int
    given: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    method: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1

    def stands(self, path: str) -> bool:
        """Whether a valid value overrides the policy at this path."""
        return path in self.given and not fields.check(path, self.given[path])[1]

    def value(self, path: str, policy: Mapping[str, Any]) -> Any:
        """The effective value at a path, given these values of the policy."""
        for layer in (self.given, policy, self.below):
            if path in layer:
                value, sentence = fields.check(path, layer[path])
                if not sentence:
                    return value
        return fields.all_fields()[path].default


def _renamed(data: Any) -> Any:
    """The tables of a file, with former names of keys replaced by the current ones."""
    if isinstance(data, list):
        return [_renamed(each) for each in data]
    if not isinstance(data, dict):
        return data
    return {FORMER_NAMES.get(key, key): _renamed(value) for key, value in data.items()}


def load(path: Path) -> Policy:
    """The policy in a TOML file; the file name is its id.

    Raises:
        PolicyError: the file cannot be read, or is not a valid policy.
    """
    data = read_toml(path, PolicyError, "Install Easel again.")
    try:
        policy = Policy.model_validate({**_renamed(data), "id": path.stem})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PolicyError(f"{path.name}: {where}: {first['msg']}.", "Install Easel again.") from error
    for name, target in policy.environment.items():
        if not TARGETS.fullmatch(target):
            raise PolicyError(
                f"{path.name}: environment.{name}: {target!r:.60} is not a number that a variable can replace."
            )
    return policy
