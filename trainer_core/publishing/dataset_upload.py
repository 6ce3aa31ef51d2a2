"""Uploads a dataset with its card to Hugging Face, as a job of its own. The repository is private unless the user wants otherwise.

`python -m trainer_core.publishing.dataset_upload` is the program of such a job: it reads `settings.json` in the folder of the
job, writes a copy of the dataset there, and uploads that in one commit: nothing is shown before it is complete.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.curation import exporting
from trainer_core.curation.exporting import Exported, Form
from trainer_core.curation.unpacking import Going
from trainer_core.errors import DownloadError
from trainer_core.events import Event, Phase, Progress
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.models import hub_repository, tokens
from trainer_core.models.tokens import Token
from trainer_core.publishing import explained, hub, model_card, upload

KIND = "upload-dataset"
COPY = "public"
"""The folder, in that of the job, with the copy that is uploaded; it is removed at the end."""
PHASES = ("Copying the dataset", "Checking the repository", "Uploading", "Publishing")
AT_ONCE = 32
"""How many files are sent before the progress is told."""
MOST_FILES = 20_000
"""How many files one commit may have. Source: the Hub's advice is below 100,000 in a repository and 10,000 in a folder."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is uploaded: the images and captions of a folder, and a card. `scrub`: without what images tell besides their pixels."""

    repo: str
    folder: str
    card: str
    ending: str = ".txt"
    private: bool = True
    scrub: bool = True
    replaces_card: bool = False


def start(settings: Settings, token: Token | None = None) -> Job:
    """The job that uploads a dataset, started now; the token is by default the one that Easel finds.

    Raises:
        DownloadError: the name of the repository is not valid, or there is no token.
        EaselError: the folder or the card cannot be uploaded, or the job cannot be started.
    """
    folder = str(places.typed(settings.folder).absolute())
    settings = dataclasses.replace(settings, repo=hub_repository.checked(settings.repo), folder=folder)
    check(settings)
    token = token or tokens.find(explained.SITE)
    if token is None:
        raise explained.without_token()
    module = __name__ if __name__ != "__main__" else "trainer_core.publishing.dataset_upload"
    job = own_program.prepared(KIND, module, settings, hub.WITHOUT, (hub.TOKEN,))
    with hub.in_environment(token):
        job.launch()
    return job


def check(settings: Settings) -> None:
    """Checks what would be uploaded.

    Raises:
        EaselError: there is no such folder, or the card is not valid.
    """
    if not Path(settings.folder).is_dir():
        raise DownloadError(f"{Path(settings.folder).name} is no longer there.", "Choose another folder.", "missing")
    model_card.check(settings.card)


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the address of the repository."""
    unsaid = Diagnosis("not-uploaded", "The upload did not say how it ended.", "", "Start it again.")
    return own_program.judge(folder, exit_code, "address", unsaid)


def parse(line: str) -> Event | None:
    """The progress or the phase in a line of the program, or None."""
    found = upload.parse(line)
    return found if isinstance(found, Progress) else Phase(line.strip().lower()) if line.strip() in PHASES else None


class DatasetUpload:
    """The kind of job that uploads a dataset; it succeeds only if everything was published."""

    id, title = KIND, "Uploading a dataset to Hugging Face"

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases and progress from the program's lines."""
        return LineWatch(folder, journal, parse, judge)


kind = DatasetUpload()


# ---- the program


def run(settings: Settings, report: Callable[[str], None]) -> str:
    """Uploads everything in one commit and returns the address of the repository.

    Raises:
        DownloadError: Hugging Face refuses it, or the connection is lost.
        DatasetError: the copy cannot be made.
        OSError: a file cannot be read or written.
    """
    repo = hub_repository.checked(settings.repo)
    check(settings)
    copy = Path(COPY)
    shutil.rmtree(copy, ignore_errors=True)
    report("Copying the dataset")
    form = Form(settings.scrub, settings.ending, "hub", settings.card)
    _tell(exporting.export(Path(settings.folder), copy, form, Going()), report)
    report("Checking the repository")
    with hub.explaining(repo):
        api, has_card = hub.opened(repo, private=settings.private, kind="dataset")
        _commit(api, repo, copy, report, with_card=settings.replaces_card or not has_card)
    if has_card and not settings.replaces_card:
        report(f"{repo} had a card already, which stays.")
    return hub.address(repo, "dataset")


def _tell(found: Exported, report: Callable[[str], None]) -> None:
    for name, reason in found.left_out:
        report(f"{name} is left out: {reason}.")


def _commit(api: Any, repo: str, copy: Path, report: Callable[[str], None], *, with_card: bool) -> None:
    from huggingface_hub import CommitOperationAdd

    files = [one for one in sorted(copy.rglob("*")) if one.is_file()]
    names = {one.relative_to(copy).as_posix(): one for one in files}
    if not with_card:
        names.pop(hub.CARD, None)
    if len(names) > MOST_FILES:
        raise DownloadError(
            f"The dataset has {len(names):,} files; {MOST_FILES:,} are the most that Easel uploads.",
            f"Upload it with: hf upload {repo} FOLDER --repo-type dataset",
        )
    report("Uploading")
    operations = [CommitOperationAdd(name, str(path)) for name, path in names.items()]
    total, done = sum(one.upload_info.size for one in operations), 0
    for at in range(0, len(operations), AT_ONCE):
        some = operations[at : at + AT_ONCE]
        api.preupload_lfs_files(repo, additions=some, repo_type="dataset", num_threads=4, free_memory=False)
        done += sum(one.upload_info.size for one in some)
        report(f"Uploaded {-(-done // hub.MIB)} of {-(-total // hub.MIB)} MiB")
    report("Publishing")
    message = f"Upload {len(names):,} files"
    api.create_commit(repo, operations, commit_message=message, repo_type="dataset", num_threads=4)


def main() -> int:
    """Runs the upload with the settings in the current folder; returns the exit status."""

    def work(settings: Settings) -> dict[str, str]:
        address = run(settings, own_program.report)
        own_program.report(f"Uploaded to {address}")
        return {"address": address}

    try:
        return own_program.run(Settings, DownloadError, work)
    finally:
        shutil.rmtree(COPY, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
