"""Turns every form of an S3 address into `s3://bucket/key` and back. Pure: nothing is asked and nothing is looked up.

The forms of AWS, Cloudflare R2, Backblaze B2 and RunPod are recognised by their hosts; another service, such as MinIO, by
the endpoints that the caller names. An address is untrusted: its key becomes a path, and its bucket receives signed requests.

Source: AWS, "Bucket naming rules" and "Creating object key names".
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qs, quote, unquote_to_bytes, urlsplit

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.remote.hosts import CONSOLE, CONSOLE_PATH, HOSTS, REFUSED, REGION, Host
from trainer_core.text import HIDDEN_CLASSES, printable, without_link_secrets

LONGEST_ADDRESS = 8192
LONGEST_KEY_BYTES = 1024
LONGEST_SHOWN = 200
MOST_FIELDS = 100

Form = Literal["s3", "virtual", "path", "dualstack", "accelerate", "fips", "website", "console"]
"""The forms in which an address can be written."""


@dataclass(frozen=True)
class Address:
    """An object or, with a key that is empty or ends in "/", a folder of a bucket.

    `region` and `endpoint` are "" where the address does not name them; `endpoint` is that of a service other than AWS.
    `is_signed` says that the address had a signature, which is not kept.
    """

    bucket: str
    key: str = ""
    region: str = ""
    endpoint: str = ""
    is_signed: bool = False

    @property
    def uri(self) -> str:
        """The address as s3://bucket/key."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether it names no single object."""
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return self.uri


_NETLOC = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?|\[[0-9a-f:.]+\](?::\d{1,5})?", re.IGNORECASE)
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9]|[.-](?=[a-z0-9-])){1,61}[a-z0-9]")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SEPARATOR = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_STILL_ESCAPED = re.compile(r"%(?:2e|2f|5c|00)", re.IGNORECASE)
_SIGNATURES = frozenset({"x-amz-signature", "signature", "awsaccesskeyid", "x-amz-credential", "x-amz-security-token"})
_SCHEMES = ("s3", "s3a", "s3n")
_PORTS = {"https": 443, "http": 80}
_SAFE = "/-_.~!*'()"


def to_s3(text: str, endpoints: Iterable[str] = ()) -> str:
    """The address of an object as s3://bucket/key.

    Raises:
        RemoteError: as `parse`, or it is the address of a folder.
    """
    found = parse(text, endpoints)
    if found.is_folder:
        raise _refusal(text, "it names no object, but a bucket or a folder", "Add the name of the file.")
    return found.uri


def parse(text: str, endpoints: Iterable[str] = ()) -> Address:
    """What an address leads to; `endpoints` are the addresses of storage services that the user has set.

    The key of s3:// is literal. That of a web address is decoded once, "+" stays, and its query is dropped.

    Raises:
        RemoteError: it is not an address of S3, or its bucket or key is not safe to use; the message says why.
    """
    plain = text.strip(" ")
    if len(plain) > LONGEST_ADDRESS:
        raise _refusal(text, "it is too long")
    if any(unicodedata.category(char) in HIDDEN_CLASSES for char in plain):
        raise _refusal(text, "it contains invisible or control characters", "Copy it again.")
    scheme, colon, rest = plain.partition("://")
    if colon and scheme.lower() in _SCHEMES:
        bucket, _, key = rest.partition("/")
        return _checked(text, Address(bucket, key))
    if colon and scheme.lower() in _PORTS:
        return _checked(text, _of_web(text, plain, [_endpoint(each) for each in endpoints]))
    raise _refusal(text, "it begins neither with s3:// nor with https://")


def write(address: Address, form: Form = "s3") -> str:
    """The address in another form. Those with a region need one, and none can be signed here.

    Raises:
        RemoteError: the address cannot be written in this form.
    """
    if form == "s3":
        return address.uri
    path = quote(address.key, safe=_SAFE)
    if address.endpoint:
        if form != "path":
            raise _refusal(address.uri, "only the form with the bucket in the path is the same for every service")
        return f"{address.endpoint.rstrip('/')}/{address.bucket}/{path}"
    if not address.region and form in {"dualstack", "fips", "website", "console"}:
        raise _refusal(address.uri, f"the form {form} needs a region", "Set S3_REGION.")
    domain = "amazonaws.com.cn" if address.region.startswith("cn-") else "amazonaws.com"
    dot = f".{address.region}" if address.region else ""
    if form == "path":
        return f"https://s3{dot}.{domain}/{address.bucket}/{path}"
    if form == "console":
        kind = "buckets" if address.is_folder else "object"
        site = "console.amazonaws.cn" if domain.endswith(".cn") else "console.aws.amazon.com"
        asked = f"region={address.region}&prefix={quote(address.key, safe='')}"
        return f"https://{address.region}.{site}/s3/{kind}/{address.bucket}?{asked}"
    host = {
        "virtual": f"s3{dot}",
        "dualstack": f"s3.dualstack{dot}",
        "accelerate": "s3-accelerate",
        "fips": f"s3-fips{dot}",
        "website": f"s3-website{dot}",
    }[form]
    return f"http{'' if form == 'website' else 's'}://{address.bucket}.{host}.{domain}/{path}"


def endpoint_of(text: str) -> str:
    """The address of a storage service as it is compared and used: "https://host:port", without a path.

    Raises:
        RemoteError: it is no web address, has a user, a path or a query, or is not encrypted and not local.
    """
    from trainer_core.models.downloads.http import is_local

    scheme, host, port = _endpoint(text)
    if scheme == "http" and not is_local(host):
        raise _refusal(text, "requests to it would not be encrypted", "Use an address that begins with https://.")
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + (f":{port}" if port != _PORTS[scheme] else "")


def check_key(key: str) -> None:
    """Checks that a key can be used and can become a path.

    Raises:
        RemoteError: it cannot; the message says why.
    """
    if reason := _wrong_key(key):
        raise _refusal(f"the key {key}", reason)


def check_bucket(name: str) -> None:
    """Checks the name of a bucket.

    Raises:
        RemoteError: it cannot be one.
    """
    if not _is_bucket(name):
        raise _refusal(f"the bucket {name}", _NO_BUCKET)


_NO_BUCKET = "a bucket has 3 to 63 lower-case letters, digits, dots and dashes, and is no IP address"


def _checked(text: str, found: Address) -> Address:
    for pattern, reason, advice in REFUSED:
        if pattern.fullmatch(found.bucket):
            raise _refusal(text, reason, advice)
    if not _is_bucket(found.bucket):
        raise _refusal(text, f"{printable(found.bucket, 80)!r} cannot be the name of a bucket: {_NO_BUCKET}")
    if reason := _wrong_key(found.key):
        raise _refusal(text, reason)
    return found


def _is_bucket(name: str) -> bool:
    if not _BUCKET.fullmatch(name) or ".-" in name or "-." in name or name.startswith("xn--"):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


def _wrong_key(key: str) -> str:
    """Why a key cannot be used; "" if it can. The key of a folder is empty or ends in "/"."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "its key is not text"
    if length > LONGEST_KEY_BYTES:
        return f"its key is longer than {LONGEST_KEY_BYTES} bytes"
    if any(unicodedata.category(char) in HIDDEN_CLASSES for char in key):
        return "its key contains invisible or control characters"
    if "\\" in key:
        return "its key contains a backslash, which separates folders on some systems"
    if _STILL_ESCAPED.search(key):
        return "its key contains an encoded separator or dot"
    parts = key.removesuffix("/").split("/") if key else []
    if any(part in {".", ".."} for part in parts):
        return 'its key contains "." or ".." as a folder'
    if "" in parts:
        return "its key contains a folder without a name"
    return ""


def _of_web(text: str, plain: str, endpoints: list[tuple[str, str, int]]) -> Address:
    parts, port = _split(text, plain)
    host = (parts.hostname or "").lower()
    asked = parse_qs(parts.query, keep_blank_values=True) if parts.query.count("&") < MOST_FIELDS else {}
    is_signed = not _SIGNATURES.isdisjoint(name.lower() for name in asked)
    if own := _of_endpoint(text, parts, host, port, endpoints, is_signed=is_signed):
        return own
    if port != _PORTS[parts.scheme]:
        raise _refusal(text, "its port is not the usual one, and it is no endpoint that was set", _SET_ENDPOINT)
    for pattern, reason, advice in REFUSED:
        if pattern.fullmatch(host):
            raise _refusal(text, reason, advice)
    if console := CONSOLE.fullmatch(host):
        return _of_console(text, parts, asked, console["region"] or "")
    for kind in HOSTS:
        if found := kind.pattern.fullmatch(host):
            return _of_host(text, parts, kind, found, is_signed=is_signed)
    raise _refusal(text, f"{printable(host, 100)} is no host of S3 that Easel knows", _SET_ENDPOINT)


def _split(text: str, plain: str) -> tuple[SplitResult, int]:
    """The parts of a web address, and its port."""
    try:
        parts = urlsplit(plain)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        raise _refusal(text, "its host or port is not valid") from None
    if "@" in parts.netloc:
        raise _refusal(text, "it contains a user name or a password", "Remove what is before the @.")
    if not _NETLOC.fullmatch(parts.netloc) or ".." in parts.netloc:
        raise _refusal(text, "its host is not valid")
    if parts.fragment or plain.endswith("#"):
        raise _refusal(text, 'it contains "#"', "In a web address, a # in a key is written as %23.")
    return parts, port


_SET_ENDPOINT = "If it is the address of a storage service, set S3_ENDPOINT_URL."


def _of_host(text: str, parts: SplitResult, kind: Host, found: re.Match[str], *, is_signed: bool) -> Address:
    named = found.groupdict()
    region = named.get("region") or ""
    if region == "external-1":
        region = "us-east-1"
    if region and "china" in named and region.startswith("cn-") != bool(named["china"]):
        raise _refusal(text, f"the region {region} is not in this domain")
    if kind.upper_region:
        region = region.upper()
    path, bucket = _path(text, parts.path), named.get("bucket") or ""
    if kind.needs_bucket and not bucket:
        raise _refusal(text, "it does not say the bucket")
    if not bucket:
        bucket, _, path = path.partition("/")
    endpoint = kind.endpoint.format(**named) if kind.endpoint else ""
    return Address(bucket, path, region, endpoint, is_signed)


def _of_endpoint(
    text: str, parts: SplitResult, host: str, port: int, endpoints: list[tuple[str, str, int]], *, is_signed: bool
) -> Address | None:
    """The address below one of the endpoints that were set: with the bucket in the path, or before the host."""
    for scheme, name, number in endpoints:
        if port != number or parts.scheme != scheme:
            continue
        shown = f"{scheme}://{f'[{name}]' if ':' in name else name}" + (
            f":{number}" if number != _PORTS[scheme] else ""
        )
        path = _path(text, parts.path)
        if host == name:
            bucket, _, key = path.partition("/")
            return Address(bucket, key, "", shown, is_signed)
        if host.endswith("." + name):
            return Address(host.removesuffix("." + name), path, "", shown, is_signed)
    return None


def _of_console(text: str, parts: SplitResult, asked: dict[str, list[str]], region: str) -> Address:
    found = CONSOLE_PATH.fullmatch(parts.path)
    prefixes, regions = asked.get("prefix", [""]), asked.get("region", [region])
    if not found or len(prefixes) > 1 or len(regions) > 1 or not re.fullmatch(rf"(?:{REGION})?", regions[0]):
        raise _refusal(text, "it is a page of the AWS console that shows no object or folder")
    key = prefixes[0]
    if "\ufffd" in key:
        raise _refusal(text, "its key is not UTF-8")
    if found["kind"] == "buckets" and key and not key.endswith("/"):
        key += "/"
    return Address(found["bucket"], key, regions[0])


def _path(text: str, path: str) -> str:
    """The path of a web address, decoded once, without the slash at its start."""
    if _ESCAPE.search(path):
        raise _refusal(
            text, "its path has a % that encodes nothing", "In a web address, a % in a key is written as %25."
        )
    if _ESCAPED_SEPARATOR.search(path):
        raise _refusal(text, "its path contains an encoded separator (%2F, %5C or %00)", "Write the / as it is.")
    try:
        return unquote_to_bytes(path.removeprefix("/")).decode("utf-8")
    except UnicodeDecodeError:
        raise _refusal(text, "its path is not UTF-8") from None


def _endpoint(text: str) -> tuple[str, str, int]:
    plain = text.strip()
    try:
        parts = urlsplit(plain if "://" in plain else f"https://{plain}")
        port = parts.port
    except ValueError:
        raise _refusal(text, "its host or port is not valid") from None
    is_plain = parts.scheme in _PORTS and parts.path in {"", "/"} and not (parts.query or parts.fragment)
    if not is_plain or not _NETLOC.fullmatch(parts.netloc) or port == 0:
        raise _refusal(
            text, "it is not the address of a storage service", "It has the form https://host or https://host:port."
        )
    return parts.scheme, (parts.hostname or "").lower(), port or _PORTS[parts.scheme]


def _refusal(text: str, reason: str, advice: str = "") -> RemoteError:
    shown = printable(without_link_secrets(text), LONGEST_SHOWN)
    return wrong_use(RemoteError(f"{shown} cannot be used: {reason}.", advice, "address"))
