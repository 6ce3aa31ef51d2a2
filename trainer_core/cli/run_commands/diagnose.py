"""`easel runs diagnose`: explains why a run failed; the same as `easel diagnose` for a run."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli.options import bundle_options, check_bundle


@click.command("diagnose")
@click.argument("run")
@bundle_options
def command(run: str, bundle: Path | None, with_captions: bool, as_json: bool) -> None:
    """Explain why RUN failed, with changes that may help.

    The same as `easel diagnose RUN`. The cause in the JSON output is null if Easel knows none.
    """
    from trainer_core.cli.diagnose import explain
    from trainer_core.cli.runs import find_run

    check_bundle(bundle, with_captions)
    explain(find_run(run), bundle, with_captions, as_json)
