"""Buckets: what speaks the protocol of S3, at AWS or elsewhere. Not: where keys are from, and which files belong together.

boto3 is imported when a bucket is used.

* `bucket`: the connection, with keys from `credentials`
* `refusals`: what an answer of a storage service means, as sentences
* `objects`: lists, single objects, and what proves that one arrived complete
* `uploading`, `multipart`, `downloading`: whole files, continued where they stopped
* `folders`: many files at once
"""

from trainer_core.remote.storage.bucket import Bucket, connect, link
from trainer_core.remote.storage.downloading import Downloaded, download
from trainer_core.remote.storage.objects import Item, Stored, items, look
from trainer_core.remote.storage.uploading import Uploaded, upload
from trainer_core.remote.storage.work import Work

__all__ = [
    "Bucket",
    "Downloaded",
    "Item",
    "Stored",
    "Uploaded",
    "Work",
    "connect",
    "download",
    "items",
    "link",
    "look",
    "upload",
]
