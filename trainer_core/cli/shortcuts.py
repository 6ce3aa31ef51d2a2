"""Options that set a setting in another form: a number of epochs instead of steps, and sample prompts one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from trainer_core.plan import fields
from trainer_core.prepare import length, prompt_ideas

if TYPE_CHECKING:
    from trainer_core.plan.fields import SettingField
    from trainer_core.prepare.workbench import Workbench

KINDS = ("captions", "templates")


def shortcut_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options."""
    kinds = click.Choice(KINDS)
    function = click.option(
        "--sample-prompts-from",
        "prompts_from",
        type=kinds,
        help="Use sample prompts that Easel offers: captions that differ most, or templates for the use of the profile.",
    )(function)
    function = click.option(
        "--sample-prompt",
        "prompt_texts",
        multiple=True,
        metavar="TEXT",
        help="A sample prompt; may be given several times. It can end with options such as --w 768 --d 7.",
    )(function)
    for option, field in reversed(_in_epochs().items()):
        text = f"{field.title}, in epochs; it becomes a number of steps."
        function = click.option(option, _parameter(option), metavar="N", help=text)(function)
    return function


def _in_epochs() -> dict[str, SettingField]:
    """The settings that can be given in epochs, by their option for that."""
    return {field.about.epochs: field for field in fields.all_fields().values() if field.about.epochs}


def _parameter(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def apply(bench: Workbench, options: Mapping[str, Any]) -> None:
    """Sets what the options say on a workbench that has every other value, because epochs depend on them.

    Raises:
        click.UsageError: an option and the setting that it stands for are both given, or there is nothing to offer.
        PlanError: epochs cannot be counted, or a number is invalid.
    """
    for option, field in _in_epochs().items():
        if text := options.get(_parameter(option)):
            if options.get(field.path.replace(".", "__")) is not None:
                raise click.UsageError(f"Give either {option} or the number of steps, not both.")
            bench.set(length.from_epochs(bench.state, field.path, text))
    if found := _prompts(bench, options):
        bench.set({"sampling.prompts": found})


def _prompts(bench: Workbench, options: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The prompts of the options; () without any."""
    texts, kind = options.get("prompt_texts") or (), options.get("prompts_from")
    if (texts or kind) and options.get("sampling__prompts") is not None:
        raise click.UsageError(
            "Give the sample prompts in one way: --sampling-prompts or the shorter options, not both."
        )
    found: list[dict[str, Any]] = []
    for text in texts:
        value, sentence = fields.from_text("sampling.prompts", " ".join(text.split()))
        if sentence:
            raise click.UsageError(sentence)
        found += value
    if kind:
        offered = prompt_ideas.suggested(bench.state, kind)
        if not offered:
            raise click.UsageError("The dataset has no captions to take sample prompts from. Use templates.")
        found += offered
    return tuple(found)
