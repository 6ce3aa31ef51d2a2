"""The command line `easel`. Exit codes: 0 done, 1 failed, 2 wrong use, 3 problems in the plan."""

from __future__ import annotations

import sys

import click

from trainer_core import __version__
from trainer_core.cli import detect, download, engines, inspect, job, models, policies, presets, profiles, runs, show
from trainer_core.errors import EaselError, PlanError

FAILED, PROBLEMS = 1, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="easel")
def easel() -> None:
    """Train LoRAs with real engines: recognise a model, check a plan, launch and watch a run."""


for command in (
    detect.detect,
    models.models,
    inspect.dataset,
    profiles.profiles,
    policies.policies,
    presets.presets,
    job.plan,
    job.train,
    runs.runs,
    engines.backends,
    engines.doctor,
):
    easel.add_command(command)
models.models.add_command(download.download)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; an error of Easel is a sentence and an exit code, never a stack trace."""
    try:
        easel.main(arguments, prog_name="easel")
    except PlanError as error:
        show.error(error)
        sys.exit(PROBLEMS)
    except EaselError as error:
        show.error(error)
        sys.exit(FAILED)
    except BrokenPipeError:
        sys.exit(FAILED)
    except OSError as error:
        what = f"{error.filename} cannot be used: " if error.filename else ""
        show.error(
            EaselError(f"{what}{error.strerror or error}.", "Check that it is there, its rights, and free space.")
        )
        sys.exit(FAILED)
