"""Starts containers of an image for `smoke_image.py`, with Docker, or with buildah where there is no engine of containers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

EASEL = "1000:1000"

# A chroot shares this machine's memory for files, and a container has its own.
_SHARED, _OURS = Path("/dev/shm"), "easel-*.*"


class Docker:
    """Containers with a volume of their own and ports of their own on loopback."""

    def __init__(self, image: str):
        self.image = image
        self.web, self.ssh = _free_port(), _free_port()
        self._volume = f"easel-smoke-{os.getpid()}"
        self._name = ""

    def begin(self, environment: Mapping[str, str], *command: str) -> None:
        """Starts a new container with these variables; the volume is that of the last one."""
        self._name = f"{self._volume}-{time.monotonic_ns()}"
        ports = ["--publish", f"127.0.0.1:{self.web}:8888", "--publish", f"127.0.0.1:{self.ssh}:22"]
        arguments = ["run", "--detach", "--name", self._name, "--volume", f"{self._volume}:/workspace", *ports]
        for name in environment:
            arguments += ["--env", name]  # the value is taken from our own environment, and is in no list of processes
        _said("docker", *arguments, self.image, *command, environment=environment)

    def log(self) -> str:
        """What the container has written."""
        done = subprocess.run(["docker", "logs", self._name], capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    def run(self, *command: str, user: str = EASEL) -> str:
        """The output of a program in the container."""
        return _said("docker", "exec", "--user", user, self._name, *command)

    def end(self) -> float:
        """The seconds from SIGTERM to the end."""
        started = time.monotonic()
        _said("docker", "stop", "--time", "60", self._name)
        took = time.monotonic() - started
        _said("docker", "rm", self._name)
        return took

    def health(self) -> list[str]:
        """The command of the image's health check."""
        return json.loads(
            _said("docker", "image", "inspect", "--format", "{{json .Config.Healthcheck.Test}}", self.image)
        )[1:]

    def clear(self) -> None:
        """Removes what is left."""
        subprocess.run(["docker", "rm", "--force", self._name], capture_output=True, check=False)
        subprocess.run(["docker", "volume", "rm", self._volume], capture_output=True, check=False)

    def label(self, name: str) -> str:
        """A label of the image; "" without it."""
        labels = json.loads(_said("docker", "image", "inspect", "--format", "{{json .Config.Labels}}", self.image))
        return (labels or {}).get(name, "")

    def size(self) -> int:
        """The bytes of the image."""
        return int(_said("docker", "image", "inspect", "--format", "{{.Size}}", self.image))


class Buildah:
    """The image's root folder, in a chroot: no engine, and the network and the process ids of this machine.

    A volume is a folder that belongs to root, as on rented machines. `STORE` names the folder of the images, if it is not the usual one.
    """

    web, ssh = 8888, 22

    def __init__(self, image: str):
        self.image = image
        store = os.environ.get("STORE")
        self._buildah = ["buildah", *(("--root", f"{store}/store", "--runroot", f"{store}/runroot") if store else ())]
        config = json.loads(_said(*self._buildah, "inspect", "--type", "image", image))["Docker"]["config"]
        self._entry, self._command, self._health = (
            config["Entrypoint"],
            config["Cmd"],
            (config.get("Healthcheck") or {}).get("Test", [""])[1:],
        )
        self._user, self._labels = config.get("User") or "0:0", config.get("Labels") or {}
        self._folder = Path(tempfile.mkdtemp(prefix="easel-smoke-"))
        self._folder.chmod(0o755)
        self._log = self._folder / "log"
        (self._folder / "volume").mkdir()
        self._container = ""
        self._pids: set[int] = set()
        self._shared = set(_SHARED.glob(_OURS))
        for port in (self.web, self.ssh):
            if not _is_free(port):
                raise SystemExit(f"Port {port} is in use on this machine, and a chroot has no network of its own.")

    def begin(self, environment: Mapping[str, str], *command: str) -> None:
        """Starts a new container with these variables; the volume is that of the last one."""
        self._container = _said(*self._buildah, "from", "--pull-never", self.image).strip()
        # buildah gives a volume that the image declares a folder of its own, whatever is mounted there.
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        _said(*self._buildah, "config", "--volume", "/workspace-", *given, self._container)
        with self._log.open("w") as log:
            subprocess.Popen(
                self._inside(self._user, *self._entry, *(command or self._command)),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def log(self) -> str:
        """What the container has written."""
        return self._log.read_text(errors="replace")

    def run(self, *command: str, user: str = EASEL) -> str:
        """The output of a program in the container."""
        return _said(*self._inside(user, *command))

    def end(self) -> float:
        """The seconds from SIGTERM, to the program that is the first one in a container, until its processes are gone."""
        first = self._processes_of()
        started = time.monotonic()
        for pid in first:
            os.kill(pid, signal.SIGTERM)
        while any(Path("/proc", str(pid)).exists() for pid in first) and time.monotonic() < started + 60:
            time.sleep(0.05)
        took = time.monotonic() - started
        self._end_rest()
        return took

    def health(self) -> list[str]:
        """The command of the image's health check."""
        return self._health

    def clear(self) -> None:
        """Removes what is left."""
        self._end_rest()
        shutil.rmtree(self._folder)
        for left in set(_SHARED.glob(_OURS)) - self._shared:
            shutil.rmtree(left)

    def label(self, name: str) -> str:
        """A label of the image; "" without it."""
        return self._labels.get(name, "")

    def size(self) -> int:
        """The bytes of the image's files."""
        container = _said(*self._buildah, "from", "--pull-never", self.image).strip()
        root = _said(*self._buildah, "mount", container).strip()
        found = int(_said("du", "-sxb", root).split()[0])
        _said(*self._buildah, "rm", container)
        return found

    def _inside(self, user: str, *command: str) -> list[str]:
        """The command line that runs a program in the container, with the variables of the image."""
        options = ["--isolation", "chroot", "--user", user, "--volume", f"{self._folder}/volume:/workspace"]
        return [*self._buildah, "run", *options, self._container, "--", *command]

    def _processes_of(self) -> list[int]:
        """The process that would be the first one in a container. All that have its root folder are noted, while that can be seen."""
        first = [pid for pid, words in _processes() if words[: len(self._entry)] == self._entry]
        roots = {_root_of(pid) for pid in first}
        for pid, _ in _processes():
            with contextlib.suppress(OSError):
                if _root_of(pid) in roots:
                    self._pids.add(pid)
        return first

    def _end_rest(self) -> None:
        """Ends what a container's end would have ended, such as sshd. Then removes it."""
        if not self._container:
            return
        self._processes_of()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._pids.clear()
        time.sleep(0.5)
        _said(*self._buildah, "rm", self._container)
        self._container = ""


WAYS = {"docker": Docker, "buildah": Buildah}


def _said(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """The output of a program; ends this one with its message if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _processes() -> Iterator[tuple[int, list[str]]]:
    """The processes of this machine, with the words of their command lines."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                yield int(folder.name), (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]


def _root_of(pid: int) -> Path:
    return Path("/proc", str(pid), "root").readlink()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
