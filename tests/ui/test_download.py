"""A file comes to the page in pieces, or by a link where the Jupyter server has it."""

import time

from tests.support.page import hear, sent_by, wait_for
from trainer_core import places
from trainer_ui.components.download import Download, linked


def test_a_file_is_sent_in_pieces_that_make_up_the_whole(tmp_path, home):
    content = bytes(range(256)) * 4096 * 10 + b"end"
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    download = Download(lambda: (path, "mine.safetensors"))
    sent = sent_by(download)
    hear(download, {"kind": "begin"})
    wait_for(lambda: download.offer)
    assert (download.offer["name"], download.offer["size"], download.offer["link"]) == (
        "mine.safetensors",
        len(content),
        "",
    )
    for start in range(0, len(content), 4 << 20):
        hear(download, {"kind": "piece", "number": download.offer["number"], "from": start})
    wait_for(lambda: len(sent) == 3)
    assert b"".join(buffers[0] for _, buffers in sorted(sent, key=lambda each: each[0]["from"])) == content
    for wrong in ({"number": 99, "from": 0}, {"number": 1, "from": -5}, {"number": 1, "from": "0"}):
        hear(download, {"kind": "piece", **wrong})
    time.sleep(0.1)
    assert len(sent) == 3


def test_a_download_that_fails_says_why(home):
    def fail():
        raise OSError("gone")

    download = Download(fail)
    sent = sent_by(download)
    hear(download, {"kind": "begin"})
    wait_for(lambda: sent)
    assert sent[0][0]["kind"] == "failed"


def test_only_a_file_that_the_server_serves_gets_a_link(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / ".hidden").mkdir(parents=True)
    monkeypatch.setattr(places, "notebook_root", lambda: root)
    assert linked(root / "a b" / "x.safetensors") == "a b/x.safetensors"
    assert linked(root / ".hidden" / "x.safetensors") == ""
    assert linked(tmp_path / "x.safetensors") == ""
