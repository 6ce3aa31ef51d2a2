"""What an answer of a storage service, or none, means: as sentences, without anything of a key or a signature."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trainer_core.errors import RemoteError
from trainer_core.text import printable

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

RIGHTS = {
    "list_objects_v2": ("list", "s3:ListBucket"),
    "head_object": ("read", "s3:GetObject"),
    "get_object": ("read", "s3:GetObject"),
    "put_object": ("write", "s3:PutObject"),
    "delete_object": ("delete", "s3:DeleteObject"),
    "create_multipart_upload": ("write", "s3:PutObject"),
    "upload_part": ("write", "s3:PutObject"),
    "complete_multipart_upload": ("write", "s3:PutObject"),
    "list_parts": ("continue the upload of", "s3:ListMultipartUploadParts"),
    "abort_multipart_upload": ("end the upload of", "s3:AbortMultipartUpload"),
}
"""What an operation does, and the right that it needs. Source: AWS, "Required permissions for Amazon S3 API operations"."""

MISSING = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchVersion"})
REGIONS = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "301",
        "307",
        "IllegalLocationConstraintException",
    }
)
NOT_OFFERED = frozenset({"NotImplemented", "501"})


@dataclass(frozen=True)
class Rule:
    """What codes or statuses of an answer mean. In the texts stand {shown}, {service}, {bucket}, {does}, {source} and {code}."""

    codes: frozenset[str]
    kind: str
    message: str
    hint: str = ""


_NEW_KEY = "Create a new key, or check that key and service belong together."
RULES = (
    Rule(
        frozenset({"NoSuchBucket"}),
        "missing",
        "There is no bucket {bucket} at {service}.",
        "Check its name and S3_ENDPOINT_URL.",
    ),
    Rule(MISSING, "missing", "There is no object {shown}.", "Check the address: upper and lower case differ."),
    Rule(frozenset({"NoSuchUpload"}), "gone", "The unfinished upload of {shown} is gone.", "Start it again."),
    Rule(
        frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "Unauthorized", "401"}),
        "rights",
        "The storage does not know the access key (from {source}): {code}.",
        _NEW_KEY,
    ),
    Rule(
        frozenset({"SignatureDoesNotMatch"}),
        "rights",
        "The secret access key does not fit the access key (from {source}): {code}.",
        "Copy both again; they belong together.",
    ),
    Rule(
        frozenset({"ExpiredToken", "TokenRefreshRequired"}),
        "rights",
        "The temporary access key (from {source}) has expired: {code}.",
        "Get a new one.",
    ),
    Rule(
        frozenset({"InvalidToken"}),
        "rights",
        "The session token does not fit the access key (from {source}): {code}.",
        _NEW_KEY,
    ),
    Rule(
        frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"}),
        "changed",
        "{shown} was changed by somebody else meanwhile.",
        "Start it again.",
    ),
    Rule(
        frozenset(
            {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507"}
        ),
        "disk",
        "The storage {service} is full: {code}.",
        "Delete what is not needed, or choose another bucket.",
    ),
    Rule(frozenset({"EntityTooLarge", "413"}), "size", "{shown} is larger than the storage accepts."),
    Rule(NOT_OFFERED, "content", "{service} does not offer what is needed to {does} {shown}."),
    Rule(
        frozenset(
            {"SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests", "429", "503"}
        )
        | {"RequestLimitExceeded", "OperationAborted"},
        "busy",
        "{service} has too many requests to {does} {shown} now ({code}).",
        "Try again later.",
    ),
    Rule(
        frozenset({"RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}),
        "broken",
        "{shown} did not arrive completely ({code}).",
        "Try again.",
    ),
    Rule(
        frozenset({"InternalError", "500", "502", "504"}),
        "server",
        "{service} has an error of its own ({code}).",
        "Try again later.",
    ),
)
"""By the code of an answer, else by its status. Source: AWS, "Error responses", "List of error codes"; MinIO, api-errors.go."""
_SECONDS = re.compile(r"\d{1,5}")


class Asked(Protocol):
    """What the sentences name of a bucket: see `bucket.Bucket`."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def region(self) -> str:
        """The region for which requests are signed."""
        ...

    @property
    def service(self) -> str:
        """The storage service."""
        ...

    @property
    def key_source(self) -> str:
        """Where the access key is from."""
        ...

    def uri(self, key: str) -> str:
        """The address of an object."""
        ...


class StorageError(RemoteError):
    """A RemoteError with the `code` of the storage service, for programs."""

    def __init__(self, message: str, hint: str, kind: str, code: str, wait_s: float | None = None) -> None:
        super().__init__(message, hint, kind, wait_s)
        self.code = code


@contextmanager
def explaining(bucket: Asked, operation: str, key: str = "") -> Iterator[None]:
    """Turns what boto3 raises in the block into a RemoteError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        # Not `from`: an answer can repeat what was signed.
        raise of_answer(bucket, operation, key, error) from None
    except BotoCoreError as error:
        raise of_connection(bucket, error) from None


def of_answer(bucket: Asked, operation: str, key: str, error: ClientError) -> StorageError:
    """The error for an answer that is a refusal."""
    said: Mapping[str, Any] = error.response.get("Error") or {}
    meta: Mapping[str, Any] = error.response.get("ResponseMetadata") or {}
    headers: Mapping[str, str] = meta.get("HTTPHeaders") or {}
    status = str(meta.get("HTTPStatusCode") or "")
    code = printable(str(said.get("Code") or status), 60)
    if code in MISSING and not key:
        code = "NoSuchBucket"
    if code == "RequestTimeTooSkewed":
        return StorageError(*_clock(said, headers), "clock", code)
    elsewhere = headers.get("x-amz-bucket-region", bucket.region) != bucket.region
    if code in REGIONS or (status in {"301", "307", "400"} and elsewhere):
        return StorageError(*_region(bucket, said, headers), "region", code)
    does, right = RIGHTS.get(operation, ("use", ""))
    shown, source = printable(bucket.uri(key), 300), bucket.key_source
    for name in (code, status):
        for rule in RULES:
            if name in rule.codes:
                text = rule.message.format(
                    shown=shown, service=bucket.service, bucket=bucket.name, does=does, source=source, code=code
                )
                return StorageError(text, rule.hint, rule.kind, code, _wait(headers))
    if status == "403":
        hint = f"The key needs the right {right}." if right else ""
        if right == "s3:GetObject":
            hint += " Without the right s3:ListBucket this is also the answer for an object that does not exist."
        return StorageError(
            f"The access key (from {source}) has no right to {does} {shown} ({code}).", hint, "rights", code
        )
    if status.startswith("5"):
        return StorageError(f"{bucket.service} has an error of its own ({code}).", "Try again later.", "server", code)
    return StorageError(
        f"{bucket.service} refuses to {does} {shown} ({code}, status {status or 'unknown'}).", "", "content", code
    )


def of_connection(bucket: Asked, error: BotoCoreError) -> RemoteError:
    """The error for a request without a complete answer. The text of the library's error is not used: it can contain an address with its signature."""
    from botocore import exceptions as known

    service = bucket.service
    if isinstance(error, (known.ConnectTimeoutError, known.ReadTimeoutError)):
        return RemoteError(f"{service} does not answer in time.", "Check the connection, and try again.", "slow")
    if isinstance(error, known.SSLError):
        message = f"The certificate of {service} cannot be verified."
        return RemoteError(
            message,
            "Check the address, the date of this machine, and AWS_CA_BUNDLE behind a company's proxy.",
            "content",
        )
    if isinstance(error, known.ProxyConnectionError):
        return RemoteError(f"The proxy on the way to {service} does not answer.", "Check HTTPS_PROXY.", "offline")
    if isinstance(error, known.EndpointConnectionError):
        return RemoteError(f"{service} cannot be reached.", "Check the connection and S3_ENDPOINT_URL.", "offline")
    if isinstance(error, (known.ConnectionClosedError, known.IncompleteReadError, known.ResponseStreamingError)):
        return RemoteError(f"The connection to {service} was cut.", "Start it again to continue.", "broken")
    if isinstance(error, (known.HTTPClientError, known.ConnectionError)):
        return RemoteError(f"The connection to {service} failed.", "Start it again to continue.", "broken")
    return RemoteError(
        f"The request to {service} cannot be sent ({type(error).__name__}).",
        "Check the address and the region.",
        "content",
    )


def _clock(said: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    there = _time(str(said.get("ServerTime") or "")) or _time(headers.get("date", ""))
    off = ""
    if there:
        minutes = round((dt.datetime.now(dt.UTC) - there).total_seconds() / 60)
        off = f": it is {abs(minutes):,} minutes {'ahead' if minutes > 0 else 'behind'}"
    return (
        f"The clock of this machine is wrong{off}.",
        "Set the clock; the storage accepts requests only with the right time.",
    )


def _time(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        try:
            found = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _region(bucket: Asked, said: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, str]:
    right = printable(str(said.get("Region") or headers.get("x-amz-bucket-region") or ""), 40)
    message = f"The bucket {bucket.name} is not in the region {bucket.region}"
    if right and right != bucket.region:
        return f"{message}, but in {right}.", f"Set S3_REGION={right}."
    return f"{message}; the storage does not say where it is.", "Look in its console, and set S3_REGION."


def _wait(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    return float(text) if _SECONDS.fullmatch(text) else None
