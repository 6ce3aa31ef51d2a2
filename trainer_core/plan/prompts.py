"""The prompts of the samples: one as it is declared in a plan, one as an engine gets it, and a list of them as text.

The text has one prompt a line, in the form of sd-scripts' prompt files, or it is a JSON list:

    {trigger}, portrait
    a castle at night --w 768 --h 1024 --d 7 --n blurry
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_serializer

from trainer_core.plan.section import PIXELS, Section

MOST_PROMPTS = 32
TRIGGER = "{trigger}"
OPTIONS = {
    "w": ("width", int),
    "h": ("height", int),
    "s": ("inference_steps", int),
    "l": ("guidance", float),
    "d": ("seed", int),
    "n": ("negative_prompt", str),
}
"""The options at the end of a line: name and type of the value. Source: sd-scripts, library/train_util.py, line_to_prompt_dict."""
_OPTION = re.compile(r"\s--(\w+)\s+")


class SamplePrompt(Section):
    """One of several sample prompts. What is left out has the value of the setting with the same name in `sampling`."""

    text: Annotated[str, Field(title="Sample prompt")]
    """The prompt; {trigger} is replaced by the trigger word."""
    negative_prompt: Annotated[str | None, Field(title="Negative prompt")] = None
    """What this sample should not show."""
    width: Annotated[int | None, Field(title="Sample width", ge=64, le=4096, json_schema_extra=PIXELS)] = None
    """The width of this sample."""
    height: Annotated[int | None, Field(title="Sample height", ge=64, le=4096, json_schema_extra=PIXELS)] = None
    """The height of this sample."""
    inference_steps: Annotated[int | None, Field(title="Sampler steps", ge=1, le=150)] = None
    """How many denoising steps this sample takes."""
    guidance: Annotated[float | None, Field(title="Guidance", ge=0, le=50)] = None
    """How closely this sample follows its prompt."""
    seed: Annotated[int | None, Field(title="Sample seed", ge=0, le=2**31 - 1)] = None
    """The seed of this sample."""

    @model_serializer
    def _set_values(self) -> dict[str, Any]:
        """Only the values that are set: TOML has no word for an empty one."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


OWN = tuple(name for name in SamplePrompt.model_fields if name != "text")
"""What a prompt can have of its own; each is also a setting of `sampling`, for the prompts that do not have it."""


@dataclass(frozen=True)
class EffectivePrompt:
    """A prompt as an engine gets it: with the trigger word, and with every value. `index` counts from 0."""

    index: int
    text: str
    negative_prompt: str
    width: int
    height: int
    inference_steps: int
    guidance: float
    seed: int
    has_trigger: bool
    """Whether the trigger word is in the text. A prompt without it shows what the training changes elsewhere."""


def as_tables(found: Any) -> Any:
    """A list of prompts as a tuple of tables; a text alone is a prompt. Anything else is returned as it is, for pydantic to refuse."""
    if not isinstance(found, list | tuple):
        return found
    return tuple({"text": each} if isinstance(each, str) else each for each in found)


def filled(index: int, prompt: SamplePrompt, shared: Mapping[str, Any], trigger: str) -> EffectivePrompt:
    """The prompt with this trigger word; `shared` has the values of `OWN` for what it does not have itself."""
    own = {name: value for name in OWN if (value := getattr(prompt, name)) is not None}
    values = {**{name: shared[name] for name in OWN}, **own}
    values["negative_prompt"] = _with_trigger(values["negative_prompt"], trigger)
    return EffectivePrompt(
        index, _with_trigger(prompt.text, trigger), has_trigger=has_trigger(prompt.text, trigger), **values
    )


def has_trigger(text: str, trigger: str) -> bool:
    """Whether a prompt contains the trigger word, written out or as {trigger}."""
    if not trigger:
        return False
    return TRIGGER in text or re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", text, re.IGNORECASE) is not None


def _with_trigger(text: str, trigger: str) -> str:
    return text.replace(TRIGGER, trigger).strip(" ,")


def texts(value: Any) -> tuple[str, ...]:
    """Every text in a value: a text alone, or those of a list of prompts."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        return tuple(text for each in value.values() for text in texts(each))
    return tuple(text for each in value for text in texts(each)) if isinstance(value, Sequence) else ()


def with_texts(value: Any, change: Any) -> Any:
    """The value with each of its texts changed by a function."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: with_texts(each, change) for name, each in value.items()}
    return tuple(with_texts(each, change) for each in value) if isinstance(value, list | tuple) else value


def to_text(prompts: Iterable[Any]) -> str:
    """The prompts as text: one a line, or as JSON if a line would be read differently, or if some are no prompts."""
    prompts = list(prompts)
    if not all(isinstance(each, Mapping) and isinstance(each.get("text"), str) for each in prompts):
        return json.dumps(prompts, ensure_ascii=False, default=str)
    lines = "\n".join(map(_line, prompts))
    if prompts and from_text(lines) != (tuple(dict(each) for each in prompts), ""):
        return json.dumps(prompts, ensure_ascii=False)
    return lines


def _line(prompt: Mapping[str, Any]) -> str:
    given = ((letter, prompt[name]) for letter, (name, _) in OPTIONS.items() if name in prompt)
    return " ".join((prompt["text"], *(f"--{letter} {value}" for letter, value in given)))


def from_text(text: str) -> tuple[Any, str]:
    """The prompts of a text, and "" or a sentence with the reason why it cannot be read."""
    text = text.strip()
    if text.startswith("["):
        try:
            return as_tables(json.loads(text)), ""
        except (ValueError, RecursionError) as error:
            return text, f"The list of prompts is not JSON: {error}."
    found = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        prompt, sentence = _prompt(line)
        if sentence:
            return text, sentence
        found.append(prompt)
    return tuple(found), ""


def with_options(prompt: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The prompt with the options at the end of its text as values of its own, and "" or why one cannot be read.

    People paste prompts with the options of sd-scripts, such as "a castle --w 768 --d 7"; an engine that gets prompts as data
    would take them for words.
    """
    found, sentence = _prompt(str(prompt["text"]))
    return ({**prompt, **found}, "") if not sentence else (dict(prompt), sentence)


def _prompt(line: str) -> tuple[dict[str, Any], str]:
    start, *rest = _OPTION.split(f" {line}")
    prompt: dict[str, Any] = {"text": start.strip()}
    for letter, value in zip(rest[::2], rest[1::2], strict=True):
        if letter not in OPTIONS:
            known = ", ".join(f"--{each}" for each in OPTIONS)
            return prompt, f"A prompt has no option --{letter:.20}. Known: {known}."
        name, kind = OPTIONS[letter]
        try:
            prompt[name] = kind(value.strip())
        except ValueError:
            return prompt, f"{value.strip()!r:.40} is not a number, so it cannot follow --{letter}."
    return prompt, ""
