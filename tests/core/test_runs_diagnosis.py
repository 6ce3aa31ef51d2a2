"""A failure is explained in one sentence, whatever the log contains and however long it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.engines import diagnosis, registry
from trainer_core.engines.diagnosis import Signature
from trainer_core.jobs import tail
from trainer_core.jobs.outcome import Diagnosis, by_signal

TABLE = (
    Signature("soft", "No module", "Soft.", "-", severity="warning"),
    Signature("pkg", "No module named 'lycoris", "Lacks it.", "Get it."),
    Signature("any", "No module named", "Lacks something.", "Get it."),
    Signature("two", "not NoneType", "Two.", "-", frames=r"tokenization_\w+\.py"),
    Signature("full", "No space left", "Full.", "-", decisive=True),
)
LAUNCHER = [
    "Traceback (most recent call last):",
    '  File "launch.py", line 795, in simple_launcher',
    "subprocess.CalledProcessError: Command '['python', 'No module named']' returned non-zero exit status 1.",
]


def explain(lines: list[str], code: int | None) -> Diagnosis:
    found = diagnosis.explain(lines, TABLE, code)
    assert found is not None
    return found


def test_the_first_signature_that_matches_the_last_meaningful_line_is_used():
    lines = [
        "No module named 'first'",
        "Traceback (most recent call last):",
        "\x1b[31mNo module named 'lycoris.kohya'\x1b[0m",
    ]
    found = explain([*lines, *LAUNCHER], 1)
    assert (found.id, found.line) == ("pkg", "No module named 'lycoris.kohya'")


BAR = "steps:  45%|████▌     | 900/2000 [10:00<12:00]"


def test_a_line_that_is_cut_is_no_evidence_when_a_whole_one_is_there():
    whole = ["OSError: No space left on device", "OddError: something else"]
    found = diagnosis.explain([*whole, "OSError: No space left on d"], TABLE, 1, is_cut=True)
    assert found is not None
    assert (found.id, found.line) == ("full", "OSError: No space left on device")
    found = diagnosis.explain(["OSError: No space left on d"], TABLE, 1, is_cut=True)
    assert found is not None
    assert found.id == "full", "without a whole line the cut one still tells the cause"
    found = diagnosis.explain(["OddError: whole", "OtherError: cu"], TABLE, 1, is_cut=True)
    assert found is not None
    assert found.line == "OddError: whole"


@pytest.mark.parametrize("bar", [BAR, BAR[:20]])
def test_a_progress_bar_is_never_the_evidence_of_a_failure(bar):
    assert explain(["the last sentence", bar], 1).line == "the last sentence"
    assert explain([bar], 1).line == ""


def test_a_log_without_a_line_end_is_cut(tmp_path):
    for content, cut in (("a\n", False), ("a\r", False), ("a\nb", True), ("", False)):
        (tmp_path / "engine.log").write_text(content)
        assert tail.is_cut(tmp_path / "engine.log") is cut


def test_frames_must_match_the_traceback_too():
    assert explain(["TypeError: not NoneType"], 1).id == "unknown"
    lines = ["Traceback (most recent call last):", '  File "tokenization_clip.py"', "TypeError: not NoneType"]
    found = explain([*lines, *LAUNCHER], 1)
    assert (found.id, found.line) == ("two", "TypeError: not NoneType")


def test_an_unknown_failure_shows_the_exception_without_the_stack():
    lines = ["Traceback (most recent call last):", '  File "x.py", line 3', "some.where.OddError: because", "", "  bye"]
    found = explain([*lines, *LAUNCHER], 1)
    assert found.id == "unknown"
    assert found.line == "some.where.OddError: because"
    assert "exit code 1" in found.cause


@pytest.mark.parametrize(
    ("code", "name"), [(-9, "out-of-memory"), (137, "out-of-memory"), (-11, "crash"), (143, "ended-from-outside")]
)
def test_a_signal_is_explained(code, name):
    assert explain(["all is well"], code).id == name


@pytest.mark.parametrize("code", [-9, 137, -15, 143, -2])
def test_a_kill_outranks_a_pattern_but_not_what_is_certain(code):
    assert explain(["ModuleNotFoundError: No module named 'x'"], code) == by_signal(code)
    assert explain(["OSError: [Errno 28] No space left on device"], code).id == "full"


@pytest.mark.parametrize("code", [-11, 139, -6, 0xC0000005])
def test_a_crash_while_python_exits_does_not_hide_the_error_before_it(code):
    assert explain(["ModuleNotFoundError: No module named 'x'"], code).id == "any"


def test_a_success_has_no_diagnosis_and_an_unknown_end_is_called_unknown():
    assert diagnosis.explain(["epoch 1/1", "No module but fine"], TABLE, 0) is None
    assert diagnosis.explain(["epoch 1/1", "No module but fine"], TABLE, None) is None
    assert explain([], 1).id == "unknown"


def raised(error: str, *frames: str, before: str = "") -> list[str]:
    return [
        *([before] if before else []),
        "Traceback (most recent call last):",
        *(f"  {line}" for line in frames),
        error,
    ]


CHAINED = "During handling of the above exception, another exception occurred:"
BAR = "steps:  {0}0%|##| {0}/9 [00:0{0}<00:09,  1.00s/it]"


def test_an_error_that_the_engine_survived_is_no_cause():
    survived = [BAR.format(1), *raised("ModuleNotFoundError: No module named 'x'"), BAR.format(2)]
    assert diagnosis.explain([*survived, "saved"], TABLE, None) is None
    assert explain([*survived, "Killed"], 1).id == "unknown"
    assert explain([*survived, *raised("OddError: y"), BAR.format(2)], 1).line == "OddError: y"


def test_a_bar_that_is_drawn_again_while_it_is_closed_is_no_progress():
    assert explain([BAR.format(2), *raised("ModuleNotFoundError: No module named 'x'"), BAR.format(2)], 1).id == "any"


def test_other_ranks_may_go_on_after_the_error_of_one():
    lines = [f"[rank1]: {line}" for line in raised("ModuleNotFoundError: No module named 'x'")]
    assert explain([BAR.format(1), *lines, BAR.format(2)], 1).id == "any"


def test_an_unknown_last_error_is_not_explained_by_an_earlier_one():
    lines = [*raised("ModuleNotFoundError: No module named 'x'"), *raised("OddError: y")]
    assert (explain(lines, 1).id, explain(lines, None).line) == ("unknown", "OddError: y")


def test_an_error_that_led_to_the_last_one_explains_it():
    lines = [*raised("ModuleNotFoundError: No module named 'x'"), *raised("OddError: y", before=CHAINED)]
    assert explain(lines, 1).id == "any"


def test_the_source_lines_of_a_traceback_are_no_message():
    assert explain(raised("OddError: y", 'File "a.py", line 1, in f', 'raise X("No module named")'), 1).id == "unknown"


@pytest.mark.parametrize("before", ["Exception ignored in: <function f at 0x1>", "--- Logging error ---"])
def test_the_noise_of_an_exit_is_no_cause(before):
    noise = raised("ModuleNotFoundError: No module named 'x'", before=before)
    assert explain([*raised("OddError: y"), *noise], 1).line == "OddError: y"
    assert diagnosis.explain(["saved", *noise], TABLE, None) is None


@pytest.mark.parametrize("line", ["[RANK 0] [INFO] a shirt with No space left", "2026-01-01 WARNING  No space left"])
def test_a_message_that_says_that_the_engine_continues_is_no_cause(line):
    assert explain([line], 1).id == "unknown"


def launched(error: str) -> list[str]:
    frame = 'File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 795, in simple_launcher'
    return raised(error, frame, "raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)")


COMMAND = "subprocess.CalledProcessError: Command '['python', 'train.py', '--prompt', 'No module named']'"
ELASTIC = """\
E1120 12:00:00.000000 77 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: {code}) local_rank: 0 (pid: 9)
Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/torch/distributed/launcher/api.py", line 300, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-20_12:00:01
  exitcode  : -15 (pid: 10)
  traceback : Signal 15 (SIGTERM) received by PID 10
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-20_12:00:00
  exitcode  : {code} (pid: 9)
  traceback : Signal 9 (SIGKILL) received by PID 9
============================================================"""


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (f"{COMMAND} died with <Signals.SIGKILL: 9>.", "out-of-memory"),
        (f"{COMMAND} died with <Signals.SIGSEGV: 11>.", "crash"),
        (f"{COMMAND} died with <Signals.SIGBUS: 7>.", "bus-error"),
        (f"{COMMAND} returned non-zero exit status 137.", "out-of-memory"),
        (f"{COMMAND} returned non-zero exit status 3221225477.", "crash"),
        (f"{COMMAND} returned non-zero exit status 1.", "unknown"),
        ("KeyboardInterrupt", "ended-from-outside"),
    ],
)
@pytest.mark.parametrize("code", [None, 1])
def test_what_only_the_launcher_says_is_kept(error, name, code):
    found = explain([BAR.format(2), *launched(error)], code)
    assert found.id == name
    assert name == "unknown" or (error.rstrip(".").endswith(found.line) and found.line)


def test_a_launcher_on_a_narrow_console_is_peeled_too():
    lines = [
        "\u256d\u2500\u2500\u2500 Traceback (most recent call last) \u2500\u2500\u2500\u256e",
        "\u2502 /venv/accelerate/commands/launch.py:628 in simple_launcher \u2502",
        "\u2570\u2500\u2500\u2500\u256f",
        "CalledProcessError: Command '['python', 'train.py', '--x', 'returned non-zero exit status 1',",
        "'--no']' died with <Signals.SIGKILL:",
        "9>.",
    ]
    assert explain(lines, None).id == "out-of-memory"


def test_a_launcher_of_several_processes_is_peeled_too():
    assert explain(ELASTIC.format(code=-9).splitlines(), 1).id == "out-of-memory"
    lines = [*raised("ModuleNotFoundError: No module named 'x'"), *ELASTIC.format(code=1).splitlines()]
    assert explain(lines, 1).id == "any"
    assert explain(ELASTIC.format(code=1).splitlines(), 1).id == "unknown"


def test_a_compiler_that_an_engine_calls_is_no_launcher():
    error = "subprocess.CalledProcessError: Command '['/usr/bin/gcc', 'a.c']' returned non-zero exit status 1."
    found = explain(raised(error, 'File "/venv/triton/runtime/build.py", line 50, in _build'), 1)
    assert (found.id, found.line[:10]) == ("unknown", "subprocess")


def test_a_prompt_that_quotes_a_launcher_hides_nothing():
    lines = [
        f"INFO prompt: {COMMAND} died with <Signals.SIGKILL: 9>.",
        *raised("ModuleNotFoundError: No module named 'x'"),
    ]
    assert explain(lines, 1).id == "any"


def test_a_log_of_a_container_or_of_powershell_is_read_too():
    lines = raised("ModuleNotFoundError: No module named 'x'", 'File "a.py", line 1, in f')
    assert explain([f"2026-11-20T12:00:00.123456789Z {line}" for line in lines], 1).id == "any"
    assert explain("\n".join(lines).encode("utf-16").decode("utf-8", "replace").split("\n"), 1).id == "any"


@given(st.lists(st.text(max_size=300), max_size=30), st.sampled_from([None, 0, 1, -9, 3000]))
def test_any_log_gives_no_diagnosis_or_one_with_a_short_line(lines, code):
    found = diagnosis.explain(lines, TABLE, code)
    assert found is None or ("\n" not in found.line and len(found.line) <= 520)


PIECES = ["Traceback (most recent call last):", "  File", CHAINED, "Exception ignored in: f", "Exception in thread T:"]
PIECES += [
    BAR.format(1),
    BAR.format(2),
    "[rank0]: Traceback (most recent call last):",
    "KeyboardInterrupt",
    "OddError: y",
]
PIECES += [
    "2026-01-01T00:00:00Z ",
    f"{COMMAND} died with <Signals.SIGKILL: 99>.",
    "No module named 'x'",
    "  in simple_launcher",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from([None, 0, 1, -9, 3000]))
def test_tracebacks_in_any_order_are_explained(lines, code):
    found = diagnosis.explain(lines, TABLE, code)
    assert found is not None or code in (None, 0)


def test_huge_lines_are_explained_quickly():
    started = time.process_time()
    explain(["[" * 5_000_000, "A" * 5_000_000, "a." * 2_000_000], 1)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "line", ["x", "a" * 2000, "Traceback (most recent call last):", " 1/2 [00:00" * 180, "\x1b]" * 999]
)
def test_many_lines_are_explained_quickly(line):
    every = [row for backend in registry.available() for row in backend.manifest.diagnosis]
    started = time.process_time()
    diagnosis.explain([line] * ((2 << 20) // len(line)), every, 1)
    assert time.process_time() - started < 8
