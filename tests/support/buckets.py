"""Buckets on this machine: moto's server as a process, and a bad network before it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import socket
import subprocess
import sys
import time

import boto3

from tests.support.bad_network import bad_network
from trainer_core.remote.patience import Patience
from trainer_core.remote.storage import Work, connect

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
    "AWS_SECRET_ACCESS_KEY": "p1anted/secret/access/key/of/forty/chars",
}
TOKEN = "p1anted-session-token-0123456789"
QUICK = Patience(attempts=4, first_wait_s=0.01, longest_wait_s=2, connect_s=5, read_s=5)
PIECE = 256 << 10
"""Less than S3 accepts, so that large files are small."""
SERVER = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
_numbers = itertools.count()


@functools.cache
def server() -> int:
    """The port of moto's server, one for each process of tests."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, **KEYS, "AWS_DEFAULT_REGION": "us-east-1", "S3_UPLOAD_PART_MIN_SIZE": str(PIECE)}
    started = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(started.kill)
    for _ in range(1200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return port
        assert started.poll() is None, "moto's server has ended"
        time.sleep(0.05)
    raise AssertionError("moto's server does not start")


@functools.cache
def plain():
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server()}",
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


class Place:
    """A new bucket of moto's server behind a network that a test can make bad; `plain` goes around that network."""

    def __init__(self, network):
        self.network = network
        self.endpoint = f"http://127.0.0.1:{network.port}"
        self.name = f"bucket-{os.getpid()}-{next(_numbers)}"
        self.plain = plain()
        self.plain.create_bucket(Bucket=self.name)

    @property
    def environment(self):
        return {**KEYS, "S3_ENDPOINT_URL": self.endpoint, "S3_REGION": "us-east-1", "S3_USER_BUCKET": self.name}

    def connect(self, **work):
        from trainer_core.remote.credentials import settings

        made = Work(**{"patience": QUICK, "piece_bytes": PIECE, "disk_floor_bytes": 0, **work})
        return connect(f"s3://{self.name}", settings(environment=self.environment), made)

    def put(self, key, data, **more):
        return self.plain.put_object(Bucket=self.name, Key=key, Body=data, **more)

    def put_in_pieces(self, key, data):
        """Writes an object as another program does in pieces, so that the storage has no hash of the whole."""
        named = {"Bucket": self.name, "Key": key}
        named["UploadId"] = self.plain.create_multipart_upload(**named)["UploadId"]
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        parts = [
            {"PartNumber": number, "ETag": self.plain.upload_part(**named, PartNumber=number, Body=piece)["ETag"]}
            for number, piece in enumerate(pieces, 1)
        ]
        self.plain.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})

    def get(self, key):
        return self.plain.get_object(Bucket=self.name, Key=key)["Body"].read()

    def keys(self, prefix=""):
        found = self.plain.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", ())
        return [each["Key"] for each in found]


@contextlib.contextmanager
def place():
    """A new bucket, for as long as the block runs."""
    with bad_network(server()) as network:
        yield Place(network)
