"""`easel remote s3`: lists, uploads, downloads and links the objects of buckets."""

from __future__ import annotations

import click

from trainer_core.cli import s3_commands
from trainer_core.cli.packages import commands_in


@click.group("s3")
def command() -> None:
    """List, upload, download and link objects of a bucket.

    ADDRESS is s3://bucket/key or a web address of S3, R2, B2, RunPod or the service in S3_ENDPOINT_URL; one that ends in "/" is
    a folder. The access key is AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from the environment or from `.env`.
    """


for each in commands_in(s3_commands):
    command.add_command(each)
