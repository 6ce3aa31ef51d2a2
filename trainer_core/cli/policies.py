"""`easel policies`: the prefill policies, and what each sets for a number of pictures."""

from __future__ import annotations

import os

import click

from trainer_core import policies as policy_data
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, known_family
from trainer_core.policies import PolicyCase


@click.command()
@click.argument("name", default="")
@click.option("--pictures", default=20, show_default=True, type=click.IntRange(1), help="For how many pictures.")
@click.option("--family", default="", callback=known_family, help="Only those for this family.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def policies(name: str, pictures: int, family: str, as_json: bool) -> None:
    """List prefill policies, or show what one sets.

    With NAME: what it sets for a number of pictures. A training takes one with --policy. A policy's environment variables (SB_HP_...) are heeded here as in a plan.
    """
    if name:
        _show(name, pictures, family, as_json)
        return
    found = policy_data.for_family(family) if family else list(policy_data.shipped().values())
    if as_json:
        show.as_json([policy.model_dump() for policy in found])
    else:
        rows = ((one.id, ", ".join(one.families) or "any", one.title, one.explanation) for one in found)
        show.table(("id", "for", "title", "explanation"), rows)


def _show(name: str, pictures: int, family: str, as_json: bool) -> None:
    policy = policy_data.get(name)
    case = PolicyCase(images=pictures, family=family or next(iter(policy.families), ""), environment=os.environ)
    found = policy.values(case)
    if as_json:
        problems = [problem.as_dict() for problem in found.notes]
        show.as_json({"values": found.values, "reasons": found.reasons, "message": found.message, "problems": problems})
        return
    show.line(found.message)
    show.table(
        ("setting", "value", "why"), ((path, value, found.reasons[path]) for path, value in found.values.items())
    )
    show.problems(found.notes)
    for source in policy.sources:
        show.line(f"source: {source}", "dim")
