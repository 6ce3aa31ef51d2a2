"""A small process around each program of a job, which records the program's exit code. Standard library only.

`python -I -S - <job folder> <number of the step> <program> [<argument>...]`, with this text as its standard input.

Only the parent of a process can read its exit code, and a supervisor may be killed. This process is the parent then; it has
nothing to import later. It is the leader of the program's session and process group, ignores the signals that end the group,
and waits. It writes two files of the job folder:

    engine.json         the identity of the program
    program-end.json    its exit code, or why it could not be started
"""

import contextlib
import os
import signal
import sys
import time

PADDING = 512
"""The size of the record, which is written before the program starts: it then needs no space on a disk that has become full."""
_IGNORED = [
    getattr(signal, name)
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM")
    if hasattr(signal, name)
]
# Python ignores these two, and programs would inherit that.
_SPECIAL = '"\\'
_DEFAULTS = [*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ]


def main(folder: str, number: str, *argv: str) -> int:
    """Runs the program; returns its exit code, or ends by the signal that ended it."""
    for each in _IGNORED:
        signal.signal(each, signal.SIG_IGN)
    # The text of this module has been read from standard input; the program gets an empty one.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    # The handle stays with the folder if somebody renames it.
    place = os.open(folder, os.O_RDONLY)
    record = _reserved(place)
    began = time.monotonic()
    try:
        pid = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=_DEFAULTS, setsigmask=[])
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        _end(place, record, f'{{"number": {int(number)}, "exit_code": null, "error": {_quoted(why)}}}')
        return 127
    with contextlib.suppress(OSError):
        about = f'"pid": {pid}, "started": {_quoted(_started(pid))}, "number": {int(number)}, "group": {os.getpid()}'
        _write(place, "engine.json", f"{{{about}}}\n")
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    times = f'"ended": {time.time():.3f}, "seconds": {time.monotonic() - began:.3f}'
    figures = f'"user_s": {used.ru_utime:.3f}, "system_s": {used.ru_stime:.3f}, "largest_kib": {used.ru_maxrss}'
    _end(place, record, f'{{"number": {int(number)}, "exit_code": {code}, {times}, {figures}}}')
    if code < 0:
        _end_by(-code)
    return code


def _end_by(number: int) -> None:
    """Ends this process by a signal, without a core file: the parent then sees what it would see of the program."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _reserved(place: int) -> int:
    """The open file that becomes the record; -1 if it cannot be created."""
    try:
        handle = os.open(".program-end.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=place)
        os.write(handle, b" " * PADDING)
    except OSError:
        return -1
    return handle


def _end(place: int, record: int, text: str) -> None:
    """Writes the record over its padding, which is white space, and gives it its name."""
    with contextlib.suppress(OSError):
        os.pwrite(record, text.encode(), 0)
        os.fsync(record)
        os.replace(".program-end.part", "program-end.json", src_dir_fd=place, dst_dir_fd=place)
        os.fsync(place)


def _write(place: int, name: str, text: str) -> None:
    part = f".{name}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=place)
    os.write(handle, text.encode())
    os.close(handle)
    os.replace(part, name, src_dir_fd=place, dst_dir_fd=place)


def _started(pid: int) -> str:
    """The start time of a process, as `trainer_core.jobs.processes` writes it; "" where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id", "rb") as boot:
            ticks = stat.read().rpartition(b")")[2].split()[19]
            return f"{boot.read().strip().decode()}:{ticks.decode()}"
    except OSError:
        return ""


def _quoted(text: str) -> str:
    """The text as JSON; importing the library for that takes longer than all the rest."""
    plain = text.encode("ascii", "replace").decode()
    return f'"{"".join("?" if not each.isprintable() or each in _SPECIAL else each for each in plain)}"'


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))
