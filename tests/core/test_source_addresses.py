"""What opens the address of a source is used, and neither said nor stored."""

import functools
import http.server
import subprocess
import threading

import pytest

from trainer_core import places
from trainer_core.engines.manifest import Upstream
from trainer_core.errors import InstallError
from trainer_core.install import job, upstream
from trainer_core.install.addresses import without_secrets

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


def test_no_password_is_in_an_error(tmp_path):
    table = Upstream("Tiny", "https://upstream.invalid/tiny", "0" * 40, "0")
    with pytest.raises(InstallError, match=r"cannot be reached: https://127\.0\.0\.1:9/x\.git \(") as caught:
        upstream.fetch(table, tmp_path / "taken", f"https://{OPENS}127.0.0.1:9/x.git?private=t0ken")
    assert not [secret for secret in ("tpw", "t0ken") if secret in str(caught.value)]


def test_the_origin_that_is_stored_has_no_password(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"], ["update-server-info"]):
        subprocess.run(["git", "-C", work, *words], check=True)
    commit = subprocess.run(["git", "-C", work, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    table = Upstream("Tiny", "https://upstream.invalid/tiny", commit.stdout.strip(), upstream.digest(work))
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(work))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        where = f"127.0.0.1:{server.server_port}/.git"
        origin = upstream.fetch(table, tmp_path / "taken", f"http://bob:s3cret@{where}", lambda _: None)
        server.shutdown()
    assert origin == f"http://{where}"
    assert (tmp_path / "taken/train.py").exists()


def test_a_job_does_not_keep_a_password(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with pytest.raises(InstallError, match="folder of a job would keep"):
        job.start("kohya", source=f"https://{OPENS}host/x.git")
    assert not places.jobs().exists()
