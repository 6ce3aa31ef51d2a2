"""Brings to a bucket what a worker needs for a run: images and captions, each once. Models only after a yes (`worker_models`).

The images of a folder go below `easel/datasets/<name>-<hash>/<name>/`. The hash is that of all names and contents, so a training never
sees images that were changed after it was sent. What an earlier version of the folder has in the bucket is copied there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import JobError, RemoteError
from trainer_core.remote import addresses
from trainer_core.remote.runpod import worker_models
from trainer_core.remote.runpod.bucket_run import DATASETS
from trainer_core.remote.runs.outgoing import Outgoing
from trainer_core.remote.runs.request import PlanPath
from trainer_core.remote.runs.transfers import Transfers
from trainer_core.remote.storage import Bucket, items
from trainer_core.remote.storage.folders import Sent, planned, upload_all
from trainer_core.remote.storage.objects import hash_of
from trainer_core.remote.storage.work import FILES_AT_ONCE, each
from trainer_core.text import amount, printable, size

HASH_DIGITS = 16


@dataclass(frozen=True)
class Brought:
    """Where the worker has what the plan names: image folders by their place in the plan, models by their path here.

    `files` is the number of images and captions.
    """

    images: Mapping[str, str]
    models: Mapping[str, str]
    files: int

    def there(self, one: PlanPath) -> str:
        """Where the worker has what a place of the plan names.

        Raises:
            JobError: it was not brought.
        """
        found = self.images.get(one.key) or self.models.get(one.path)
        if not found:
            raise JobError(
                f"{one.key} names {printable(one.path, 200)}, which is not among what the run needs.",
                "Start a new run.",
            )
        return found


def bring(
    out: Outgoing,
    bucket: Bucket,
    root: str,
    say: Callable[[str], None],
    transfers: Transfers,
    *,
    sends_models: bool = False,
) -> Brought:
    """Brings what is missing; `root` is the folder of the bucket that has `easel/`. What is there is not sent again.

    `sends_models`: the user agreed that models are uploaded, too. `transfers` say how far it is, which the bucket tells them.

    Raises:
        JobError: a model must be uploaded first, or the worker cannot have it; a file of the run is gone.
        RemoteError: the storage refuses it, or the connection fails.
    """
    places = {one.path: worker_models.place_of(one.path, bucket, root) for one in out.models}
    missing = [place for place in places.values() if worker_models.is_missing(place, bucket)]
    if missing and not sends_models:
        raise worker_models.refusal(missing[0])
    for place in missing:
        left = size(worker_models.size_to_send(place, bucket))
        say(f"{worker_models.shown(place)} is sent to the bucket, where later runs find it; {left} are not there yet.")
        with transfers.of(f"sending {place.file.name if place.file else 'a model'} to the bucket"):
            worker_models.upload(place, bucket)
    images = {}
    for one in out.images:
        with transfers.of(f"sending images of {one.folder.name} to the bucket"):
            images[one.path.key] = _images(one.folder, list(dict.fromkeys(one.files)), bucket, root, say)
    models = {path: place.there for path, place in places.items()}
    return Brought(images, models, sum(len(one.files) for one in out.images))


def _images(folder: Path, names: list[str], bucket: Bucket, root: str, say: Callable[[str], None]) -> str:
    """The address of the folder of a bucket that has these files of a folder of this machine."""
    paths = {name: folder / name for name in names}
    if gone := [name for name, path in paths.items() if not path.is_file()]:
        message = (
            f"{printable(str(folder / gone[0]), 300)} is not there any more, so the images of the run are not complete."
        )
        raise JobError(message, "Put it back, or start a new run.")
    hashes = dict(zip(names, each(lambda name: hash_of(paths[name], "sha256"), names, FILES_AT_ONCE), strict=True))
    of_all = hashlib.sha256("".join(f"{name}\0{hashes[name]}\n" for name in sorted(names)).encode()).hexdigest()
    start = f"{root}{DATASETS}{folder.name}-"
    prefix = f"{start}{of_all[:HASH_DIGITS]}/{folder.name}/"
    addresses.check_key(prefix)
    files = [Sent(paths[name], prefix + name) for name in names]
    plan = planned(bucket, files, prefix)
    copied = _copied(bucket, start, plan.new, prefix) if plan.new else 0
    plan = planned(bucket, files, prefix) if copied else plan
    upload_all(bucket, plan, replaces=True)
    sent = len(plan.new) + len(plan.changed)
    was_there = len(names) - sent
    say(
        f"{amount(len(names), 'file')} of {printable(str(folder), 200)}: {sent:,} sent ({size(plan.size_bytes)}), {was_there:,} were in the bucket."
    )
    return f"s3://{bucket.name}/{prefix}"


def _copied(bucket: Bucket, start: str, new: tuple[Sent, ...], prefix: str) -> int:
    """Copies inside of the bucket what another version of the folder has there, by MD5; how many files that were."""
    known = {}
    for item in items(bucket, start):
        # <name>-<hash>/<name>/<path in the folder>
        name = item.key.removeprefix(start).partition("/")[2].partition("/")[2]
        known[name, item.etag.strip('"').lower()] = item.key

    def copy(file: Sent) -> bool:
        bucket.work.check()
        found = known.get((file.key.removeprefix(prefix), hash_of(file.path, "md5")))
        if found is None:
            return False
        try:
            bucket.ask("copy_object", file.key, CopySource={"Bucket": bucket.name, "Key": found})
        except RemoteError as error:
            # Then it is uploaded, for which the key has the right.
            if error.is_passing:
                raise
            return False
        return True

    return sum(each(copy, new, FILES_AT_ONCE))
