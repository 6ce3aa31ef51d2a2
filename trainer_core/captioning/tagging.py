"""Tags the images of a dataset with a tagger, as a job. What it finds is kept for each image, so nothing is tagged twice.

`python -m trainer_core.captioning.tagging` is the program of such a job. It changes nothing in the dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.captioning import dataset, labels, preprocessing, progress, taggers, weights, workers
from trainer_core.captioning.labels import Label
from trainer_core.captioning.storage import Probability, Storage
from trainer_core.captioning.taggers import Preparation, Tagger
from trainer_core.captioning.thresholds import LEAST
from trainer_core.errors import DatasetError
from trainer_core.install import tool_environments
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.text import printable

KIND = "tag"
MEASURED = 3
"""After so many images the time for the rest is told."""
NAMES = {
    "CPUExecutionProvider": "the CPU",
    "CUDAExecutionProvider": "the GPU (CUDA)",
    "ROCMExecutionProvider": "the GPU (ROCm)",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is tagged: the images of a dataset, all or these, with a tagger whose files are in `folder` ("": Easel's models)."""

    dataset: str
    model: str
    folder: str = ""
    images: tuple[str, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class Ready:
    """A tagger whose files are there: its tags, how images are prepared, and the name under which results are kept."""

    tagger: Tagger
    found: weights.Found
    labels: tuple[Label, ...]
    preparation: Preparation
    key: str


def ready(model: str, folder: str, storage: Storage) -> Ready:
    """The tagger with its files, read and checked.

    Raises:
        DatasetError: a file is missing, or not what it should be.
    """
    row = taggers.get(model)
    found = weights.required(row.id, row.title, row.files, folder)
    how = preprocessing.read(found[row.preprocess], row) if row.preprocess else row.preparation
    listed = labels.read(found[row.labels], row)
    # Another file, another list, or another way to prepare images gives other results.
    parts = [storage.identity(found[row.model]), dataclasses.astuple(how), row.output, row.activation]
    parts.append([(label.name, label.category) for label in listed])
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return Ready(row, found, listed, how, f"{row.id}@{digest}")


def known(settings: Settings) -> dict[str, tuple[Probability, ...]]:
    """What the tagger has said of the images so far, by their path in the dataset.

    Raises:
        DatasetError: the dataset, the tagger or the kept results cannot be read.
    """
    storage, root = Storage(), dataset.root_of(settings.dataset)
    key = ready(settings.model, settings.folder, storage).key
    paths = dataset.images(root, settings.images)
    hashes = dataset.by_hash(root, storage.identities(root / path for path in paths), paths)
    found = storage.probabilities(set(hashes.values()), key)
    return {path: found[sha256] for path, sha256 in hashes.items() if sha256 in found}


def start(settings: Settings) -> Job:
    """The job that tags the images, started now.

    Raises:
        EaselError: the dataset or the tagger is not there, or the job cannot be started.
    """
    settings = dataclasses.replace(settings, dataset=str(dataset.root_of(settings.dataset)))
    ready(settings.model, settings.folder, Storage())
    tool_environments.interpreter(taggers.ENVIRONMENT)
    module = __name__ if __name__ != "__main__" else "trainer_core.captioning.tagging"
    job = own_program.prepared(KIND, module, settings)
    job.launch()
    return job


# ---- the program


def run(settings: Settings) -> Mapping[str, str]:
    """Tags the images that the tagger has not seen; an image that cannot be read is named and left out.

    Raises:
        EaselError: the tagger cannot work.
    """
    report, storage, root = own_program.report, Storage(), dataset.root_of(settings.dataset)
    report("Reading the images")
    model = ready(settings.model, settings.folder, storage)
    paths = dataset.images(root, settings.images)
    if not paths:
        raise DatasetError("There are no images to tag.", "Check the folder.")
    hashes = dataset.by_hash(root, storage.identities(root / path for path in paths), paths)
    done = storage.tagged(set(hashes.values()), model.key)
    storage.keep_labels(model.key, model.labels)
    # One of several equal files is enough.
    left = {sha256: path for path, sha256 in reversed(hashes.items()) if sha256 not in done}
    meter = progress.Meter("Tagged", len(hashes), sum(sha256 in done for sha256 in hashes.values()), report)
    failed = [(path, "it cannot be read") for path in paths if path not in hashes]
    if left:
        report("Loading the model")
        failed += _tag(settings, model, root, left, storage, meter, Counter(hashes.values()))
    meter.finish()
    for path, reason in failed:
        report(f"Not tagged: {printable(path, 200)}: {printable(reason, 300)}")
    progress.write_report(meter.done, failed)
    if failed and not meter.done:
        raise DatasetError("No image could be tagged.", progress.most_frequent(failed))
    return {"model": model.key}


def _tag(
    settings: Settings,
    model: Ready,
    root: Path,
    left: Mapping[str, str],
    storage: Storage,
    meter: progress.Meter,
    copies: Mapping[str, int],
) -> list[tuple[str, str]]:
    """Tags these images, by hash, and returns those that could not be tagged, with the reason."""
    failed: list[tuple[str, str]] = []
    images = [(sha256, str(root / path)) for sha256, path in sorted(left.items(), key=lambda each: each[1])]
    python = tool_environments.interpreter(taggers.ENVIRONMENT)
    where, began, seen = "", time.monotonic(), 0
    for line in workers.run(python, "tag.py", _task(settings, model), images, own_program.report):
        if line["said"] == "ready":
            where, began = _told(line), time.monotonic()
            continue
        sha256 = str(line["id"])
        if line["said"] == "error":
            failed.append((left[sha256], str(line.get("reason", ""))))
            continue
        storage.keep_tags(sha256, model.key, _pairs(line.get("tags")))
        meter.more(copies[sha256])
        seen += 1
        if seen == min(MEASURED, len(images)):
            rest = len(images) - seen
            rest_s = (time.monotonic() - began) / seen * rest
            for_rest = f": about {progress.duration(rest_s)} for {rest:,} more images" if rest else ""
            own_program.report(f"Running on {where}{for_rest}.")
    return failed


def _told(line: workers.Line) -> str:
    """Where the model runs, after the reasons why it runs on nothing faster were told."""
    for reason in line.get("reasons", ()):
        own_program.report(f"Not used: {printable(str(reason), 300)}")
    own_program.report("Tagging")
    provider = str(line.get("provider"))
    return NAMES.get(provider, provider.removesuffix("ExecutionProvider"))


def _task(settings: Settings, model: Ready) -> dict[str, Any]:
    from trainer_core.datasets.images import formats

    row = model.tagger
    return {
        "model": str(model.found[row.model].absolute()),
        "preparation": dataclasses.asdict(model.preparation),
        "output": row.output,
        "activation": row.activation,
        "labels": len(model.labels),
        "least": LEAST,
        "device": settings.device,
        "formats": list(formats()),
    }


def _pairs(found: object) -> Sequence[tuple[int, float]]:
    return [(int(place), float(value)) for place, value in found] if isinstance(found, list) else []


# ---- the kind of job


class Tagging:
    """The kind of job that tags images."""

    id, title = KIND, "Tagging images"

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases, progress and images that failed from the program's lines."""
        return LineWatch(folder, journal, progress.parse, judge)

    def told(self, folder: JobFolder) -> tuple[str, str]:
        """How many images are tagged."""
        return progress.told(folder, "image is tagged", "images are tagged")


kind = Tagging()


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the name under which the results are kept."""
    unsaid = Diagnosis(
        "not-tagged", "The tagging did not say how it ended.", "", "Start it again: what is done is kept."
    )
    return progress.with_failures(folder, own_program.judge(folder, exit_code, "model", unsaid))


def main() -> int:
    """Runs the tagging with the settings in the current folder; returns the exit status."""
    return own_program.run(Settings, DatasetError, run)


if __name__ == "__main__":
    sys.exit(main())
