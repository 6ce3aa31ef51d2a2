"""`easel remote export`: plans as tasks of other schedulers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer_core.prepare.workbench import Workbench
    from trainer_core.remote.export.task import Exported, Exporter, Task


@click.command("export")
@click.argument("plans", nargs=-1, required=True, metavar="PLAN...")
@click.option("--to", "target", required=True, metavar="SCHEDULER", help="skypilot, dstack or ray.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="The new folder; or the name of the new YAML file."
)
@click.option(
    "--gpu", default="", metavar="NAME", help="Ask for this GPU, or none. Default: those that fit by the estimate."
)
@click.option("--model-from", default="", metavar="LINK", help="The machine downloads the base model from this link.")
@click.option("--bucket", default="", metavar="ADDRESS", help="Images, models and results go through this folder.")
@click.option(
    "--easel", default="", metavar="FOLDER|URL", help="Where Easel is there, or for git. Default: sends a copy."
)
@click.option(
    "--with-token",
    "passes_token",
    is_flag=True,
    help="Pass on the HF_TOKEN of your environment. The export has only its name.",
)
@click.option("--shared", "is_shared", is_flag=True, help="Send no files: the machines have them at the same paths.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(plans: tuple[str, ...], target: str, output: Path, *, as_json: bool, **options: Any) -> None:
    """Write plans as a task for SkyPilot, dstack or Ray.

    A PLAN is a plan file, or a run. The plan is checked for a machine with a GPU that fits, and values that Easel chooses by the
    machine are chosen for that one; the command names those that are other ones than here. Nothing is started, and no account is needed. The export has no
    token and no key, only the names of the variables. Ray takes several plans, each for a node of its own.
    """
    from trainer_core import places
    from trainer_core.errors import RemoteError, wrong_use
    from trainer_core.remote import credentials
    from trainer_core.remote.export import preparing, registry, writing
    from trainer_core.remote.export.task import BUCKET_SETTINGS, Wanted

    exporter = registry.get(target)
    if len(plans) > exporter.most_plans:
        message = f"{exporter.title} takes {exporter.most_plans} plan{'s' * (exporter.most_plans > 1)} in one export."
        raise wrong_use(RemoteError(message, "Export each plan by itself."))
    wanted = Wanted(**options)
    values = credentials.settings()
    given = {name for name in BUCKET_SETTINGS if values.source(name)}
    tasks = [preparing.prepared(_bench(plan), wanted, given) for plan in plans]
    folder, main = _places(places.typed(output).absolute(), exporter)
    exported = exporter.export(tasks, folder, main)
    written = writing.write(exported, folder)
    if as_json:
        show.as_json(_row(exported, folder, written, tasks))
    else:
        _show(exported, folder, tasks)


def _bench(plan: str) -> Workbench:
    """A workbench with a plan file, or with the plan of a run."""
    from trainer_core import places
    from trainer_core.cli.job import bench_from
    from trainer_core.cli.runs import find_run
    from trainer_core.prepare.queued import bench_as_made
    from trainer_core.training.run import Run

    path = places.typed(plan)
    if not path.is_file():
        return bench_as_made(find_run(plan))
    if path.name == "plan.toml" and (path.parent / "spec.json").is_file():
        return bench_as_made(Run.attach(path.parent))
    return bench_from(path, (), {"engine": "", "profile": "", "policy": "", "preset": ""})


def _places(output: Path, exporter: Exporter) -> tuple[Path, str]:
    """The folder of the export, and the name of the scheduler's file in it."""
    from trainer_core.errors import RemoteError, wrong_use

    if output.suffix in {".yaml", ".yml"}:
        if not exporter.is_one_file:
            raise wrong_use(RemoteError(f"An export for {exporter.title} is a folder.", "Name a new folder."))
        return output.parent, output.name
    return output, exporter.main


def _row(exported: Exported, folder: Path, written: Sequence[Path], tasks: Sequence[Task]) -> dict[str, object]:
    return {
        "file": folder / exported.main,
        "files": written,
        "commands": exported.commands,
        "notes": exported.notes,
        "tasks": [
            {
                "name": task.name,
                "engine": task.engine,
                "gpus": [gpu.name for gpu in task.resources.gpus],
                "gpu_count": task.resources.gpu_count,
                "gpu_gib": task.resources.gpu_gib,
                "ram_gib": task.resources.ram_gib,
                "disk_gib": task.resources.disk_gib,
                "mounts": [
                    {"source": mount.source, "target": str(mount.target), "size": mount.size_bytes}
                    for mount in (*task.mounts, *task.uploads)
                ],
                "changed": [
                    {"setting": each.setting, "before": each.before, "after": each.after, "why": each.why}
                    for each in task.changes
                ],
                "variables": [*task.secrets, *task.settings],
                "machines": task.one_machine,
            }
            for task in tasks
        ],
    }


def _show(exported: Exported, folder: Path, tasks: Sequence[Task]) -> None:
    from trainer_core.text import size

    show.line(folder / exported.main, "bold")
    for task in tasks:
        needed = task.resources
        names = ", ".join(gpu.name for gpu in needed.gpus)
        gpus = f"{needed.gpu_count} x {names} ({needed.gpu_gib} GiB needed)" if names else "no GPU"
        show.line(f"  {task.name}: {gpus}, {needed.ram_gib} GiB of RAM, {needed.disk_gib} GiB of disk")
        for mount in (*task.mounts, *task.uploads):
            show.line(f"    {mount.target}: {mount.source} ({size(mount.size_bytes)})", "dim")
        show.line(f"    {task.one_machine}", "dim")
    for note in exported.notes:
        show.notice(note)
    show.line("Next:")
    for each in exported.commands:
        show.line(f"  {each}")
