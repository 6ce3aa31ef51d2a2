"""Connects to a bucket with the keys and settings of the user, and nothing else: no file of the AWS tools is read."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.remote import addresses, credentials
from trainer_core.remote.addresses import Address
from trainer_core.remote.credentials import Secret, Settings
from trainer_core.remote.patience import Patience
from trainer_core.remote.storage import refusals
from trainer_core.remote.storage.work import FILES_AT_ONCE, PIECES_AT_ONCE, Work

T = TypeVar("T")

ENDPOINTS = ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGIONS = ("S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
USUAL_REGION = "us-east-1"
_LOCK = threading.Lock()
LONGEST_LINK_S = 7 * 24 * 3600
"""How long a link can be valid. Source: AWS, "Download and upload objects with presigned URLs"."""


@dataclass(frozen=True)
class Bucket:
    """A bucket of a storage service; `endpoint` is "" for AWS. Its client is used by several threads."""

    name: str
    region: str
    endpoint: str
    client: Any = field(repr=False)
    work: Work = field(default_factory=Work, repr=False)
    key_source: str = ""
    is_temporary: bool = False

    def uri(self, key: str) -> str:
        """The address of an object."""
        return Address(self.name, key).uri

    @property
    def service(self) -> str:
        """The storage service, for the user."""
        return self.endpoint or "AWS"

    def ask(self, operation: str, key: str = "", **arguments: Any) -> dict[str, Any]:
        """The answer to one request, attempted again after passing failures; `operation` is a method of boto3's client.

        Raises:
            RemoteError: it is refused, or the connection fails.
        """
        return self.attempt(operation, key, lambda: self.once(operation, key, **arguments))

    def attempt(self, operation: str, key: str, do: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
        """The result of a function that sends requests, attempted again after passing failures.

        Raises:
            RemoteError: as `ask`; what boto3 raises in the function is explained, too.
        """
        from trainer_core.remote.patience import keep_trying

        def once() -> T:
            with refusals.explaining(self, operation, key):
                return do()

        return keep_trying(once, self.work.patience, self.work.cancel, reached)

    def once(self, operation: str, key: str = "", **arguments: Any) -> dict[str, Any]:
        """The answer to one request, attempted once; for use in `attempt`."""
        if key:
            arguments["Key"] = key
        return getattr(self.client, operation)(Bucket=self.name, **arguments)


def connect(where: Address | str, values: Settings | None = None, work: Work | None = None) -> Bucket:
    """The bucket of an address, with the keys that Easel finds; nothing is sent yet.

    Raises:
        RemoteError: there is no access key, or the address and the settings do not fit together.
    """
    values = values or credentials.settings()
    work = work or Work()
    endpoint = endpoint_of(values)
    address = where if isinstance(where, Address) else addresses.parse(where, [endpoint] if endpoint else [])
    _check_service(address, endpoint, values)
    region = address.region or values.text(*REGIONS) or _region_of(endpoint) or USUAL_REGION
    access, secret, token = keys_of(values)
    client = _client(address.bucket, endpoint, region, (access, secret, token), work.patience)
    return Bucket(address.bucket, region, endpoint, client, work, access.source, token is not None)


def endpoint_of(values: Settings) -> str:
    """The address of the storage service that the user has set; "" for AWS.

    Raises:
        RemoteError: it is not the address of one.
    """
    text = values.text(*ENDPOINTS)
    return addresses.endpoint_of(text) if text else ""


def keys_of(values: Settings) -> tuple[Secret, Secret, Secret | None]:
    """The id of the access key, the secret key and, for a temporary key, its session token.

    Raises:
        RemoteError: there is none, or only a part of one.
    """
    access, secret = values.get("AWS_ACCESS_KEY_ID"), values.get("AWS_SECRET_ACCESS_KEY")
    if access is None or secret is None:
        missing = [
            name for name, found in (("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)) if not found
        ]
        message = f"There is no access key for the storage: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set."
        raise RemoteError(message, credentials.where_to_set(*missing), "setting")
    token = values.get("AWS_SESSION_TOKEN")
    # A token of another place belongs to another key, with which the storage would refuse this one.
    return access, secret, token if token and token.place == access.place else None


def link(bucket: Bucket, key: str, valid_s: int = 3600) -> str:
    """An address with which everybody can read an object for some seconds. Whether the object exists is not asked.

    Raises:
        RemoteError: it cannot be valid that long.
    """
    if not 0 < valid_s <= LONGEST_LINK_S:
        message = f"A link cannot be valid for {valid_s} seconds."
        raise wrong_use(RemoteError(message, f"Choose 1 to {LONGEST_LINK_S} seconds, which are 7 days.", "setting"))
    addresses.check_key(key)
    with refusals.explaining(bucket, "get_object", key):
        asked = {"Bucket": bucket.name, "Key": key}
        return bucket.client.generate_presigned_url("get_object", Params=asked, ExpiresIn=valid_s)


def _check_service(address: Address, endpoint: str, values: Settings) -> None:
    """Checks that the address belongs to the service for which the keys are: no other one gets a request signed with them."""
    is_aws = bool(address.region) and not address.endpoint
    if address.endpoint == endpoint or (not address.endpoint and not is_aws):
        return
    found = next((name for name in ENDPOINTS if values.source(name)), "")
    if address.endpoint and not endpoint:
        message = f"{address.uri} is stored at {address.endpoint}, and Easel would ask AWS."
        raise RemoteError(
            message, f"Set S3_ENDPOINT_URL={address.endpoint} if your access key is for that service.", "setting"
        )
    message = f"{address.uri} is stored at {address.endpoint or 'AWS'}, but {values.source(found)} is {endpoint}."
    raise RemoteError(message, f"Change or remove {found} if your access key is for the other service.", "setting")


def _region_of(endpoint: str) -> str:
    """The region in the address of a service, "" if it has none."""
    if not endpoint:
        return ""
    try:
        return addresses.parse(f"{endpoint}/bucket").region
    except RemoteError:
        return ""


@functools.cache
def _session() -> Any:
    """A session without keys: it reads the description of S3 once, which takes longer than anything else here."""
    import boto3.session
    import botocore.session

    # Nothing from ~/.aws: whose keys and which service are used must not depend on files that Easel does not show.
    nothing = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=nothing))


def _client(
    bucket: str, endpoint: str, region: str, keys: tuple[Secret, Secret, Secret | None], patience: Patience
) -> Any:
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # One name for the certificate: *.s3.amazonaws.com does not fit a bucket with dots.
    style = "path" if endpoint or "." in bucket else "virtual"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        # Easel repeats requests itself (`patience`): so that the user can stop it, and a body that was cut counts, too.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        max_pool_connections=FILES_AT_ONCE + PIECES_AT_ONCE,
        # The newer checksums of the AWS SDKs are refused by several other services. Easel sends an MD5 with each upload.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        user_agent_extra="easel",
    )
    access, secret, token = keys
    try:
        # A session may be used by one thread at a time, its clients by many.
        with _LOCK:
            return _session().client(
                "s3",
                region_name=region,
                endpoint_url=endpoint or None,
                aws_access_key_id=access.reveal(),
                aws_secret_access_key=secret.reveal(),
                aws_session_token=token.reveal() if token else None,
                config=config,
            )
    except (BotoCoreError, ValueError) as error:
        message = f"The connection to {endpoint or 'AWS'} in the region {region!r} cannot be prepared."
        raise RemoteError(message, "Check S3_REGION and S3_ENDPOINT_URL.", "setting") from error
