"""From what is known of a remote run to its state: whatever arrives, in any order and however often, there is one answer."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.remote.runpod import answers
from trainer_core.remote.runpod.answers import JobStatus, Result
from trainer_core.remote.runpod.settle import FINAL, Known, RemoteState, Seen, settle

SENT, DEADLINE = 1_000_000.0, 1_100_000.0
FRESH = Known("r1", "job-1", SENT, DEADLINE)
GOOD = {"status": "success", "job_id": "r1", "loraName": "a.safetensors", "loraUrl": "s3://b/a.safetensors"}
BAD = {"status": "failed", "job_id": "r1", "error": "No files were downloaded from S3"}
LORA = Result(is_success=True, job_id="r1", lora_name="a.safetensors", lora_url="s3://b/a.safetensors")
NO_LORA = Result(is_success=False, job_id="r1", error="out of memory")


def seen(state, asked_s=SENT + 100, output=None, error="", job_id="job-1", attempt=1):
    return Seen(JobStatus(job_id, state, output, error), asked_s, attempt)


def state_of(known, now_s=SENT + 200):
    return settle(known, now_s).state


CASES = [
    ("IN_QUEUE", None, "", RemoteState.QUEUED),
    ("IN_PROGRESS", {"step": 3}, "", RemoteState.RUNNING),
    ("RUNNING", None, "", RemoteState.RUNNING),
    ("SOMETHING_NEW", None, "", RemoteState.RUNNING),
    ("COMPLETED", GOOD, "", RemoteState.COMPLETED),
    ("COMPLETED", BAD, "", RemoteState.FAILED),
    ("COMPLETED", None, "", RemoteState.UNSURE),
    ("COMPLETED", {**GOOD, "job_id": "of-another"}, "", RemoteState.UNSURE),
    ("FAILED", None, "boom", RemoteState.FAILED),
    ("FAILED", {"status": "failed", "job_id": "r1"}, "No files", RemoteState.FAILED),
    ("CANCELLED", None, "", RemoteState.CANCELLED),
    ("TIMED_OUT", None, "job timed out", RemoteState.FAILED),
]


@pytest.mark.parametrize(("state", "output", "error", "wanted"), CASES)
def test_each_answer_of_runpod_has_one_state(state, output, error, wanted):
    assert state_of(FRESH.with_status(seen(state, output=output, error=error))) == wanted


def test_before_the_first_answer_it_waits():
    assert state_of(FRESH) == RemoteState.QUEUED


def test_the_error_of_the_worker_is_in_the_sentence():
    found = settle(FRESH.with_status(seen("COMPLETED", output=BAD)), SENT)
    assert found.sentence == "The training failed: No files were downloaded from S3"


def test_a_job_that_runpod_forgot_is_looked_for_in_the_bucket_and_then_found_or_lost():
    gone = FRESH.with_status(seen("IN_PROGRESS", SENT + 100)).with_status(seen(answers.GONE, SENT + 5000))
    found = settle(gone, SENT + 5001)
    assert (found.state, found.look_in_bucket, found.state.is_final) == (RemoteState.UNSURE, True, False)
    assert state_of(gone.with_look(SENT + 4000)) == RemoteState.UNSURE
    lost = gone.with_look(SENT + 5002)
    assert (state_of(lost), state_of(lost.with_result(LORA))) == (RemoteState.LOST, RemoteState.COMPLETED)
    assert state_of(gone.with_result(NO_LORA)) == RemoteState.FAILED


def test_a_lost_job_whose_time_was_over_is_told_so():
    lost = FRESH.with_status(seen(answers.GONE, DEADLINE + 5)).with_look(DEADLINE + 6)
    assert "whose time is over" in settle(lost, DEADLINE + 7).sentence
    assert "whose time is over" not in settle(lost, DEADLINE - 7).sentence


def test_a_job_that_runpod_does_not_know_yet_is_not_gone():
    assert state_of(FRESH.with_status(seen(answers.GONE, SENT + 5)).with_look(SENT + 6)) == RemoteState.QUEUED


def test_a_later_answer_shows_that_a_job_was_not_gone():
    gone = FRESH.with_status(seen(answers.GONE, SENT + 500))
    assert state_of(gone.with_status(seen("IN_PROGRESS", SENT + 600))) == RemoteState.RUNNING
    assert state_of(gone.with_status(seen("IN_PROGRESS", SENT + 400))) == RemoteState.UNSURE


def test_a_job_that_goes_back_to_the_queue_waits_again():
    known = FRESH.with_status(seen("IN_PROGRESS", SENT + 10)).with_status(seen("IN_QUEUE", SENT + 20))
    assert state_of(known) == RemoteState.QUEUED
    taken = FRESH.with_status(seen("IN_PROGRESS", SENT + 20)).with_status(seen("IN_QUEUE", SENT + 10))
    assert state_of(taken) == RemoteState.RUNNING


def test_of_two_final_answers_the_better_one_counts():
    over, done = seen("TIMED_OUT", SENT + 20), seen("COMPLETED", SENT + 10, output=GOOD)
    assert state_of(FRESH.with_status(over).with_status(done)) == RemoteState.COMPLETED
    assert state_of(FRESH.with_status(done).with_status(over)) == RemoteState.COMPLETED


def test_after_the_deadline_it_is_late_but_only_an_answer_ends_it():
    found = settle(FRESH.with_status(seen("IN_PROGRESS")), DEADLINE + 1)
    assert (found.state, found.is_late) == (RemoteState.RUNNING, True)


def test_a_completed_job_without_a_lora_fails_after_a_look_into_the_bucket():
    ended = FRESH.with_status(seen("COMPLETED", SENT + 100))
    assert state_of(ended.with_look(SENT + 50)) == RemoteState.UNSURE
    assert state_of(ended.with_look(SENT + 150)) == RemoteState.FAILED
    assert state_of(ended.with_look(SENT + 150).with_result(LORA)) == RemoteState.COMPLETED


def test_late_progress_does_not_reopen_a_job_that_has_ended():
    ended = FRESH.with_status(seen("FAILED", SENT + 100, error="boom"))
    assert ended.with_status(seen("IN_PROGRESS", SENT + 900)) == ended


def test_another_attempt_starts_anew_and_late_answers_about_the_first_add_nothing():
    again = (
        FRESH.with_status(seen("FAILED", error="boom")).with_result(NO_LORA).with_retry(SENT + 1000, DEADLINE + 1000)
    )
    assert (again.attempt, state_of(again)) == (2, RemoteState.QUEUED)
    assert again.with_status(seen("FAILED", SENT + 2000, error="boom")) == again
    assert state_of(again.with_status(seen("IN_PROGRESS", SENT + 2000, attempt=2))) == RemoteState.RUNNING


def test_what_is_about_another_job_or_another_request_adds_nothing():
    assert FRESH.with_status(seen("COMPLETED", output=GOOD, job_id="job-2")) == FRESH
    assert FRESH.with_result(Result(is_success=True, job_id="r2", lora_url="s3://evil/x")) == FRESH


def test_there_is_no_way_to_tell_it_the_body_of_a_webhook():
    """A forged call can only lead to one more question: what is known has no place for it."""
    adding = {name for name in dir(Known) if name.startswith("with_")}
    assert adding == {"with_status", "with_result", "with_look", "with_retry"}


# ---- properties ----
STATES = ["IN_QUEUE", "IN_PROGRESS", "NEW", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT", answers.GONE]
times = st.integers(0, 200).map(lambda number: SENT + number * 1000)
statuses = st.builds(
    lambda state, asked, output, error, job, attempt: ("with_status", seen(state, asked, output, error, job, attempt)),
    st.sampled_from(STATES),
    times,
    st.sampled_from([None, GOOD, BAD, {"step": 1}, {"step": 2}, {**GOOD, "job_id": "x"}, "text", [1]]),
    st.sampled_from(["", "boom"]),
    st.sampled_from(["job-1", "job-1", "job-1", "job-2"]),
    st.sampled_from([1, 1, 1, 2]),
)
results = st.sampled_from(
    [LORA, NO_LORA, Result(is_success=True, job_id="r2"), Result(is_success=False, job_id="r1", error="other")]
).map(lambda found: ("with_result", found))
observations = st.lists(
    st.one_of(statuses, statuses, results, times.map(lambda found: ("with_look", found))), max_size=7
)


def told(observed, known=FRESH):
    for method, value in observed:
        known = getattr(known, method)(value)
    return known


@given(observations, times, st.data())
def test_the_order_in_which_things_arrive_makes_no_difference(observed, now_s, data):
    other = data.draw(st.permutations(observed))
    assert settle(told(observed), now_s) == settle(told(other), now_s)


@given(observations, times, st.data())
def test_what_arrives_twice_makes_no_difference(observed, now_s, data):
    twice = data.draw(st.permutations(observed + observed))
    assert settle(told(twice), now_s) == settle(told(observed), now_s)
    assert told(observed, told(observed)) == told(observed)


@given(observations, observations, times)
def test_a_completed_run_stays_completed(observed, more, now_s):
    before = settle(told(observed), now_s)
    after = settle(told(more, told(observed)), now_s)
    if before.state == RemoteState.COMPLETED:
        assert after.state == RemoteState.COMPLETED
    if before.state in FINAL - {RemoteState.LOST}:
        assert after.state in FINAL | {RemoteState.UNSURE}
        assert after.state in FINAL or after.look_in_bucket


@given(observations, times)
def test_a_run_is_completed_only_by_a_success_of_this_request(observed, now_s):
    found = settle(told(observed), now_s)
    if found.state == RemoteState.COMPLETED:
        assert found.result.job_id == "r1"
        proofs = [value for method, value in observed if method == "with_result" and value == LORA]
        proofs += [
            value
            for method, value in observed
            if method == "with_status"
            and (value.status.state, value.status.id, value.attempt) == ("COMPLETED", "job-1", 1)
            and value.status.output == GOOD
        ]
        assert proofs


@given(observations, times)
def test_there_is_always_a_state_and_a_sentence(observed, now_s):
    found = settle(told(observed), now_s)
    assert found.sentence.endswith(".") or ":" in found.sentence
    assert not (found.state.is_final and found.look_in_bucket)


# ---- what workers and RunPod say ----
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (GOOD, LORA),
        ({"id": "job-1", "status": "COMPLETED", "output": GOOD, "input": {}, "webhook": "https://x"}, LORA),
        (BAD, Result(is_success=False, job_id="r1", error="No files were downloaded from S3")),
        ({"status": "FAILED", "error": "No files", "output": {"status": "failed", "job_id": "r1"}}, Result(is_success=False, job_id="r1", error="No files")),
        ({**GOOD, "model_info": {"size_bytes": 45678912, "model_type": "lora"}}, Result(is_success=True, job_id="r1", lora_name="a.safetensors", lora_url="s3://b/a.safetensors", size_bytes=45678912)),
        ({**GOOD, "model_info": {"size_bytes": "x"}, "loraUrl": 5}, Result(is_success=True, job_id="r1", lora_name="a.safetensors")),
        ({"status": "success"}, None),
        ({"output": {"output": GOOD}}, None),
        ("success", None),
        (None, None),
    ],
)  # fmt: skip
def test_both_forms_of_a_body_are_read(body, wanted):
    assert answers.result(body) == wanted


EXCEPTION = {
    "error_type": "<class 'ValueError'>",
    "error_message": "the model is\nnot there",
    "error_traceback": "Traceback (most recent call last):\n  File x\nValueError: the model is",
    "hostname": "abc",
}


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (json.dumps(EXCEPTION), "ValueError: the model is"),
        (json.dumps(json.dumps(EXCEPTION)), "ValueError: the model is"),
        (EXCEPTION, "ValueError: the model is"),
        ({"error_type": "<class 'torch.cuda.OutOfMemoryError'>", "error_message": "CUDA"}, "OutOfMemoryError: CUDA"),
        ("Traceback (most recent call last):\n  File x\n    y\nKeyError: 'a'\n", "KeyError: 'a'"),
        ({"error_traceback": "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"}, "KeyError: 'a'"),
        ("plain words", "plain words"),
        ("{not json", "{not json"),
        ({"error": {"message": "deep"}}, "deep"),
        ({"unknown": 1}, '{"unknown": 1}'),
        ("\x1b[31mred\x1b[0m", "red"),
        ("two\u202elines", "two\\u202elines"),
        (None, ""),
        ("", ""),
        ({}, ""),
        (17, "17"),
        ("token hf_" + "a" * 30, "token [token]"),
    ],
)
def test_an_error_becomes_one_decisive_line(error, wanted):
    assert answers.error_line(error) == wanted


json_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["success", "failed", "COMPLETED"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "status",
                    "output",
                    "error",
                    "id",
                    "job_id",
                    "error_message",
                    "error_type",
                    "jobs",
                    "workers",
                    "model_info",
                    "delayTime",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(json_data)
def test_nothing_that_is_answered_breaks_the_reading(body):
    found = answers.status(body, "job-1")
    assert found is None or found.id == "job-1"
    answers.health(body)
    answers.result(body)
    line = answers.error_line(body)
    assert len(line) <= answers.LONGEST_LINE + 1
    assert "\n" not in line


def test_every_state_of_runpod_and_an_unknown_one_are_settled_in_the_tests():
    assert set(STATES) >= answers.FINAL | {answers.IN_QUEUE, answers.IN_PROGRESS, answers.GONE}
    assert all(
        settle(FRESH.with_status(seen(a)).with_status(seen(b)), SENT) for a, b in itertools.product(STATES, STATES)
    )
