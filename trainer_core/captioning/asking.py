"""Asks a captioner for captions of the images of a dataset, as a job: an endpoint, or a model on this machine.

`python -m trainer_core.captioning.asking` is the program of such a job. It changes nothing in the dataset: the captions are kept
by the content of the image and the question, so nothing is asked twice, and are applied afterwards.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainer_core.captioning import answers, captioners, dataset, endpoint, keys, progress, tagging, templates
from trainer_core.captioning.endpoint import Endpoint
from trainer_core.captioning.questions import Asked, Settings
from trainer_core.captioning.storage import Caption, Storage
from trainer_core.captioning.templates import Template
from trainer_core.captioning.thresholds import caption_at, usual
from trainer_core.curation import authors, gathering
from trainer_core.errors import DatasetError, DownloadError
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.text import printable

KIND = "caption"


def checked(settings: Settings) -> tuple[Settings, Endpoint | None]:
    """The settings with whole paths, and the endpoint.

    Raises:
        EaselError: something is not possible, or the host was not confirmed.
    """
    root = dataset.root_of(settings.dataset)
    templates.get(settings.template, settings.text)
    if "," in settings.trigger:
        raise DatasetError("A trigger word has no comma: it would be two tags.", "Leave the comma out.")
    if not settings.endpoint:
        captioners.get(settings.model)
        return dataclasses.replace(settings, dataset=str(root)), None
    found = endpoint.parse(settings.endpoint)
    if not settings.model.strip():
        raise DownloadError("No model of the endpoint is named.", "Name one that it lists.")
    if not found.is_local and settings.confirmed != found.host:
        raise DownloadError(
            f"The images would leave this machine: they are sent to {found.host}.",
            f"If you want that, confirm it with: --send-to {found.host}",
        )
    keys.checked(settings.key_variable)
    return dataclasses.replace(settings, dataset=str(root), endpoint=found.url), found


def asked(settings: Settings, storage: Storage) -> list[Asked]:
    """What is asked about each image; images that cannot be read are left out.

    Raises:
        DatasetError: the dataset cannot be read.
    """
    row, root = templates.get(settings.template, settings.text), dataset.root_of(settings.dataset)
    paths = dataset.images(root, settings.images)
    hashes = dataset.by_hash(root, storage.identities(root / path for path in paths), paths)
    known = _tags(settings, root) if "{tags}" in row.text else {}
    # Other tags, such as after the captions were written, do not make it another question.
    who = [settings.endpoint, settings.model, settings.temperature, settings.english, settings.trigger, settings.tagger]
    key = templates.fingerprint([*who, row.text, row.most_tokens, row.forbids_style])
    found = []
    for path, sha256 in hashes.items():
        values = {"name": Path(path).stem, "tags": known.get(path, ""), "trigger": settings.trigger}
        found.append(Asked(path, sha256, templates.question(row, values), key))
    return found


def _tags(settings: Settings, root: Path) -> dict[str, str]:
    """The tags of each image by a tagger, or its caption, without the trigger word."""
    if settings.tagger:
        from trainer_core.captioning import taggers

        by = usual(taggers.get(settings.tagger))
        known = tagging.known(
            tagging.Settings(
                dataset=settings.dataset, model=settings.tagger, folder=settings.tagger_folder, images=settings.images
            )
        )
        return {path: caption_at(found, by) for path, found in known.items()}
    by = authors.of(root)
    return {
        file.image: " ".join(file.text.split())
        for file in gathering.caption_files(root, settings.extension)
        # What this captioner wrote before are no tags.
        if by.get(file.path) != settings.author
    }


def known(settings: Settings) -> dict[str, Caption]:
    """The captions that were given so far, by the path of the image, with the trigger word at its place.

    Raises:
        EaselError: something is not possible.
    """
    storage, row = Storage(), templates.get(settings.template, settings.text)
    if settings.endpoint:
        settings = dataclasses.replace(settings, endpoint=endpoint.parse(settings.endpoint).url)
    wanted = asked(settings, storage)
    kept = storage.captions({each.sha256: each.key for each in wanted})
    return {
        each.path: dataclasses.replace(
            kept[each.sha256], text=templates.with_trigger(row, kept[each.sha256].text, settings.trigger)
        )
        for each in wanted
        if each.sha256 in kept
    }


def writable(found: Mapping[str, Caption], accepted: tuple[str, ...] = ()) -> dict[str, str]:
    """The captions that may be written: without those that are marked as wrong, unless their marks are accepted."""
    return {path: caption.text for path, caption in found.items() if not answers.is_refused(caption, accepted)}


def counted(found: Mapping[str, Caption]) -> dict[str, int]:
    """How many captions have each mark, the most frequent first."""
    return dict(Counter(mark for caption in found.values() for mark in caption.marks).most_common())


def start(settings: Settings) -> Job:
    """The job that asks for captions, started now.

    Raises:
        EaselError: something is not possible, the host was not confirmed, or the job cannot be started.
    """
    settings, host = checked(settings)
    key = keys.find(host.host, settings.key_variable) if host is not None else None
    if host is not None:
        # Refuses a key that others could read on its way.
        endpoint.Client(host, key).close()
    if settings.again:
        storage = Storage()
        storage.forget_captions({each.sha256: each.key for each in asked(settings, storage)})
    module = __name__ if __name__ != "__main__" else "trainer_core.captioning.asking"
    job = own_program.prepared(KIND, module, settings, keeps=() if host is None else (settings.key_variable,))
    with keys.in_environment(key, settings.key_variable):
        job.launch()
    return job


# ---- the program


def run(settings: Settings) -> Mapping[str, str]:
    """Asks about the images that were not asked about; one that fails is named and left out.

    Raises:
        EaselError: the captioner cannot be used.
    """
    settings, host = checked(settings)
    report, storage, row = own_program.report, Storage(), templates.get(settings.template, settings.text)
    report("Reading the images")
    wanted = asked(settings, storage)
    if not wanted:
        raise DatasetError("There are no images to caption.", "Check the folder.")
    done = storage.captions({each.sha256: each.key for each in wanted})
    left = {each.sha256: each for each in reversed(wanted) if each.sha256 not in done}
    copies = Counter(each.sha256 for each in wanted)
    meter = progress.Meter("Captioned", len(wanted), sum(copies[sha256] for sha256 in done), report)
    failed: list[tuple[str, str]] = []
    ordered = sorted(left.values(), key=lambda each: each.path)
    for each, said in _answers(settings, host, row, ordered):
        if isinstance(said, str):
            failed.append((each.path, said))
            continue
        storage.keep_caption(each.sha256, each.key, said)
        meter.more(copies[each.sha256])
    meter.finish()
    for path, reason in failed:
        report(f"Not captioned: {printable(path, 200)}: {printable(reason, 300)}")
    for mark, count in counted(storage.captions({each.sha256: each.key for each in wanted})).items():
        report(f"Marked: {count} as {answers.marks()[mark].title}")
    progress.write_report(meter.done, failed)
    if failed and not meter.done:
        raise DatasetError("No image got a caption.", progress.most_frequent(failed))
    return {"model": settings.author}


def _answers(
    settings: Settings, host: Endpoint | None, row: Template, wanted: list[Asked]
) -> Iterator[tuple[Asked, Caption | str]]:
    """The caption of each image, or why there is none, as they come."""
    if not wanted:
        return iter(())
    # Both decode images, which the settings of a notebook do not need.
    from trainer_core.captioning import local, remote

    if host is None:
        return local.answers_of(settings, row, wanted)
    return remote.answers_of(settings, host, row, wanted)


# ---- the kind of job


class Asking:
    """The kind of job that asks for captions."""

    id, title = KIND, "Captioning images"

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases, progress and images that failed from the program's lines."""
        return LineWatch(folder, journal, progress.parse, judge)

    def told(self, folder: JobFolder) -> tuple[str, str]:
        """How many captions are ready."""
        return progress.told(folder, "caption is ready", "captions are ready")


kind = Asking()


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the author of the captions."""
    unsaid = Diagnosis(
        "not-captioned", "The captioning did not say how it ended.", "", "Start it again: what is done is kept."
    )
    return progress.with_failures(folder, own_program.judge(folder, exit_code, "model", unsaid))


def main() -> int:
    """Runs the captioning with the settings in the current folder; returns the exit status."""
    return own_program.run(Settings, DatasetError, run)


if __name__ == "__main__":
    sys.exit(main())
