"""The address of the webhook of a request: only who knows it can call it, and a call says nothing but which request to ask about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.errors import RemoteError
from trainer_core.remote.credentials import Secret
from trainer_core.remote.runpod import webhook

SECRET = Secret("0123456789abcdef0123456789abcdef", "a secret", "a test")
OTHER = Secret("fedcba9876543210fedcba9876543210", "a secret", "a test")
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", fullmatch=True)


def test_the_code_is_the_hmac_of_the_request_id():
    path = webhook.path(SECRET, "16_1234567890")
    code = "4529fdf0bde03e16afacad0c6e7328064fb5650fc8c8784dd402de4e67f5ac2d"
    assert path == f"/easel/remote-training/16_1234567890/{code}"
    assert webhook.request_of(SECRET, path) == "16_1234567890"
    assert webhook.request_of(SECRET, f"{path}?x=1") == "16_1234567890"
    assert (
        webhook.address("https://api.example.com/", SECRET, "a")
        == f"https://api.example.com{webhook.path(SECRET, 'a')}"
    )


@given(IDS, IDS)
def test_the_code_of_one_request_is_of_no_use_for_another_one(first, second):
    code = webhook.path(SECRET, first).rpartition("/")[2]
    found = webhook.request_of(SECRET, f"{webhook.PATH}/{second}/{code}")
    assert found == (second if first == second else None)


@given(IDS, st.integers(0, 63), st.sampled_from("0123456789abcdefé/ "))
def test_a_code_with_one_other_letter_is_refused(request_id, place, letter):
    path = webhook.path(SECRET, request_id)
    start, code = path[:-64], path[-64:]
    changed = code[:place] + letter + code[place + 1 :]
    assert webhook.request_of(SECRET, start + changed) == (request_id if changed == code else None)


def test_the_secret_of_another_receiver_is_of_no_use():
    assert webhook.request_of(OTHER, webhook.path(SECRET, "a")) is None


@pytest.mark.parametrize(
    "called",
    [
        "",
        "/",
        webhook.PATH,
        f"{webhook.PATH}/",
        f"{webhook.PATH}/a",
        f"{webhook.PATH}/a/",
        f"{webhook.PATH}/../a/b",
        "/other/a/b",
    ],
)
def test_other_paths_are_of_no_request(called):
    assert webhook.request_of(SECRET, called) is None


@pytest.mark.parametrize("request_id", ["", "a/b", "..", "a..b", "a b", "é", "x" * 300, "a\n"])
def test_an_id_that_cannot_be_in_a_path_is_refused(request_id):
    with pytest.raises(RemoteError):
        webhook.path(SECRET, request_id)


def test_a_short_secret_is_refused_and_not_shown():
    with pytest.raises(RemoteError) as found:
        webhook.path(Secret("hunter2", "a secret", "a test"), "a")
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    "base", ["", "api.example.com", "ftp://a", "https://user:pw@a", "https://a?b=c", "https://a b"]
)
def test_a_public_address_that_is_none_is_refused(base):
    with pytest.raises(RemoteError) as found:
        webhook.address(base, SECRET, "a")
    assert "pw" not in str(found.value)
