"""Another machine for tests: a real sshd on loopback, with a user of its own who has a HOME of its own.

It runs in its own mount namespace: the user exists only there, and sees this machine's Python and checkout read by path only. The
system's list of users is not changed. Needs root, openssh-server, and the right to mount.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.sysfs import SYSFS
from trainer_core.jobs.hosts.machine import Machine

USER = "trainee"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
LIMIT_S = 60
_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {base}/host_key
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes yes
MaxStartups 100
PrintMotd no
LogLevel ERROR
SetEnv EASEL_HOME={home}/easel-home
"""


def why_not() -> str:
    """Why there can be no such machine here; "" if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a machine for ssh needs Linux and root"
    if SSHD is None or not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        return "openssh-server or openssh-client is not installed"
    return "" if _may_mount() else "mounting is not permitted here"


@functools.cache
def _may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False, timeout=LIMIT_S
    )
    return tried.returncode == 0


class Sshd:
    """The machine. `base` is a folder that everybody can enter; `home` is that of its user, and `small` a disk of 1 MiB there."""

    def __init__(self, also: Iterable[Path] = ()) -> None:
        """Starts it. Its user has a way to the folders in `also`, too."""
        self.also = tuple(also)
        self.base = Path(tempfile.mkdtemp(prefix="easel-machine-")).resolve()
        self.base.chmod(0o755)
        self.home = self.base / "home"
        self.uid = 200_000 + os.getpid() % 100_000
        self.key = self.base / "key"
        self.config = self.base / "ssh_config"
        self._process: subprocess.Popen | None = None
        self._port = _free_port()
        self._make()
        self.start()
        self.wire = Wire(self._port)
        self.config.write_text(
            f"Host trainer-box\n  HostName 127.0.0.1\n  Port {self.wire.port}\n  User {USER}\n  IdentityFile {self.key}\n"
        )

    @property
    def address(self) -> str:
        """What a user types."""
        return f"{USER}@127.0.0.1:{self.wire.port}"

    @property
    def small(self) -> Path:
        """A folder on a disk of 1 MiB."""
        return self.home / "small"

    @property
    def python(self) -> str:
        """The Python of Easel there."""
        return f"{self.home}/easel/.venv/bin/python"

    def machine(self, easel: str = "easel") -> Machine:
        """How Easel reaches it."""
        return Machine.named(self.address, easel, identity=self.key, config=Path("/dev/null"))

    def _make(self) -> None:
        for name in ("host_key", "key"):
            self.new_key(name)
        ssh, easel = self.home / ".ssh", self.home / "easel" / ".venv"
        packages = easel / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        for folder in (ssh, easel / "bin", packages, self.small):
            folder.mkdir(parents=True)
        shutil.copy(self.base / "key.pub", ssh / "authorized_keys")
        base = Path(sys.base_prefix).resolve()
        program = Path(sys.executable).resolve()
        (easel / "bin" / "python").symlink_to(program)
        (easel / "pyvenv.cfg").write_text(f"home = {program.parent}\n")
        (packages / "_shared.pth").write_text("\n".join(map(str, [ROOT, *_packages(base)])) + "\n")
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, self.uid, self.uid, follow_symlinks=False)
        self.home.chmod(0o700)
        ssh.chmod(0o700)
        row = f"{USER}:x:{self.uid}:{self.uid}::{self.home}:/bin/sh\n"
        (self.base / "passwd").write_text(_without(USER, "/etc/passwd") + row)
        (self.base / "shadow").write_text(_without(USER, "/etc/shadow") + f"{USER}:*:19000:0:99999:7:::\n")
        (self.base / "group").write_text(_without(USER, "/etc/group") + f"{USER}:x:{self.uid}:\n")
        for name in ("passwd", "group"):
            (self.base / name).chmod(0o644)
        (self.base / "shadow").chmod(0o600)
        (self.base / "sshd_config").write_text(_CONFIG.format(port=self._port, base=self.base, home=self.home))
        (self.base / "start.sh").write_text(self._script([base, ROOT, *_packages(base), *self.also]))

    def _script(self, needed: list[Path]) -> str:
        """What makes the namespace: the users, the small disk, and ways to what lies in folders that only root may enter."""
        lines = ["set -e", "mkdir -p /run/sshd", *_ways(self.base, needed)]
        lines += [f"mount --bind {self.base}/{name} /etc/{name}" for name in ("passwd", "shadow", "group")]
        for name, place in SYSFS.items():
            (self.base / "sysfs" / name).mkdir(parents=True)
            lines.append(f"[ ! -d {place} ] || mount --bind {self.base}/sysfs/{name} {place}")
        lines.append(f"mount -t tmpfs -o size=1m,uid={self.uid},gid={self.uid},mode=700 none {self.small}")
        return "\n".join([*lines, f"exec {SSHD} -D -e -f {self.base}/sshd_config", ""])

    @contextlib.contextmanager
    def forced(self, before: str):
        """Meanwhile each login runs these words of a shell before what was asked for."""
        keys = self.home / ".ssh" / "authorized_keys"
        first = self.base / "first.sh"
        plain, outer = keys.read_text(), first.read_text() if first.exists() else ""
        first.write_text(f'{before}\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
        first.chmod(0o644)
        if not plain.startswith("command="):
            keys.write_text(f'command="/bin/sh {first}" {plain}')
        try:
            yield
        finally:
            keys.write_text(plain)
            first.write_text(outer)

    def bare_programs(self) -> Path:
        """A folder with the programs that every system has, and no Python."""
        folder = self.base / "bare"
        folder.mkdir(exist_ok=True)
        for name in (
            "sh", "uname", "getconf", "sed", "awk", "df", "dirname", "cat", "head", "tail", "wc", "mkdir", "mv", "rm", "ls", "tar",
            "gzip", "cut", "sha256sum", "nohup", "sleep", "grep", "ps", "touch",
        ):  # fmt: skip
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(shutil.which(name) or name)
        return folder

    def programs_with_a_gpu(self) -> Path:
        """A folder with a program that prints what the driver's own prints for one GPU."""
        folder = self.base / "gpu"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        program.write_text("#!/bin/sh\necho 'NVIDIA RTX A5000, 24564, 24000, 8.6, 550.54'\n")
        program.chmod(0o755)
        return folder

    def new_key(self, name: str) -> None:
        """Makes a key; one that is there is replaced."""
        for path in (self.base / name, self.base / f"{name}.pub"):
            path.unlink(missing_ok=True)
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", self.base / name]
        subprocess.run(made, check=True, capture_output=True)

    def start(self) -> None:
        """Starts sshd."""
        with (self.base / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "--propagation", "private", "sh", self.base / "start.sh"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            assert self._process.poll() is None, (self.base / "sshd.log").read_text()
            time.sleep(0.05)
        raise AssertionError("sshd does not start")

    def stop(self) -> None:
        """Ends sshd and its connections, but not what runs on the machine."""
        assert self._process is not None
        self.cut()
        self._process.kill()
        self._process.wait()

    def cut(self) -> int:
        """Kills the processes of sshd for the open connections; returns how many there were."""
        assert self._process is not None
        parents = {self._process.pid}
        found: list[int] = []
        rows = [(pid, *_stat(pid)) for pid in _pids()]
        while more := [pid for pid, parent, name in rows if parent in parents and pid not in found and name == "sshd"]:
            found += more
            parents.update(more)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def running(self) -> list[int]:
        """The processes of the machine's user."""
        found = []
        for pid in _pids():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}").stat().st_uid == self.uid:
                    found.append(pid)
        return found

    def close(self) -> None:
        """Ends everything on the machine and removes it."""
        self.stop()
        self.wire.close()
        for _ in range(100):
            if not (left := self.running()):
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(self.base, ignore_errors=True)


class Wire:
    """The network to the machine. Every connection passes it; it can be cut after some bytes, and it can be slow."""

    def __init__(self, port: int) -> None:
        self._to, self._left, self._guard = port, None, threading.Lock()
        self.is_silent = self._passes = False
        self.bytes_sent = self.bytes_back = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int | None, *, passes: bool = False) -> None:
        """Cuts the connection, once, when so many more bytes go to the machine; with `passes` these still arrive."""
        with self._guard:
            self._left, self._passes = count, passes

    @contextlib.contextmanager
    def cut_every(self, count: int):
        """Meanwhile cuts a connection each time that so many more bytes have gone to the machine; gives the list of the cuts."""
        cuts: list[float] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.01):
                if self.was_cut:
                    cuts.append(time.monotonic())
                    self.cut_after(count)

        self.cut_after(count)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield cuts
        finally:
            over.set()
            watcher.join()
            self.cut_after(None)

    @property
    def was_cut(self) -> bool:
        """Whether what `cut_after` asked for has happened."""
        return self._left is None

    def close(self) -> None:
        """Ends it."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to), 10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for one, other, is_counted in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass, args=(one, other, is_counted), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, is_counted: bool) -> None:
        with contextlib.suppress(OSError):
            while found := one.recv(1 << 15):
                while self.is_silent:
                    time.sleep(0.05)
                is_over = is_counted and self._is_over(len(found))
                self.bytes_back += 0 if is_counted else len(found)
                if not is_over or self._passes:
                    other.sendall(found)
                if is_over:
                    break
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _is_over(self, count: int) -> bool:
        with self._guard:
            self.bytes_sent += count
            if self._left is None:
                return False
            self._left -= count
            if self._left > 0:
                return False
            self._left = None
            return True


@contextlib.contextmanager
def machine():
    """The machine; without what it needs, the test is skipped with the reason."""
    if reason := why_not():
        pytest.skip(reason)
    made = Sshd()
    try:
        yield made
    finally:
        made.close()


def _packages(base: Path) -> list[Path]:
    """Where this Python finds packages, apart from its own."""
    found = [Path(path).resolve() for path in sys.path if path and Path(path).is_dir()]
    return [path for path in dict.fromkeys(found) if path.name == "site-packages" and not path.is_relative_to(base)]


def _ways(base: Path, needed: list[Path]) -> list[str]:
    """The commands that give a user who is not root a way to these folders."""
    closed: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(needed):
        top = next((each for each in reversed(path.parents) if not each.stat().st_mode & 0o001), None)
        if top is not None:
            closed.setdefault(top, []).append(path)
    before, after = [], []
    for number, (top, paths) in enumerate(closed.items()):
        after.append(f"mount -t tmpfs -o mode=755 none {top}")
        for place, path in enumerate(paths):
            kept = base / f"way-{number}-{place}"
            kept.mkdir()
            before.append(f"mount --bind {path} {kept}")
            after += [f"mkdir -p {path}", f"mount --bind {kept} {path}"]
    return [*before, *after]


def _without(user: str, path: str) -> str:
    lines = Path(path).read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if not line.startswith(f"{user}:"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _stat(pid: int) -> tuple[int, str]:
    """The parent of a process and its name; 0 and "" if it is gone."""
    with contextlib.suppress(OSError, ValueError):
        text = Path(f"/proc/{pid}/stat").read_text()
        name, _, rest = text.partition("(")[2].rpartition(")")
        return int(rest.split()[1]), name
    return 0, ""
