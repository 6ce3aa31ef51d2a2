"""The command line `easel`: options, output and exit codes (0 done, 1 failed, 2 wrong usage, 3 problems in the plan). Not: what a command does."""

from __future__ import annotations

import sys
from typing import Any

INTERRUPTED, FAILED, WRONG_USE, PROBLEMS = 130, 1, 2, 3

try:
    import importlib

    import click

    from trainer_core import __version__
    from trainer_core.cli import show
    from trainer_core.errors import EaselError, PlanError
    from trainer_core.text import without_link_secrets
except KeyboardInterrupt:
    # Ctrl+C before there is a command that could handle it.
    raise SystemExit(INTERRUPTED) from None


COMMANDS = {
    "detect": "detect",
    "models": "models",
    "files": "file_group",
    "upload": "upload",
    "tools": "tools",
    "lora": "lora",
    "merge": "merge",
    "convert": "convert",
    "dataset": "dataset",
    "profiles": "profiles",
    "policies": "policies",
    "presets": "presets",
    "settings": "settings",
    "plan": "job",
    "train": "job",
    "runs": "runs",
    "jobs": "jobs",
    "remote": "remote",
    "diagnose": "diagnose",
    "notify": "notify",
    "backends": "engines",
    "doctor": "doctor",
    "setup": "starting_out",
    "lab": "starting_out",
    "demo": "starting_out",
}
"""The commands, in the order that the help shows, and the module of each."""


class Commands(click.Group):
    """Commands whose modules are loaded on demand, so that no command waits for the imports of another."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name."""
        del ctx
        module = COMMANDS.get(cmd_name)
        return getattr(importlib.import_module(f"{__name__}.{module}"), cmd_name) if module else None

    def invoke(self, ctx: click.Context) -> Any:
        """Calls the command; what the user typed is repeated in an error without the passwords in addresses."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            said = error.format_message()
            if (safe := without_link_secrets(said)) == said:
                raise
            raise click.UsageError(safe, error.ctx) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="easel")
def easel() -> None:
    """Train LoRAs with real engines: recognise models, check plans, start and watch runs."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; an error of Easel is a sentence and an exit code, never a stack trace."""
    wants_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        easel.main(arguments, prog_name="easel")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except EaselError as error:
        show.failure(error, wants_json)
        sys.exit(WRONG_USE if error.is_wrong_use else PROBLEMS if isinstance(error, PlanError) else FAILED)
    except BrokenPipeError:
        sys.exit(FAILED)
    except OSError as error:
        what = f"{error.filename} cannot be used: " if error.filename else ""
        advice = "Check that it exists, its permissions, and the free disk space."
        show.failure(EaselError(f"{what}{error.strerror or error}.", advice), wants_json)
        sys.exit(FAILED)
