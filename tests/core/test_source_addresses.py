"""What opens the address of a source is used, and neither said nor stored."""

import base64
import contextlib
import functools
import http.server
import subprocess
import threading
from pathlib import Path

import pytest

from trainer_core import places
from trainer_core.engines.manifest import Upstream
from trainer_core.errors import InstallError
from trainer_core.install import job, upstream
from trainer_core.install.addresses import opened, without_secrets

OPENS = "bob:s3cr@tpw@"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"at https://{OPENS}host:9/x.git?private=t#egg=x.", "at https://host:9/x.git#egg=x."),
        ("https://token@host/x", "https://host/x"),
        ("ssh://git@host/x.git and ssh://git:pw@host/x", "ssh://git@host/x.git and ssh://git@host/x"),
        ("git@host:x.git, /a/folder?x", "git@host:x.git, /a/folder?x"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(address, shown):
    assert without_secrets(address) == shown


@pytest.mark.parametrize("query", ["", "?private=t0ken"])
@pytest.mark.parametrize("has_git", [True, False])
def test_no_password_is_in_an_error(tmp_path, monkeypatch, query, has_git):
    if not has_git:
        monkeypatch.setenv("PATH", str(tmp_path))
    table = Upstream("Tiny", "https://upstream.invalid/tiny", "0" * 40, "0")
    with pytest.raises(InstallError, match=r"cannot be reached: https://127\.0\.0\.1:9/x\.git \(") as caught:
        upstream.fetch(table, tmp_path / "taken", f"https://{OPENS}127.0.0.1:9/x.git{query}")
    assert not [secret for secret in ("tpw", "t0ken") if secret in str(caught.value)]
    assert not upstream.reachable(table, f"https://{OPENS}127.0.0.1:9/x.git{query}")


@pytest.mark.parametrize(
    ("address", "plain", "both"),
    [
        (f"https://{OPENS}host:9/x.git", "https://host:9/x.git", "bob:s3cr@tpw"),
        ("https://t0ken@host/x", "https://host/x", "t0ken:"),
        ("http://a%40b:p%3Aw@host/x@y", "http://host/x@y", "a@b:p:w"),
        ("ssh://git:pw@host/x.git", "ssh://git@host/x.git", None),
        ("git@host:x.git", "git@host:x.git", None),
        ("https://host/a@b", "https://host/a@b", None),
    ],
)
def test_what_opens_an_address_becomes_a_header(address, plain, both):
    header = f"Authorization: Basic {base64.b64encode(both.encode()).decode()}" if both else ""
    assert opened(address) == (plain, header)


@pytest.fixture
def work(tmp_path):
    """A repository whose files a plain server can serve, and its commit."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.py").write_text("1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"], ["update-server-info"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    said = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return folder, Upstream("Tiny", "https://upstream.invalid/tiny", said.stdout.strip(), upstream.digest(folder))


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, handler, elsewhere):
        super().__init__(("127.0.0.1", 0), handler)
        self.sent: list[str] = []
        self.lines: set[str] = set()
        self.elsewhere = elsewhere


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Serves files to those who know the password, and looks meanwhile what the list of processes shows."""

    server: Server

    def do_GET(self):
        self.server.sent.append(self.headers.get("Authorization", ""))
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self.server.lines.add(line.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere + self.path)
            self.end_headers()
        elif self.headers.get("Authorization") == f"Basic {base64.b64encode(b'bob:s3cr@tpw').decode()}":
            super().do_GET()
        else:
            self.send_error(401)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def guarded(folder, elsewhere=""):
    serve = functools.partial(Guarded, directory=str(folder))
    with Server(serve, elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server, f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_password_opens_the_source_and_is_in_no_argument_and_not_in_the_origin(work, tmp_path):
    folder, table = work
    with guarded(folder) as (server, where):
        origin = upstream.fetch(table, tmp_path / "taken", f"http://bob:s3cr@tpw@{where}/.git", lambda _: None)
    assert origin == f"http://{where}/.git"
    assert (tmp_path / "taken/train.py").exists()
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system has no /proc to look into")
    assert [line for line in server.lines if f"remote-http http://{where}" in line], "git was seen at work"
    shown = base64.b64encode(b"bob:s3cr@tpw").decode()
    assert not [line for line in server.lines if "s3cr@tpw" in line or shown in line]


def test_a_password_does_not_go_to_the_server_that_another_one_names(work, tmp_path):
    folder, table = work
    with (
        guarded(folder) as (other, there),
        guarded(folder, f"http://{there}") as (_, where),
        pytest.raises(InstallError, match="cannot be reached") as caught,
    ):
        upstream.fetch(table, tmp_path / "taken", f"http://bob:s3cr@tpw@{where}/.git", lambda _: None)
    assert not any(other.sent)
    assert "tpw" not in str(caught.value)


def test_a_job_does_not_keep_a_password(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with pytest.raises(InstallError, match="folder of a job would keep"):
        job.start("kohya", source=f"https://{OPENS}host/x.git")
    assert not places.jobs().exists()
