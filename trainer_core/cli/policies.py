"""`easel policies`: the prefill policies, and what each sets for a number of images."""

from __future__ import annotations

import os

import click

from trainer_core import policies as policy_data
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, Whole, known_family
from trainer_core.policies import PolicyCase


@click.command()
@click.argument("name", default="")
@click.option("--images", default=20, show_default=True, type=Whole(), help="The number of images.")
@click.option("--family", default="", callback=known_family, help="Only policies for this family.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def policies(name: str, images: int, family: str, as_json: bool) -> None:
    """List prefill policies, or show what one sets.

    With NAME, show what it sets for a number of images. `easel train` uses one with --policy. A policy's environment variables (SB_HP_...) apply here as in a plan.
    """
    if name:
        _show(name, images, family, as_json)
        return
    found = policy_data.for_family(family) if family else list(policy_data.shipped().values())
    if as_json:
        show.as_json([policy.model_dump() for policy in found])
    else:
        rows = ((one.id, ", ".join(one.families) or "any", one.title, one.explanation) for one in found)
        show.table(("id", "for", "title", "explanation"), rows)


def _show(name: str, images: int, family: str, as_json: bool) -> None:
    policy = policy_data.get(name)
    case = PolicyCase(images=images, family=family or next(iter(policy.families), ""), environment=os.environ)
    found = policy_data.values(policy, case)
    if as_json:
        problems = [problem.as_dict() for problem in found.notes]
        show.as_json({"values": found.values, "reasons": found.reasons, "message": found.message, "problems": problems})
        return
    show.line(found.message)
    show.table(
        ("setting", "value", "reason"), ((path, value, found.reasons[path]) for path, value in found.values.items())
    )
    show.problems(found.notes)
    for source in policy.sources:
        show.line(f"source: {source}", "dim")
