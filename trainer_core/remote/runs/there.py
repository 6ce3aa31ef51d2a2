"""The trainer's side of remote runs: starts the run that a request asks for, once, and says what becomes of it.

The run is an ordinary run of the trainer's Easel, in the folder `remote-runs` of its home, in a folder with the request's id. A
carrier calls these functions on the trainer; `python -m trainer_core.remote.runs.there_command` does it for one over a pipe.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.errors import EaselError, JobError, PlanError
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.folder import SPEC, SUPERVISOR, json_object, writing
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.stop_request import When
from trainer_core.remote.runs import carrier, hashes
from trainer_core.remote.runs.carrier import FileThere, Seen
from trainer_core.remote.runs.locks import LOCKS, locked
from trainer_core.remote.runs.request import CHOSEN, Request, checked_id
from trainer_core.text import printable
from trainer_core.training import artefacts
from trainer_core.training.folder import RESUMES, RunFolder
from trainer_core.training.run import Run, list_runs

FOLDER, DELIVERED = "remote-runs", "delivered"
REQUEST = "request"
"""The entry of a run's versions.json that has the id of the request."""
CHUNK_BYTES = 4 << 20
_STOPPED = ".stopped"


def home() -> Path:
    """The folder of the runs that others have requested here."""
    return places.home() / FOLDER


def begin(request: Request, folder: Path | None = None) -> Run:
    """The run that a request asks for: started now, or by an earlier call with the same id.

    `folder` is the folder of such runs, by default `home()`.

    Raises:
        JobError: this trainer cannot do it, for the reasons in the sentence; or the request was stopped before.
    """
    folder = folder or home()
    with locked(folder, request.id):
        if (known := _known(folder, request.id)) is not None:
            return known
        _check_wanted(folder, request.id)
        return _launched(_prepared(request, folder))


def resume(id: str, of: str, folder: Path | None = None) -> Run:  # noqa: A002 - the id of a run is called so everywhere
    """The run with this id that continues the run `of` from its last state: started now, or by an earlier call.

    Raises:
        JobError: there is no such run here any more, or it cannot be continued, for the reason in the sentence; or another
            run continues it now.
    """
    from trainer_core.training import resume as resuming

    folder = folder or home()
    # Two computers can ask for a continuation of the same run at once.
    with locked(folder, checked_id(id), checked_id(of)):
        if (known := _known(folder, id)) is not None:
            return known
        _check_wanted(folder, id)
        before = find(of, folder)
        _check_alone(before, folder)
        found = resuming.propose(before, added=1 if before.state is JobState.COMPLETED else 0)
        with _made(folder, id) as made:
            return _launched(resuming.start(found, into=made, notes={REQUEST: id}))


def find(id: str, folder: Path | None = None) -> Run:  # noqa: A002 - as above
    """The run of a request, with a new supervisor if its own was ended.

    Raises:
        JobError: there is none here.
    """
    path = (folder or home()) / checked_id(id)
    if not (path / SPEC).is_file():
        raise JobError(f"This trainer has no run with the id {id}.", "It was removed, or started on another trainer.")
    run = Run.attach(path)
    recover([run])
    return run


def seen(id: str, folder: Path | None = None) -> Seen:  # noqa: A002 - as above
    """Where the run of a request is."""
    folder = folder or home()
    if not (folder / checked_id(id) / SPEC).is_file():
        if (folder / LOCKS / f"{id}{_STOPPED}").exists():
            return Seen("lost", "It was stopped before it began.", is_known=False)
        return Seen("waiting", "The trainer has not begun it.", is_known=False)
    run = find(id, folder)
    if run.result is not None:
        return Seen("ended")
    # A supervisor that was just started has not written its first sign of life yet.
    return Seen("waiting") if run.state is JobState.PREPARED else Seen("running")


def read(id: str, name: str, offset: int, folder: Path | None = None) -> bytes:  # noqa: A002 - as above
    """Bytes of a file of the run from `offset` on; b"" if there are no more, or no such file yet.

    Raises:
        JobError: it is none of the files that may be read.
    """
    if name not in carrier.READ or offset < 0:
        raise JobError(f"{name!r:.80} is no file of a run that is sent.")
    try:
        with open_own((folder or home()) / checked_id(id) / name) as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except OSError:
        return b""


def files(id: str, folder: Path | None = None) -> dict[str, FileThere]:  # noqa: A002 - as above
    """The files that the run has made: checkpoints, samples and the result, not the states for resuming."""
    run = find(id, folder).folder
    return hashes.of_files(run.path, _made_files(run))


def path_of(id: str, name: str, folder: Path | None = None) -> Path:  # noqa: A002 - as above
    """The path of one of `files`.

    Raises:
        JobError: it is none of them.
    """
    found = _made_files(find(id, folder).folder)
    if name not in found:
        raise JobError(f"The run {id} has no file {printable(name, 200)!r}.", "It may have been deleted.")
    return found[name]


def stop(id: str, after: When = "now", folder: Path | None = None) -> None:  # noqa: A002 - as above
    """Asks the run to end. One that has not begun will not begin any more."""
    folder = folder or home()
    with locked(folder, checked_id(id)):
        if not (folder / id / SPEC).is_file():
            with writing(folder):
                write_whole(folder / LOCKS / f"{id}{_STOPPED}", b"", durable=True)
            return
        run = find(id, folder)
        if run.state not in FINAL_STATES:
            run.stop(wait=False, after=after)


def put(id: str, content: bytes, folder: Path | None = None) -> None:  # noqa: A002 - as above
    """Replaces the file by which the engine of the run is asked for samples or a checkpoint.

    Raises:
        JobError: the run has ended, or this is not such a file.
    """
    run, asked = find(id, folder), json_object(content)
    if asked is None or any(name not in ("save", "sample") for name in asked):
        raise JobError("This is not a request for samples or a checkpoint.")
    if run.state in FINAL_STATES:
        raise JobError(f"The run {id} has ended, so its engine cannot be asked for anything.")
    with writing(run.folder.path):
        run.folder.write(carrier.REQUESTS, asked)


def _made_files(run: RunFolder) -> dict[str, Path]:
    """The checkpoints, samples and results of a run by their paths in its folder."""
    spec = run.rendered.artefacts
    found: dict[str, Path] = {}
    for pattern in (spec.checkpoints, spec.samples, spec.final):
        for path, _ in artefacts.matching(run.output, pattern):
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                if file.is_file() and not file.is_symlink():
                    found[file.relative_to(run.path).as_posix()] = file
    return found


def _known(folder: Path, id: str) -> Run | None:  # noqa: A002 - as above
    """The run of an earlier call, which is started if that call was cut before; None if there is none."""
    path = folder / id
    if not (path / SPEC).is_file():
        # A folder without its last file was not finished.
        shutil.rmtree(path, ignore_errors=True)
        return None
    run = find(id, folder)
    return run if (path / SUPERVISOR).exists() else _launched(run)


def _check_wanted(folder: Path, id: str) -> None:  # noqa: A002 - as above
    if (folder / LOCKS / f"{id}{_STOPPED}").exists():
        raise JobError(f"The run {id} was stopped before it began.", "Start a new run.")


def _check_alone(before: Run, folder: Path) -> None:
    """Checks that no other run continues this one now.

    Raises:
        JobError: one does.
    """
    for other in list_runs(folder):
        resumed = other.folder.versions.get(RESUMES)
        if not isinstance(resumed, dict) or resumed.get("run") != before.name:
            continue
        recover([other])
        if other.state not in FINAL_STATES:
            raise JobError(
                f"Another run continues this one already, perhaps from another computer: {other.name}. Both would train the same steps.",
                f"Follow that one with `easel remote attach` and its id, {other.name}, or stop it first.",
            )


def _prepared(request: Request, folder: Path) -> Run:
    from trainer_core.prepare.workbench import prepare_run
    from trainer_core.remote.runs.starting import bench_of

    try:
        # What Easel does by itself after a failure would be a run here that nobody has asked for.
        plan = {name: table for name, table in request.plan.items() if name != "guards"}
        bench = bench_of(request.engine, plan)
        with _made(folder, request.id) as made:
            bench.set({"output.folder": str(made.path / DELIVERED)})
            named = {name: request.chosen.get(name, "") for name in CHOSEN}
            return prepare_run(bench, notes={**named, REQUEST: request.id}, into=made)
    except PlanError as error:
        said = [f"{each.message} {each.fix.label if each.fix else ''}".strip() for each in error.problems]
        raise JobError("The trainer refuses the plan. " + " ".join(said or [str(error)]), "Change the plan.") from error
    except JobError:
        raise
    except EaselError as error:
        raise JobError(f"The trainer cannot make the run. {error.message}", error.hint) from error


@contextlib.contextmanager
def _made(folder: Path, id: str) -> Iterator[RunFolder]:  # noqa: A002 - as above
    """The new folder of a run; it is removed if the run cannot be prepared."""
    made = RunFolder(places.real(folder / id))
    with writing(folder):
        made.path.mkdir(mode=0o700)
    with contextlib.ExitStack() as undo:
        undo.callback(made.remove)
        yield made
        undo.pop_all()


def _launched(run: Run) -> Run:
    run.launch()
    return run
