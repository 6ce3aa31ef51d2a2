"""Machines that ssh reaches: how they are named, cut connections, what is refused and why, and what a machine has.

A real sshd on loopback answers, with a user of its own (`tests/support/sshd.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support import sshd
from trainer_core import __version__
from trainer_core.cli import main
from trainer_core.errors import JobError
from trainer_core.jobs.folder import DiskError, JobFolder
from trainer_core.jobs.hosts.machine import Machine, known_hosts
from trainer_core.jobs.hosts.ssh import SshHost
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.jobs.job import Job
from trainer_core.jobs.kind import commands
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState

LIMIT_S = 60
WAITS = "import time; print('waiting', flush=True); time.sleep(600)"
COUNTS = "import time\nfor n in range(60): print('line', n, flush=True); time.sleep(0.05)"


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel's 100% home"))


@pytest.fixture
def host(there, tmp_path):
    with SshHost(there.machine(), tmp_path, f"jobs/{tmp_path.name}") as made:
        yield made
    there.wire.cut_after(None)
    there.wire.is_silent = False


@pytest.fixture
def prepared(there, host, tmp_path):
    def make(code):
        folder = JobFolder.create(tmp_path, "cut")
        folder.write_spec(Spec(commands.id, (Step("only", (there.python, "-c", code)),), there.home))
        return Job(folder, host)

    return make


def until(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "host", "user", "port"),
    [
        ("box", "box", "", 0),
        ("me@box.example", "box.example", "me", 0),
        ("root@10.0.0.7:22022", "10.0.0.7", "root", 22022),
        ("me@[fe80::1]:22", "fe80::1", "me", 22),
    ],
)
def test_a_machine_is_named_as_ssh_names_it(text, host, user, port):
    found = Machine.named(text)
    assert (found.host, found.user, found.port) == (host, user, port)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "-oProxyCommand=touch /tmp/x", "-F/x", "me@-oProxyCommand=x", "-l@box", "box -p 22", "box;id", "box\nid", "$(id)@box", "`id`",
        "me@box:0", "me@box:65536", "me@box:22x", "me@", "@box", "me@@box", "ssh://box", "box/", "me@[::1", "b\u00f6x", "box\0", "box.", "%h",
    ],
)  # fmt: skip
def test_a_text_that_ssh_or_a_shell_could_read_as_something_else_is_refused(text):
    with pytest.raises(JobError, match="is not the address of a machine") as refused:
        Machine.named(text)
    assert refused.value.is_wrong_use


def test_what_a_shell_on_the_machine_reads_is_quoted():
    words = Machine.named("box", "my easel; id").command(("./my easel; id/.venv/bin/python", "$(id)", "a'b"))
    assert shlex.split(words[-1]) == ["./my easel; id/.venv/bin/python", "$(id)", "a'b"]
    assert words[-3:-1] == ["--", "box"]
    for folder in ("a'b", "a\nb", "`id`", "$HOME", "~root", "a\\b", "a!b"):
        with pytest.raises(JobError, match="cannot be the folder"):
            Machine.named("box", folder)
    assert Machine.named("box", "-rf").folder == "./-rf"


def test_a_file_arrives_whole_or_not_at_all_when_the_connection_is_cut_in_the_middle(there, host, tmp_path):
    content = bytes(range(256)) * 8192
    host.put({tmp_path / "file": b"before"})
    there.wire.cut_after(1 << 20)
    host.put({tmp_path / "file": content})
    assert there.wire.was_cut, "the connection was cut, and the file sent again"
    assert host.read(tmp_path / "file")[0] == content
    assert host.read(tmp_path / "file", 100, 7) == (content[100:107], 107)
    with SshHost(there.machine(), tmp_path, f"jobs/{tmp_path.name}") as other:
        there.wire.cut_after(1 << 20)
        writes = threading.Thread(target=other.put, args=({tmp_path / "file": b"x" * (2 << 20)},))
        writes.start()
        until(lambda: there.wire.was_cut)
        assert host.read(tmp_path / "file")[0] in (content, b"x" * (2 << 20))
        writes.join(LIMIT_S)
    assert host.read(tmp_path / "file")[0] == b"x" * (2 << 20)
    folder = there.home / "jobs" / tmp_path.name
    assert [path.name for path in folder.iterdir()] == ["file"], "no part of it is left"


def test_a_job_goes_on_when_the_connection_is_cut_and_is_found_again(there, host, prepared):
    job = prepared(COUNTS)
    job.launch()
    until(lambda: b"line 3\n" in host.read(job.folder.log)[0])
    seen, offset = host.read(job.folder.log)
    assert there.cut()
    more, _ = host.read(job.folder.log, offset)
    assert there.cut()
    there.stop()
    with pytest.raises(MachineError, match=r"cut|Nothing answers"):
        _ = job.state
    there.start()
    assert job.wait(LIMIT_S) is JobState.COMPLETED
    again = Job.attach(job.folder.path)
    assert Job(again.folder, host).state is JobState.COMPLETED, "another handle finds it, too"
    found = host.read(job.folder.log)[0]
    assert found.startswith(seen + more)
    assert found.count(b"line") == 60


def test_no_secret_of_this_machine_goes_to_the_other_one(there, host, prepared, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "planted-secret")
    job = prepared("import os; print(dict(os.environ), flush=True)")
    job.launch()
    assert job.wait(LIMIT_S) is JobState.COMPLETED
    seen = host.read(job.folder.log)[0]
    assert b"EASEL_RUN" in seen
    for name in ("engine.log", "runner.log", "spec.json", "runner.json", "events.jsonl"):
        assert b"planted-secret" not in host.read(job.folder.path / name)[0]


@pytest.mark.parametrize(
    ("place", "passes"),
    [("greeting", False), ("login", False), ("files", False), ("start", False), ("start", True)],
    ids=["greeting", "login", "files", "request", "answer"],
)
def test_a_job_is_started_once_wherever_its_start_is_cut(there, host, prepared, place, passes):
    measured = prepared("0")
    host.alive(measured.folder.path, "all")
    before = there.wire.bytes_sent
    measured.launch()
    # All that is sent for a start. The request itself comes last, and is longer than 64 bytes.
    sent = there.wire.bytes_sent - before
    job = prepared(WAITS)
    if place in ("greeting", "login"):
        host.close()
    there.wire.cut_after({"greeting": 100, "login": 2500, "files": sent // 2, "start": sent - 64}[place], passes=passes)
    job.launch()
    assert there.wire.was_cut
    until(lambda: b"waiting" in host.read(job.folder.log)[0])
    assert job.state is JobState.RUNNING
    path = there.home / "jobs" / job.folder.path.parent.name / job.name
    assert len([pid for pid in there.running() if "supervisor" in _command(pid) and str(path) in _command(pid)]) == 1
    assert job.stop(5.0) is JobState.CANCELLED
    assert not host.alive(job.folder.path, "all")


@pytest.mark.parametrize("delay_s", [0.05, 0.2])
def test_a_job_is_started_once_when_its_connection_is_killed_while_it_starts(there, host, prepared, delay_s):
    job = prepared(WAITS)
    host.put({job.folder.path / "before": b""})
    killer = threading.Timer(delay_s, there.cut)
    killer.start()
    job.launch()
    killer.join()
    until(lambda: b"waiting" in host.read(job.folder.log)[0])
    assert host.read(job.folder.log)[0].count(b"waiting") == 1
    with pytest.raises(JobError, match="already"):
        host.start(job.folder.path)
    assert job.stop(5.0) is JobState.CANCELLED


def test_a_signal_is_not_sent_again_on_suspicion(there, host, prepared):
    says = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: print('told', flush=True)); "
    job = prepared(says + WAITS.replace("time.sleep(600)", "[time.sleep(0.1) for _ in range(6000)]"))
    job.launch()
    until(lambda: b"waiting" in host.read(job.folder.log)[0])
    there.cut()
    host.signal(job.folder.path, "program", 10)
    until(lambda: b"told" in host.read(job.folder.log)[0])
    time.sleep(0.3)
    assert host.read(job.folder.log)[0].count(b"told") == 1
    assert job.stop(5.0) is JobState.CANCELLED


def test_a_machine_that_gives_no_answer_in_time_is_said_to_be_slow(there, tmp_path):
    with SshHost(there.machine(), tmp_path, "jobs", limit_s=3) as host:
        assert host.read(tmp_path / "none") == (b"", 0)
        there.wire.is_silent = True
        with pytest.raises(MachineError, match="did not answer within 3 seconds") as slow:
            host.read(tmp_path / "none")
        assert slow.value.kind == "slow"
        there.wire.is_silent = False
        assert host.read(tmp_path / "none") == (b"", 0), "the next question has its own answer"


def refusal(machine):
    with SshHost(machine) as host, pytest.raises(MachineError) as refused:
        host.alive(Path("/nowhere"), "all")
    return refused.value


def test_a_name_that_does_not_exist(there):
    found = refusal(Machine.named("me@no-such-machine.invalid"))
    assert found.message == "There is no machine me@no-such-machine.invalid: its name cannot be found."
    assert found.kind == "unknown"


def test_a_port_where_nothing_answers(there):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    found = refusal(Machine.named(f"me@127.0.0.1:{port}"))
    assert found.message == f"Nothing answers at the ssh port of me@127.0.0.1:{port}."


def test_a_key_that_the_machine_does_not_know(there, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    found = refusal(Machine.named(there.address, identity=key))
    assert found.message == f"{there.address} does not accept your key."
    key.write_bytes(there.key.read_bytes())
    key.with_suffix(".pub").unlink()
    key.chmod(0o644)
    assert "others can read the file of the key" in refusal(Machine.named(there.address, identity=key)).message


def test_a_changed_host_key_is_refused_until_its_user_removes_the_old_one(there, host, tmp_path):
    host.put({tmp_path / "a": b"1"})
    assert known_hosts().is_file(), "the key of a new machine is noted in Easel's own list"
    host.close()
    there.stop()
    there.new_key("host_key")
    there.start()
    with pytest.raises(MachineError, match="is not the one that is known") as refused:
        host.read(tmp_path / "a")
    assert refused.value.kind == "changed"
    assert "another machine may pretend to be it" in refused.value.hint
    removal = re.search(r"(ssh-keygen -R .*?)\. Otherwise", refused.value.hint)[1]
    subprocess.run(shlex.split(removal), check=True, capture_output=True)
    assert host.read(tmp_path / "a") == (b"1", 1)


def test_a_machine_without_easel_is_told_what_is_missing(there):
    found = refusal(there.machine("elsewhere"))
    assert found.message == f"There is no Easel in elsewhere on {there.address}."
    assert "--easel" in found.hint
    bare = there.home / "bare" / ".venv" / "bin"
    bare.mkdir(parents=True, exist_ok=True)
    (bare / "python").write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -I -S "$@"\n')
    (bare / "python").chmod(0o755)
    found = refusal(there.machine("bare"))
    assert found.message == f"The Python in bare on {there.address} has no Easel."


def test_an_easel_with_other_messages_is_refused(there):
    other = there.home / "other" / ".venv" / "bin"
    other.mkdir(parents=True, exist_ok=True)
    (other / "python").write_text("#!/bin/sh\necho 'easel-host 99 7.0.0'\nexec cat\n")
    (other / "python").chmod(0o755)
    assert "Easel 7.0.0" in refusal(there.machine("other")).message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("head -c 100000 /dev/zero", "is not from Easel"),
        (
            "echo 'easel-host 1 1.0'; head -c 64 /dev/zero | tr '\\0' '\\377'; exec cat > /dev/null",
            "something else than an answer",
        ),
        ("echo 'easel-host 1 1.0'; head -c 12 /dev/zero; exec cat > /dev/null", "something else than an answer"),
        (
            "echo 'easel-host 1 1.0'; printf '\\0\\0\\0\\2\\0\\0\\0\\0\\0\\0\\0\\0{}'; exec cat > /dev/null",
            "has no meaning",
        ),
    ],
)
def test_a_machine_that_answers_nonsense_raises_a_sentence(there, answer, said):
    wrong = there.home / "wrong" / ".venv" / "bin"
    wrong.mkdir(parents=True, exist_ok=True)
    (wrong / "python").write_text(f"#!/bin/sh\n{answer}\n")
    (wrong / "python").chmod(0o755)
    assert said in str(refusal(there.machine("wrong")))


def test_what_the_shell_there_prints_first_is_left_out(there, host, tmp_path):
    with there.forced("echo 'Welcome to the cluster'; echo quota"):
        host.put({tmp_path / "a": b"1"})
        assert host.read(tmp_path / "a") == (b"1", 1)


def test_a_job_on_a_full_disk_is_refused_with_a_sentence_and_one_that_fills_it_ends(there, prepared, tmp_path):
    with SshHost(there.machine(), tmp_path, str(there.small)) as host:
        job = prepared("print('x' * 1000, flush=True); [print('x' * 1000) for _ in range(3000)]")
        job = Job(job.folder, host)
        job.launch()
        assert job.wait(LIMIT_S) is JobState.FAILED
        assert job.result["exit_code"] == 1, "its result has the space that was reserved"
        with pytest.raises(OSError, match="No space left on device"):
            host.put({tmp_path / "large": b"x" * (1 << 21)})
        filler = there.small / "filler"
        with contextlib.suppress(OSError):
            host.put({filler: b"x" * 4096})
        host.put({tmp_path / "small": b""})
        late = JobFolder.create(tmp_path, "late")
        late.write_spec(Spec(commands.id, (Step("only", (there.python, "-c", "0")),), there.home))
        (late.path / "data").write_bytes(b"x" * (1 << 21))
        with pytest.raises(DiskError, match="cannot be written: No space left"):
            Job(late, host).launch()


def checked(*arguments, capsys):
    code = 0
    try:
        main(["remote", "machine", "check", *map(str, arguments)])
    except SystemExit as ended:
        code = ended.code or 0
    said = capsys.readouterr()
    return code, said.out, said.err


def test_check_says_what_a_machine_has(there, capsys):
    named = ("trainer-box", "--ssh-config", there.config)
    code, out, _ = checked(*named, "--json", capsys=capsys)
    found = json.loads(out)
    assert (code, found["is_ready"], found["missing"], found["address"]) == (0, True, [], "trainer-box")
    assert found["easel"] == __version__
    assert found["cpus"] == os.cpu_count()
    assert found["disk_bytes"] > 0
    assert found["ram_bytes"] > 1 << 28
    assert found["system"].startswith("Linux ")
    code, out, _ = checked(*named, capsys=capsys)
    assert code == 0
    assert "Jobs can be started there." in out


def test_check_says_what_is_missing(there, capsys):
    given = (there.address, "--identity", there.key)
    with there.forced(f"PATH={there.bare_programs()}; export PATH"):
        code, out, _ = checked(*given, "--easel", "nothing", "--json", capsys=capsys)
    found = json.loads(out)
    assert (code, found["python"], found["easel"]) == (1, "", "")
    assert "no Python 3.11" in found["missing"][0]
    assert "no Easel in nothing" in found["missing"][1]
    code, out, _ = checked(*given, "--easel", there.small / "easel", "--json", capsys=capsys)
    assert any("disk is full" in sentence for sentence in json.loads(out)["missing"])
    code, out, err = checked("box -p 22", "--json", capsys=capsys)
    assert code == 2
    assert "is not the address of a machine" in out + err


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
