"""What a storage service answers becomes a sentence, and a request goes only to the service of the key."""

import datetime as dt
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support import buckets
from trainer_core.errors import RemoteError
from trainer_core.remote import credentials
from trainer_core.remote.credentials import settings
from trainer_core.remote.storage import bucket as bucket_module
from trainer_core.remote.storage import connect, download, items, link, objects, upload
from trainer_core.remote.storage.objects import folders


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(credentials, "_given", {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def there():
    with buckets.place() as made:
        yield made


REFUSALS = [
    (403, "AccessDenied", {}, "", "rights", r"no right to read .*AccessDenied.*needs the right s3:GetObject"),
    (
        403,
        "InvalidAccessKeyId",
        {},
        "",
        "rights",
        "does not know the access key .from the environment variable AWS_ACCESS_KEY_ID",
    ),
    (403, "SignatureDoesNotMatch", {}, "", "rights", "secret access key does not fit"),
    (400, "ExpiredToken", {}, "", "rights", "has expired"),
    (400, "InvalidToken", {}, "", "rights", "session token does not fit"),
    (404, "NoSuchBucket", {}, "", "missing", "There is no bucket"),
    (404, "NoSuchKey", {}, "", "missing", "There is no object s3://.*/a.*upper and lower case"),
    (
        301,
        "PermanentRedirect",
        {"x-amz-bucket-region": "eu-west-1"},
        "",
        "region",
        "not in the region us-east-1, but in eu-west-1.*Set S3_REGION=eu-west-1",
    ),
    (412, "PreconditionFailed", {}, "", "changed", "changed while it was downloaded"),
    (507, "XMinioStorageFull", {}, "", "disk", "is full"),
    (503, "SlowDown", {}, "", "busy", "too many requests"),
    (500, "InternalError", {}, "", "server", "an error of its own"),
    (599, "", {}, "", "server", "an error of its own"),
    (418, "Teapot\x1b[31m", {}, "", "content", "refuses to read"),
]


@pytest.mark.parametrize(("status", "code", "headers", "extra", "kind", "words"), REFUSALS)
def test_a_refusal_is_a_sentence_that_says_what_to_do(there, tmp_path, status, code, headers, extra, kind, words):
    there.put("a", b"data")
    there.network.fault(
        method="GET", times=9, status=status, code=code.replace("\x1b", ""), headers=headers, extra=extra
    )
    with pytest.raises(RemoteError, match=words) as found:
        download(there.connect(), "a", tmp_path / "back")
    assert found.value.kind == kind
    assert str(found.value).isprintable()
    attempts = len([each for each in there.network.of("GET") if each.path.endswith("/a")])
    assert attempts == (buckets.QUICK.attempts if found.value.is_passing else attempts)


def test_the_wait_that_a_storage_asks_for_is_kept_to(there, tmp_path):
    there.put("a", b"data")
    there.network.fault(method="GET", status=503, code="SlowDown", headers={"Retry-After": "1"})
    began = dt.datetime.now(dt.UTC)
    download(there.connect(), "a", tmp_path / "back")
    assert (dt.datetime.now(dt.UTC) - began).total_seconds() >= 1


def test_a_missing_object_and_a_missing_bucket_are_told_apart(there, tmp_path):
    with pytest.raises(RemoteError, match="There is no object"):
        download(there.connect(), "nothing", tmp_path / "back")
    there.plain.delete_bucket(Bucket=there.name)
    with pytest.raises(RemoteError, match="There is no bucket"):
        download(there.connect(), "nothing", tmp_path / "back")
    with pytest.raises(RemoteError, match="There is no bucket"):
        list(items(there.connect()))


@pytest.mark.parametrize(("hours", "words"), [(-3, "180 minutes ahead"), (2, "120 minutes behind")])
def test_a_wrong_clock_is_named_with_its_error(there, tmp_path, hours, words):
    there.network.clock = dt.timedelta(hours=hours)
    (tmp_path / "a.txt").write_text("mine")
    bucket = there.connect()
    tries = (
        lambda: list(items(bucket)),
        lambda: download(bucket, "a", tmp_path / "back"),
        lambda: upload(bucket, tmp_path / "a.txt", "a.txt"),
    )
    for act in tries:
        with pytest.raises(RemoteError, match=words) as found:
            act()
        assert found.value.kind == "clock"


def test_a_refusal_without_a_text_gets_its_reason(there, tmp_path):
    there.network.fault(method="HEAD", times=9, status=403)
    there.network.fault(method="GET", times=9, status=403, code="InvalidAccessKeyId")
    with pytest.raises(RemoteError, match="does not know the access key"):
        download(there.connect(), "a", tmp_path / "back")


def test_a_key_that_may_only_write_can_upload_and_replaces_nothing(there, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    there.network.fault(method="HEAD", times=99, status=403)
    there.network.fault(method="GET", times=99, status=403, code="AccessDenied")
    upload(there.connect(), tmp_path / "a.txt", "a.txt")
    assert there.get("a.txt") == b"mine"
    (tmp_path / "a.txt").write_text("other")
    with pytest.raises(RemoteError, match="another object"):
        upload(there.connect(), tmp_path / "a.txt", "a.txt")
    assert there.get("a.txt") == b"mine"


def test_a_bucket_in_another_region_is_reached_if_the_storage_names_it(there, tmp_path):
    there.network.region = "eu-west-1"
    there.put("a", b"data")
    assert download(there.connect(), "a", tmp_path / "back").path.read_bytes() == b"data"
    assert [each.key for each in items(there.connect())] == ["a"]


def test_no_connection_and_no_answer_in_time_are_told_apart(there):
    there.network.fault(times=99, slow_s=1.5)
    from trainer_core.remote.patience import Patience

    hurried = Patience(attempts=2, first_wait_s=0.01, connect_s=1, read_s=0.5)
    with pytest.raises(RemoteError, match="does not answer in time") as found:
        list(items(there.connect(patience=hurried)))
    assert found.value.kind == "slow"
    there.endpoint = "http://127.0.0.1:1"
    with pytest.raises(RemoteError, match="cannot be reached") as found:
        list(items(there.connect(patience=hurried)))
    assert found.value.kind == "offline"
    assert buckets.KEYS["AWS_ACCESS_KEY_ID"] not in "".join(traceback.format_exception(found.value))


def test_a_full_disk_is_noticed_before_anything_is_transferred(there, tmp_path):
    there.put("a", b"data")
    with pytest.raises(RemoteError, match="disk is too full") as found:
        download(there.connect(disk_floor_bytes=1 << 60), "a", tmp_path / "back")
    assert found.value.kind == "disk"
    assert not there.network.of("GET")


def test_a_storage_without_conditions_is_used_for_files(there, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    there.network.fault(method="PUT", status=501, code="NotImplemented")
    upload(there.connect(), tmp_path / "a.txt", "a.txt")
    assert there.get("a.txt") == b"mine"


# ---- keys and services


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        (["AWS_ACCESS_KEY_ID"], "AWS_ACCESS_KEY_ID is not set"),
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"),
    ],
)
def test_a_missing_key_is_named(left_out, words):
    values = {name: value for name, value in buckets.KEYS.items() if name not in left_out}
    with pytest.raises(RemoteError, match=words):
        connect("s3://my-bkt", settings(environment=values))


def test_no_key_of_the_aws_tools_is_used(monkeypatch, tmp_path):
    (tmp_path / "aws").write_text(
        "[default]\naws_access_key_id=AKIAOTHER\naws_secret_access_key=other\nregion=eu-west-3\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(RemoteError, match="no access key"):
        connect("s3://my-bkt", settings(environment={}))
    made = connect("s3://my-bkt", settings(environment=buckets.KEYS))
    assert made.region == bucket_module.USUAL_REGION


def test_a_session_token_is_used_only_with_the_key_of_its_place(tmp_path):
    (tmp_path / ".env").write_text(f"AWS_SESSION_TOKEN={buckets.TOKEN}")
    assert not connect("s3://my-bkt", settings(environment=buckets.KEYS)).is_temporary
    values = {**buckets.KEYS, "AWS_SESSION_TOKEN": buckets.TOKEN}
    assert connect("s3://my-bkt", settings(environment=values)).is_temporary


@pytest.mark.parametrize(
    ("address", "endpoint", "words"),
    [
        (
            "https://s3api-eu-ro-1.runpod.io/vol123/a",
            "",
            "Easel would ask AWS.*S3_ENDPOINT_URL=https://s3api-eu-ro-1.runpod.io",
        ),
        ("https://s3api-eu-ro-1.runpod.io/vol123/a", "https://minio.example.org", "S3_ENDPOINT_URL is https://minio"),
        ("https://my-bkt.s3.us-west-1.amazonaws.com/a", "https://minio.example.org", "stored at AWS, but"),
    ],
)
def test_a_request_is_signed_only_for_the_service_of_the_key(address, endpoint, words):
    values = {**buckets.KEYS, "S3_ENDPOINT_URL": endpoint}
    with pytest.raises(RemoteError, match=words):
        connect(address, settings(environment=values))


@pytest.mark.parametrize(
    ("address", "more", "region", "host"),
    [
        ("s3://my-bkt/a", {"S3_REGION": "us-west-1"}, "us-west-1", "https://my-bkt.s3.us-west-1.amazonaws.com/a?"),
        ("s3://my-bkt/a", {"AWS_REGION": "eu-west-1"}, "eu-west-1", "https://my-bkt.s3.eu-west-1.amazonaws.com/a?"),
        (
            "https://my-bkt.s3.eu-west-3.amazonaws.com/a",
            {"S3_REGION": "us-west-1"},
            "eu-west-3",
            "https://my-bkt.s3.eu-west-3.",
        ),
        ("s3://my.bkt/a", {"S3_REGION": "us-west-1"}, "us-west-1", "https://s3.us-west-1.amazonaws.com/my.bkt/a?"),
        (
            "s3://vol123/a",
            {"S3_ENDPOINT_URL": "https://s3api-eu-ro-1.runpod.io"},
            "EU-RO-1",
            "https://s3api-eu-ro-1.runpod.io/vol123/a?",
        ),
        (
            "s3://my-bkt/a",
            {"AWS_ENDPOINT_URL_S3": "minio.example.org"},
            "us-east-1",
            "https://minio.example.org/my-bkt/a?",
        ),
    ],
)
def test_requests_go_to_the_host_of_region_and_service(address, more, region, host):
    made = connect(address, settings(environment={**buckets.KEYS, **more}))
    assert made.region == region
    assert link(made, "a").startswith(host)


class Endless(BaseHTTPRequestHandler):
    """A storage whose lists always go on with a token that it has not given before."""

    asked = 0

    def do_GET(self):
        Endless.asked += 1
        token = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{Endless.asked}</NextContinuationToken>"
        body = f"<ListBucketResult>{token}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002 - as in http.server
        """Prints nothing."""


@pytest.mark.parametrize("listed", [items, folders])
def test_a_list_that_never_ends_is_an_error(listed, monkeypatch):
    monkeypatch.setattr(objects, "MOST_PAGES", 7)
    monkeypatch.setattr(Endless, "asked", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        place = {**buckets.KEYS, "S3_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "S3_REGION": "us-east-1"}
        bucket = connect("s3://mika", settings(environment=place))
        with pytest.raises(RemoteError, match="does not end") as told:
            list(listed(bucket, "a/"))
        server.shutdown()
    assert told.value.kind == "content"
    assert Endless.asked == 7
