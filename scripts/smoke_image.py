"""Starts an image and looks whether it does what docs/guide/containers.md says; prints each check and what it measured.

    python scripts/smoke_image.py easel:cuda                  with Docker
    python scripts/smoke_image.py easel:cuda --with buildah   in a chroot, as root
    python scripts/smoke_image.py easel-worker --worker       the image of RunPod's worker

The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from image_containers import WAYS

START_S = 180
STOP_S = 10
KEPT = "kept between starts"
# Searches every file that a start can have written, which the gigabytes of the engines' packages are not.
ON_DISK = (
    "grep -rIlsF --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev --exclude-dir=site-packages -f - / || true"
)
IN_ARGUMENTS = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"


class Checks:
    """What was checked, printed as it comes."""

    def __init__(self):
        self.failed: list[str] = []

    def say(self, what: str, good: bool, seen: object = "") -> None:
        """Notes one check with what was seen."""
        print(f"{'ok    ' if good else 'FAILED'}  {what}{f': {seen}' if seen != '' else ''}", flush=True)
        if not good:
            self.failed.append(what)


def answer(port: int, path: str, token: str = "", body: dict | None = None, method: str = "") -> tuple[int, str]:
    """(status, text) of JupyterLab; status 0 while it does not answer."""
    headers = {"Authorization": f"token {token}"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def until_ready(container, checks: Checks) -> None:
    """Waits for /api, which the image's own health check asks."""
    started = time.monotonic()
    while answer(container.web, "/api")[0] != 200 and time.monotonic() < started + START_S:
        time.sleep(0.2)
    took = time.monotonic() - started
    checks.say("JupyterLab answers", took < START_S, f"after {took:.1f} s")
    if took >= START_S:
        print(container.log())


def only_with(container, checks: Checks, token: str) -> None:
    """JupyterLab is open with this token and closed without it."""
    for given, wanted in (("", 403), ("wrong", 403), (token, 200)):
        status, _ = answer(container.web, "/api/status", given)
        how = "the token" if given == token else "a wrong token" if given else "no token"
        checks.say(f"/api/status with {how}", status == wanted, status)


def stopped(container, checks: Checks) -> None:
    """It ends soon after SIGTERM."""
    took = container.end()
    checks.say("it ends after SIGTERM", took < STOP_S, f"{took:.1f} s")


def with_random_token(container, checks: Checks) -> None:
    """Started without any variable: a random token, the kernel, the user's files."""
    container.begin({})
    until_ready(container, checks)
    found = re.search(r"token=([0-9a-f]{48})\b", container.log())
    checks.say("a random token is printed", bool(found))
    token = found[1] if found else ""
    only_with(container, checks, token)
    checks.say("sshd is not started without PUBLIC_KEY", not listens(container.ssh))
    checks.say("the health check passes", passes(container, *container.health()))
    said = container.run("easel", "--version").strip()
    checks.say("easel --version", bool(re.search(r"\d+\.\d+", said)), said)
    backends = json.loads(container.run("easel", "backends", "list", "--json"))
    print("        engines:", {each["id"]: bool(each["installed"]) for each in backends})
    body = {"type": "file", "format": "text", "content": KEPT}
    checks.say("a file is saved", answer(container.web, "/api/contents/kept.txt", token, body, "PUT")[0] == 201)
    status, text = answer(container.web, "/api/kernels", token, {"name": "easel"}, "POST")
    checks.say("the kernel Easel starts", status == 201, status)
    if status == 201:
        answer(container.web, f"/api/kernels/{json.loads(text)['id']}", token, method="DELETE")
    status, _ = answer(container.web, "/api/contents/easel-notebooks/LoRA_Trainer.ipynb?content=0", token)
    checks.say("the notebooks are shown", status == 200, status)
    owners = set(container.run("find", "/workspace", "-printf", "%u\n").split())
    checks.say("everything in /workspace belongs to easel", owners == {"easel"}, ", ".join(sorted(owners)))
    stopped(container, checks)


def passes(container, *command: str) -> bool:
    """Whether a program in the container ends with status 0."""
    try:
        container.run(*command)
    except RuntimeError:
        return False
    return True


def listens(port: int) -> bool:
    """Whether a server of ssh answers there."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as one:
            one.settimeout(5)
            return one.recv(4) == b"SSH-"
    except OSError:
        return False


def with_password_and_key(container, checks: Checks, folder: Path) -> None:
    """Started as RunPod does, on the same volume."""
    key, secret = folder / "key", secrets.token_hex(12)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    other = {"HF_TOKEN": f"hf_{secrets.token_hex(12)}"}
    container.begin({"JUPYTER_PASSWORD": secret, "PUBLIC_KEY": key.with_suffix(".pub").read_text(), **other})
    until_ready(container, checks)
    only_with(container, checks, secret)
    checks.say("the file of the first start is there", container.run("cat", "/workspace/kept.txt") == KEPT)
    found = container.run("sh", "-c", f"printf %s {KEPT!r} | {ON_DISK}", user="0:0").split()
    checks.say("the search in all files finds what is there", "/workspace/kept.txt" in found)
    for name, value in {"the token": secret, **other}.items():
        checks.say(f"{name} is not in the log", value not in container.log())
        left = container.run("sh", "-c", f"printf %s {value} | {ON_DISK}", user="0:0").split()
        checks.say(f"{name} is in no file", not left, ", ".join(left))
    checks.say("the token is in no command line", secret not in container.run("sh", "-c", IN_ARGUMENTS, user="0:0"))
    ssh = ["ssh", "-i", key, "-p", str(container.ssh), "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes"]
    ssh += ["-o", f"UserKnownHostsFile={folder}/known", "-o", "LogLevel=ERROR", "-F", "none"]
    command = "id -un; easel --version; printenv EASEL_HOME; cat /workspace/kept.txt; touch /workspace/by-ssh; printenv HF_TOKEN"
    done = subprocess.run([*ssh, "easel@127.0.0.1", command], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    checks.say("ssh with the key", len(lines) == 4 and lines[0] == "easel" and lines[3] == KEPT, lines or done.stderr)
    refused = subprocess.run([*ssh, "root@127.0.0.1", "id"], capture_output=True, text=True, check=False)
    checks.say("ssh as root is refused", refused.returncode == 255 and "denied" in refused.stderr)
    stopped(container, checks)


def with_empty_token(container, checks: Checks) -> None:
    """An empty token, as a template may have it, is not an open JupyterLab."""
    container.begin({"JUPYTER_TOKEN": " ", "JUPYTER_PASSWORD": "", "PUBLIC_KEY": "no key"})
    until_ready(container, checks)
    for path in ("/api/status", "/api/contents", "/api/kernels"):
        status, _ = answer(container.web, path)
        checks.say(f"{path} with an empty token", status == 403, status)
    checks.say("a wrong PUBLIC_KEY is named", "PUBLIC_KEY is not a public key" in container.log())
    checks.say("sshd is not started with it", not listens(container.ssh))
    stopped(container, checks)


def with_engines(container, checks: Checks, environment: dict[str, str]) -> None:
    """The engines of the label are installed, and their Pythons load torch."""
    wanted = container.label("org.easel.engines").split()
    program = (
        "echo user $(id -u); printf 'listed '; easel backends list --json | tr -d '\\n'; echo; echo engine $EASEL_WORKER_ENGINE; "
        'for one in "${EASEL_HOME:-/opt/easel/workspace}"/engines/*/venv/bin/python; do '
        "$one -c 'import torch; print(\"torch\", torch.__version__)'; done; echo all"
    )
    container.begin(environment, "sh", "-c", program)
    until_said(container, "\nall\n")
    lines = container.log().splitlines()
    rows = [each for line in lines if line.startswith("listed ") for each in json.loads(line.removeprefix("listed "))]
    listed = [each["id"] for each in rows if each["installed"]]
    given = ", ".join(environment) or "no variables"
    checks.say(f"the engines of its label are installed ({given})", sorted(listed) == sorted(wanted), listed)
    loaded = [line for line in lines if line.startswith("torch ")]
    checks.say("each loads its torch", len(loaded) == len(wanted), ", ".join(loaded))
    named = [line.split()[1:] for line in lines if line.startswith("engine")]
    checks.say("the engine of the documents' requests is the first of them", named == [wanted[:1]], named)
    checks.say("it runs as easel", "user 1000" in lines)
    container.end()


def with_worker(container, checks: Checks) -> None:
    """RunPod's library starts, and says that there is no job; a worker without an engine says so."""
    container.begin({})
    until_said(container, "test_input.json not found")
    said = container.log()
    checks.say("RunPod's library starts", "Starting Serverless Worker" in said, said.splitlines()[-1:])
    lacks = "No engine is installed in this worker" in said
    checks.say("it says whether it lacks an engine", lacks == (not container.label("org.easel.engines").split()))
    container.end()


def until_said(container, text: str) -> None:
    """Waits until the log has a text."""
    until = time.monotonic() + START_S
    while text not in container.log() and time.monotonic() < until:
        time.sleep(0.2)


def with_a_program(container, checks: Checks) -> None:
    """Another program in place of JupyterLab, which the user easel runs."""
    container.begin({}, "sh", "-c", "echo user $(id -u), groups $(id -G); easel --version; cat /workspace/kept.txt")
    until_said(container, KEPT)
    said = container.log()
    checks.say("a program runs as easel", "user 1000," in said and KEPT in said, said.splitlines())
    container.end()


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--with", dest="way", choices=WAYS, default="docker")
    parser.add_argument("--worker", action="store_true", help="the image is that of RunPod's worker")
    options = parser.parse_args()
    checks = Checks()
    container = WAYS[options.way](options.image)
    print(f"{options.image}: {container.size() / 1e9:.2f} GB")
    try:
        if options.worker:
            # A pod has the first one only; Easel's folder is the same in both.
            pod = {"RUNPOD_POD_ID": "abc"}
            for environment in (pod, {**pod, "RUNPOD_ENDPOINT_ID": "def"}):
                with_engines(container, checks, environment)
            with_worker(container, checks)
            return ended(checks)
        with tempfile.TemporaryDirectory() as folder:
            with_random_token(container, checks)
            with_password_and_key(container, checks, Path(folder))
            with_empty_token(container, checks)
            with_a_program(container, checks)
    finally:
        container.clear()
    return ended(checks)


def ended(checks: Checks) -> int:
    """The exit status, after a sentence."""
    print(f"{len(checks.failed)} checks failed." if checks.failed else "All checks passed.")
    return bool(checks.failed)


if __name__ == "__main__":
    sys.exit(main())
