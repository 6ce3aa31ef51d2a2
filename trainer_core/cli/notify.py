"""`easel notify`: the webhooks that are told when a job has ended."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, Whole
from trainer_core.errors import wrong_use
from trainer_core.notifications import send, webhooks
from trainer_core.notifications.message import EXAMPLE
from trainer_core.notifications.webhooks import FORMS, STATES, WebhookError


@click.group()
def notify() -> None:
    """Send a message to a webhook when a job has ended.

    The webhook is one of Discord, of ntfy, or any other. A message has the name, kind and state of the job, its step and its duration. It never has paths, captions, prompts or
    log lines.
    """


@notify.command()
@click.option(
    "--form", type=click.Choice(FORMS), default=None, help="The format. Default: the one that the host suggests."
)
@click.option("--on", "states", multiple=True, type=click.Choice(sorted(STATES), case_sensitive=False), help="Only for jobs that end so; may be repeated. Default: all.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def add(form: str | None, states: tuple[str, ...], as_json: bool) -> None:
    """Add a webhook.

    The address is asked for, or read from standard input: whoever knows it can send messages, and other users of this
    machine can read the arguments of a command.
    """
    is_person = sys.stdin.isatty()
    address = (
        click.prompt("Address of the webhook", hide_input=True, err=as_json) if is_person else sys.stdin.readline()
    )
    hook = webhooks.webhook(address, form or "", states)
    known = webhooks.load()
    kept = [*(each for each in known if each.address != hook.address), hook]
    webhooks.save(kept)
    if as_json:
        show.as_json({"number": len(kept), "webhook": hook.shown, "on": hook.states})
        return
    show.line(f"Added: {hook.shown}. Test it with: easel notify test")


@notify.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_hooks(as_json: bool) -> None:
    """List the webhooks, by host: addresses are secret."""
    rows = [(number, hook.shown, ", ".join(hook.states) or "all") for number, hook in enumerate(webhooks.load(), 1)]
    if as_json:
        show.as_json([{"number": number, "webhook": shown, "on": states} for number, shown, states in rows])
    elif rows:
        show.table(("number", "webhook", "on"), ((str(number), *rest) for number, *rest in rows))
    else:
        show.line("There is no webhook. Add one with: easel notify add")


@notify.command()
@click.argument("number", type=Whole())
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def remove(number: int, as_json: bool) -> None:
    """Remove a webhook by its number in the list."""
    known = webhooks.load()
    if not 1 <= number <= len(known):
        raise wrong_use(WebhookError(f"There is no webhook number {number}.", "The numbers: easel notify list"))
    removed = known.pop(number - 1)
    webhooks.save(known)
    if as_json:
        show.as_json({"removed": removed.shown, "left": len(known)})
    else:
        show.line(f"Removed: {removed.shown}.")


@notify.command()
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def test(as_json: bool) -> None:
    """Send a test message to every webhook. The exit code is 1 if one does not accept it."""
    known = webhooks.load()
    if not known:
        raise WebhookError("There is no webhook.", "Add one with: easel notify add")
    rows = []
    for number, hook in enumerate(known, 1):
        reason = ""
        try:
            send.send(hook, EXAMPLE)
        except WebhookError as error:
            reason = str(error)
            if not as_json:
                show.error(error)
        rows.append({"number": number, "webhook": hook.shown, "sent": not reason, "reason": reason})
        if not reason and not as_json:
            show.line(f"{hook.shown}: sent.")
    if as_json:
        show.as_json(rows)
    sys.exit(0 if all(row["sent"] for row in rows) else 1)
