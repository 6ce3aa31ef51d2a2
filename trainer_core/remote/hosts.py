"""The hosts that store objects, as a table: which forms of addresses there are, and which are refused with a reason.

Source: AWS, "Virtual hosting of buckets", "Making requests over IPv6", "Website endpoints"; Cloudflare, "S3 API compatibility";
Backblaze, "S3-compatible API"; RunPod, "S3-compatible API".
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A kind of host that stores objects: its pattern, and how the endpoint of its service is written ("" for AWS).

    The pattern's group `bucket` is the bucket, if the host has it; else it is the first part of the path. `upper_region`: the
    service signs with the region in capitals.
    """

    pattern: re.Pattern[str]
    endpoint: str = ""
    needs_bucket: bool = False
    upper_region: bool = False


REGION = r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-\d{1,2}"
_AWS = r"\.amazonaws\.com(?P<china>\.cn)?"
_BEFORE = r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]*)\.)?"

HOSTS = (
    # Transfer acceleration. AWS accepts only the form with the bucket in the host; some services write the other one.
    Host(re.compile(rf"{_BEFORE}s3-accelerate(?:\.dualstack)?{_AWS}")),
    # Directory buckets.
    Host(re.compile(rf"{_BEFORE}s3express-[a-z0-9]+-az\d+\.(?P<region>{REGION}){_AWS}"), needs_bucket=True),
    # Websites, with a dot or a dash before the region.
    Host(re.compile(rf"{_BEFORE}s3-website[.-](?P<region>{REGION}){_AWS}"), needs_bucket=True),
    # Without and with a region, FIPS and dualstack, and the older form with a dash.
    Host(re.compile(rf"{_BEFORE}s3(?:-fips)?(?:\.dualstack)?(?:[.-](?P<region>{REGION}|external-1))?{_AWS}")),
    Host(
        re.compile(rf"{_BEFORE}(?P<service>[0-9a-f]{{32}}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com)"),
        "https://{service}",
    ),
    Host(
        re.compile(
            rf"{_BEFORE}(?P<service>s3\.(?P<region>[a-z]{{2}}(?:-[a-z]{{2,12}}){{1,2}}-\d{{3}})\.backblazeb2\.com)"
        ),
        "https://{service}",
    ),
    Host(
        re.compile(r"(?P<service>s3api-(?P<region>[a-z]{2,4}-[a-z]{2}-\d{1,2})\.runpod\.io)"),
        "https://{service}",
        upper_region=True,
    ),
)
"""In this order: the first one whose pattern fits the whole host."""

REFUSED = (
    (
        re.compile(r"(?:.*\.)?s3-(?:accesspoint|object-lambda|outposts|control)(?:-fips)?\..*|.*\.mrap\..*|arn:.*"),
        "it leads to an access point, which does not say the bucket",
        "Use the address with the name of the bucket.",
    ),
    (
        re.compile(r"(?:.*\.)?cloudfront\.net|(?:.*\.)?r2\.dev|f\d+\.backblazeb2\.com"),
        "it leads to a copy for the public, which does not say bucket and key as S3 knows them",
        "Use the address that begins with s3://.",
    ),
)
"""Hosts that are refused with a reason of their own: pattern, reason, advice."""

CONSOLE = re.compile(rf"(?:s3|(?P<region>{REGION}))\.console\.(?:aws\.amazon\.com|amazonaws\.cn|amazonaws-us-gov\.com)")
CONSOLE_PATH = re.compile(r"/s3/(?P<kind>object|buckets)/(?P<bucket>[a-z0-9][a-z0-9.-]*)/?")
