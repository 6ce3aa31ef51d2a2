"""Addresses of S3 in every form, and what is refused. The table has the forms that AWS and others document."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.errors import RemoteError
from trainer_core.remote import addresses
from trainer_core.remote.addresses import Address, parse, to_s3, write

ENDPOINTS = ("http://127.0.0.1:9000", "https://minio.example.org", "http://[::1]:9001")
SIGNED = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAX%2F20260101&X-Amz-Signature=00ff"

# The address, the bucket, the key, the region.
FORMS = [
    ("s3://my-bkt/a/b.jpg", "my-bkt", "a/b.jpg", ""),
    ("s3://my-bkt/a%20b.jpg", "my-bkt", "a%20b.jpg", ""),
    ("s3://my-bkt/what?#.jpg", "my-bkt", "what?#.jpg", ""),
    ("s3a://my-bkt/a", "my-bkt", "a", ""),
    ("S3N://my-bkt/a", "my-bkt", "a", ""),
    ("  s3://my-bkt/a  ", "my-bkt", "a", ""),
    ("https://my-bkt.s3.us-west-1.amazonaws.com/a/b.jpg", "my-bkt", "a/b.jpg", "us-west-1"),
    ("https://my-bkt.s3.amazonaws.com/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://my-bkt.s3.amazonaws.com:443/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://my-bkt.s3-us-west-2.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "us-west-2"),
    ("https://my.dotted.bkt.s3.eu-west-1.amazonaws.com/a.jpg", "my.dotted.bkt", "a.jpg", "eu-west-1"),
    ("https://s3.us-west-1.amazonaws.com/my-bkt/a/b.jpg", "my-bkt", "a/b.jpg", "us-west-1"),
    ("https://s3.amazonaws.com/my-bkt/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://s3-us-west-2.amazonaws.com/my-bkt/a.jpg", "my-bkt", "a.jpg", "us-west-2"),
    ("https://s3-external-1.amazonaws.com/my-bkt/a.jpg", "my-bkt", "a.jpg", "us-east-1"),
    ("https://my-bkt.s3-accelerate.amazonaws.com/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://my-bkt.s3-accelerate.dualstack.amazonaws.com/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://s3-accelerate.amazonaws.com/bucket/path/model.safetensors", "bucket", "path/model.safetensors", ""),
    ("https://my-bkt.s3.dualstack.us-west-2.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "us-west-2"),
    ("https://s3.dualstack.us-west-2.amazonaws.com/my-bkt/a.jpg", "my-bkt", "a.jpg", "us-west-2"),
    ("https://my-bkt.s3-fips.us-east-1.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "us-east-1"),
    ("https://my-bkt.s3-fips.dualstack.us-east-1.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "us-east-1"),
    ("https://my-bkt.s3.us-gov-west-1.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "us-gov-west-1"),
    ("https://my-bkt.s3.cn-north-1.amazonaws.com.cn/a.jpg", "my-bkt", "a.jpg", "cn-north-1"),
    (
        "https://my-bkt--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com/a.jpg",
        "my-bkt--usw2-az1--x-s3",
        "a.jpg",
        "us-west-2",
    ),
    ("http://my-bkt.s3-website-us-east-1.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "us-east-1"),
    ("http://my-bkt.s3-website.eu-central-1.amazonaws.com/a.jpg", "my-bkt", "a.jpg", "eu-central-1"),
    (f"https://my-bkt.s3.amazonaws.com/a%20b%2Bc/%C3%A9.jpg?{SIGNED}", "my-bkt", "a b+c/é.jpg", ""),
    ("https://my-bkt.s3.amazonaws.com/a+b.jpg?AWSAccessKeyId=x&Signature=y&Expires=1", "my-bkt", "a+b.jpg", ""),
    ("https://my-bkt.s3.amazonaws.com/a.jpg?versionId=abc", "my-bkt", "a.jpg", ""),
    ("HTTPS://MY-BKT.S3.AMAZONAWS.COM/A.jpg", "my-bkt", "A.jpg", ""),
    ("https://s3.bucket.s3.us-east-1.amazonaws.com/k", "s3.bucket", "k", "us-east-1"),
    ("http://127.0.0.1:9000/my-bkt/a.jpg", "my-bkt", "a.jpg", ""),
    ("http://[::1]:9001/my-bkt/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://minio.example.org/my-bkt/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://my-bkt.minio.example.org/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://0a1b2c3d4e5f60718293a4b5c6d7e8f9.r2.cloudflarestorage.com/my-bkt/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://my-bkt.0a1b2c3d4e5f60718293a4b5c6d7e8f9.eu.r2.cloudflarestorage.com/a.jpg", "my-bkt", "a.jpg", ""),
    ("https://s3.us-west-004.backblazeb2.com/my-bkt/a.jpg", "my-bkt", "a.jpg", "us-west-004"),
    ("https://my-bkt.s3.eu-central-003.backblazeb2.com/a.jpg", "my-bkt", "a.jpg", "eu-central-003"),
    ("https://s3api-eu-ro-1.runpod.io/vol123/a.jpg", "vol123", "a.jpg", "EU-RO-1"),
    ("https://s3api-eur-is-1.runpod.io/vol123/a.jpg", "vol123", "a.jpg", "EUR-IS-1"),
    (
        "https://s3.console.aws.amazon.com/s3/object/my-bkt?region=us-west-1&prefix=a/b%20c.jpg",
        "my-bkt",
        "a/b c.jpg",
        "us-west-1",
    ),
    (
        "https://us-west-1.console.aws.amazon.com/s3/object/my-bkt?region=us-west-1&bucketType=general&prefix=a/b.jpg",
        "my-bkt",
        "a/b.jpg",
        "us-west-1",
    ),
]

FOLDERS = [
    ("s3://my-bkt", "my-bkt", ""),
    ("s3://my-bkt/", "my-bkt", ""),
    ("s3://my-bkt/dir/", "my-bkt", "dir/"),
    ("https://my-bkt.s3.us-west-1.amazonaws.com", "my-bkt", ""),
    ("https://s3.console.aws.amazon.com/s3/buckets/my-bkt?prefix=dir/", "my-bkt", "dir/"),
    ("https://s3.console.aws.amazon.com/s3/buckets/my-bkt", "my-bkt", ""),
]

REFUSED = {
    "https://d111.cloudfront.net/a.jpg": "a copy for the public",
    "https://pub-0a1b.r2.dev/a.jpg": "a copy for the public",
    "https://f004.backblazeb2.com/file/my-bkt/a.jpg": "a copy for the public",
    "https://example.com/a.jpg": "no host of S3",
    "ftp://b/k": "begins neither",
    "/tmp/a.jpg": "begins neither",
    "": "begins neither",
    "my-bkt.s3.amazonaws.com/a": "begins neither",
    "https://evil.com/?x=.s3.amazonaws.com/": "no host of S3",
    "https://s3.amazonaws.com.evil.com/bkt/k": "no host of S3",
    "https://evil-s3.amazonaws.com/bkt/k": "no host of S3",
    "https://my-bkt.s3.amazonaws.com.cn.evil.com/k": "no host of S3",
    "https://my-bkt.s3.us-west-1.amazonaws.co/k": "no host of S3",
    "https://my-bkt.s3.amazonaws.com./k": "host is not valid",
    "https://my-bkt.s3.\u0430mazonaws.com/k": "host is not valid",
    "https://my-bkt.s3..amazonaws.com/k": "host is not valid",
    "https://0a1b2c3d4e5f60718293a4b5c6d7e8f9.r2.cloudflarestorage.com.evil.com/my-bkt/k": "no host of S3",
    "https://evil-runpod.io/my-bkt/k": "no host of S3",
    "https://xs3api-eu-ro-1.runpod.io/my-bkt/k": "no host of S3",
    "https://127.0.0.1:9000/my-bkt/a": "no endpoint that was set",
    "http://127.0.0.1:9002/my-bkt/a": "no endpoint that was set",
    "https://xminio.example.org/my-bkt/a": "no host of S3",
    "https://s3.amazonaws.com@evil.com/bkt/k": "a user name",
    "https://user:pw@my-bkt.s3.amazonaws.com/k": "a user name",
    "https://s3.amazonaws.com\\@evil.com/bkt/k": "a user name",
    "https://s3.amazonaws.com\\.evil.com/bkt/k": "host is not valid",
    "https://my-bkt.s3.amazonaws.com:8443/k": "port",
    "https://my-bkt.s3.amazonaws.com:0/k": "port",
    "https://my-bkt.s3.amazonaws.com:x/k": "port",
    "https://my-bkt.s3.cn-north-1.amazonaws.com/k": "not in this domain",
    "https://my-bkt.s3.us-west-1.amazonaws.com.cn/k": "not in this domain",
    "https://ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com/k": "access point",
    "https://x.accesspoint.s3-global.mrap.amazonaws.com/k": "no host|access point",
    "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/ap/k": "access point",
    "s3://bkt/../../etc/passwd": "as a folder",
    "s3://bkt/a/./b": "as a folder",
    "s3://bkt//etc/passwd": "without a name",
    "s3://bkt/a//b": "without a name",
    "s3://bkt/a\\..\\b": "backslash",
    "s3://bkt/a%2F..%2Fb": "encoded separator",
    "s3://bkt/%2e%2e/b": "encoded separator",
    "s3://bkt/a\x00b": "control characters",
    "s3://bkt/a\nb": "control characters",
    "s3://bkt/a\u202eb": "control characters",
    "s3://bkt/a\u200bb": "control characters",
    "s3://bkt/\ud800": "control characters",
    "s3://" + "bkt/" + "a" * 1025: "longer than 1024",
    "s3://bkt/" + "a" * 9000: "too long",
    "s3://BKT/a": "name of a bucket",
    "s3://bk/a": "name of a bucket",
    "s3://bk_t/a": "name of a bucket",
    "s3://-bkt/a": "name of a bucket",
    "s3://bkt./a": "name of a bucket",
    "s3://b..t/a": "name of a bucket",
    "s3://b.-t/a": "name of a bucket",
    "s3://192.168.5.4/a": "name of a bucket",
    "s3://xn--bkt/a": "name of a bucket",
    "s3://user@bkt/a": "name of a bucket",
    "s3://bkt:80/a": "name of a bucket",
    "s3:///a": "name of a bucket",
    "s3://" + "b" * 64 + "/a": "name of a bucket",
    "https://my-bkt.s3.amazonaws.com/%2e%2e/k": "as a folder",
    "https://my-bkt.s3.amazonaws.com/a%2Fb": "encoded separator",
    "https://my-bkt.s3.amazonaws.com/a%5c..%5cb": "encoded separator",
    "https://my-bkt.s3.amazonaws.com/a%00b": "encoded separator",
    "https://my-bkt.s3.amazonaws.com/a%252e%252e/b": "encoded separator",
    "https://my-bkt.s3.amazonaws.com/a%0Ab": "control characters",
    "https://my-bkt.s3.amazonaws.com/a%zzb": "encodes nothing",
    "https://my-bkt.s3.amazonaws.com/100%": "encodes nothing",
    "https://my-bkt.s3.amazonaws.com/%ff": "not UTF-8",
    "https://my-bkt.s3.amazonaws.com/a#b": '"#"',
    "https://s3.console.aws.amazon.com/s3/home": "console",
    "https://s3.console.aws.amazon.com/s3/object/my-bkt?prefix=../a": "as a folder",
    "https://s3.console.aws.amazon.com/s3/object/my-bkt?prefix=a&prefix=b": "console",
    "https://s3.console.aws.amazon.com.evil.com/s3/object/my-bkt?prefix=a": "no host of S3",
}


@pytest.mark.parametrize(("text", "bucket", "key", "region"), FORMS)
def test_every_form_of_an_object_is_understood(text, bucket, key, region):
    found = parse(text, ENDPOINTS)
    assert (found.bucket, found.key, found.region) == (bucket, key, region)
    assert to_s3(text, ENDPOINTS) == f"s3://{bucket}/{key}"


@pytest.mark.parametrize(("text", "bucket", "key"), FOLDERS)
def test_a_bucket_or_folder_is_understood_and_is_no_object(text, bucket, key):
    found = parse(text)
    assert (found.bucket, found.key, found.is_folder) == (bucket, key, True)
    with pytest.raises(RemoteError, match="names no object"):
        to_s3(text)


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_what_is_no_safe_address_is_refused_with_a_reason(text, reason):
    with pytest.raises(RemoteError, match=reason) as found:
        parse(text, ENDPOINTS)
    assert found.value.is_wrong_use
    assert found.value.kind == "address"
    assert str(found.value).isprintable()


def test_the_signature_of_an_address_is_noticed_and_not_kept_or_shown():
    found = parse(f"https://my-bkt.s3.amazonaws.com/a.jpg?{SIGNED}")
    assert found.is_signed
    assert "00ff" not in repr(found)
    assert not parse("https://my-bkt.s3.amazonaws.com/a.jpg?versionId=1").is_signed
    with pytest.raises(RemoteError) as refusal:
        parse(f"https://evil.com/a.jpg?{SIGNED}")
    assert "00ff" not in str(refusal.value)
    with pytest.raises(RemoteError) as refusal:
        parse("https://user:hunter2pw@my-bkt.s3.amazonaws.com/k")
    assert "hunter2pw" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (
            "https://0a1b2c3d4e5f60718293a4b5c6d7e8f9.r2.cloudflarestorage.com/my-bkt/a",
            "https://0a1b2c3d4e5f60718293a4b5c6d7e8f9.r2.cloudflarestorage.com",
        ),
        ("https://my-bkt.s3.us-west-004.backblazeb2.com/a", "https://s3.us-west-004.backblazeb2.com"),
        ("https://s3api-eu-ro-1.runpod.io/vol123/a", "https://s3api-eu-ro-1.runpod.io"),
        ("http://127.0.0.1:9000/my-bkt/a", "http://127.0.0.1:9000"),
        ("https://my-bkt.s3.amazonaws.com/a", ""),
    ],
)
def test_the_service_that_has_the_object_is_known(text, endpoint):
    assert parse(text, ENDPOINTS).endpoint == endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://minio.example.org/", "https://minio.example.org"),
        ("minio.example.org", "https://minio.example.org"),
        ("https://minio.example.org:443", "https://minio.example.org"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_an_endpoint_has_one_form(text, endpoint):
    assert addresses.endpoint_of(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "http://minio.example.org",
        "https://a/b",
        "https://user@a",
        "https://a?b",
        "ftp://a",
        "https://a:0",
        "https://a:99999",
        "",
    ],
)
def test_an_endpoint_that_is_not_encrypted_or_has_more_than_a_host_is_refused(text):
    with pytest.raises(RemoteError):
        addresses.endpoint_of(text)


LETTERS = string.ascii_lowercase + string.digits
buckets = st.from_regex(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", fullmatch=True).filter(
    lambda name: not name.startswith("xn--")
)
names = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Zl", "Zp"), exclude_characters="/\\"),
    min_size=1,
    max_size=20,
)
keys = st.lists(names, min_size=1, max_size=4).map("/".join).filter(lambda key: not addresses._wrong_key(key))


@given(
    buckets, keys, st.sampled_from(["virtual", "path", "dualstack", "accelerate", "fips", "website", "console", "s3"])
)
def test_what_is_written_in_any_form_is_read_as_the_same_address(bucket, key, form):
    for region in ("eu-central-1", "cn-north-1"):
        found = parse(write(Address(bucket, key, region), form))
        if form == "console" and "\ufffd" in key:
            continue
        assert (found.bucket, found.key) == (bucket, key)
        assert found.region == ("" if form in {"s3", "accelerate"} else region)


@given(buckets, keys)
def test_an_address_of_another_service_comes_back(bucket, key):
    address = Address(bucket, key, endpoint="http://127.0.0.1:9000")
    assert parse(write(address, "path"), ENDPOINTS) == address


@given(st.text())
def test_any_text_is_an_address_or_is_refused_and_its_key_stays_inside(text):
    for begin in ("", "s3://bkt/", "https://bkt.s3.amazonaws.com/", "https://"):
        try:
            found = parse(begin + text, ENDPOINTS)
        except RemoteError:
            continue
        parts = found.key.split("/")
        assert ".." not in parts
        assert not found.key.startswith("/")
        assert parse(found.uri).key == found.key


@given(st.sampled_from(FORMS), st.text(max_size=8), st.integers(0, 60))
def test_a_changed_host_never_leads_to_another_host(form, inserted, place):
    text = form[0]
    try:
        found = parse(text[:place] + inserted + text[place:], ENDPOINTS)
    except RemoteError:
        return
    assert (
        found.endpoint == ""
        or found.endpoint in ENDPOINTS
        or found.endpoint.endswith((".r2.cloudflarestorage.com", ".backblazeb2.com", ".runpod.io"))
    )


def test_a_form_that_needs_a_region_says_so():
    with pytest.raises(RemoteError, match="needs a region"):
        write(Address("my-bkt", "a"), "fips")
    with pytest.raises(RemoteError, match="every service"):
        write(Address("my-bkt", "a", endpoint="http://127.0.0.1:9000"), "virtual")
