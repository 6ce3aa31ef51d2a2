"""Keys and settings for buckets and endpoints: where they are found, and that no text shows them."""

import copy
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.errors import RemoteError
from trainer_core.remote import credentials
from trainer_core.remote.credentials import parse, settings

PLANTED = "p1anted/SECRET+value="


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(credentials, "_given", {})
    monkeypatch.chdir(tmp_path)


def test_the_environment_comes_before_the_dotenv_file(tmp_path):
    (tmp_path / ".env").write_text("AWS_ACCESS_KEY_ID=from-file\nS3_REGION=eu-west-1\n")
    values = settings(environment={"AWS_ACCESS_KEY_ID": "from-environment"})
    assert values.get("AWS_ACCESS_KEY_ID").reveal() == "from-environment"
    assert values.source("AWS_ACCESS_KEY_ID") == "the environment variable AWS_ACCESS_KEY_ID"
    assert values.get("S3_REGION").reveal() == "eu-west-1"
    assert values.source("S3_REGION") == f"S3_REGION in {tmp_path / '.env'}"


def test_a_value_given_in_this_session_comes_first():
    credentials.remember("RUNPOD_API_KEY", PLANTED)
    values = settings(environment={"RUNPOD_API_KEY": "older"})
    assert values.get("RUNPOD_API_KEY").reveal() == PLANTED
    assert values.source("RUNPOD_API_KEY") == "this session"
    credentials.forget("RUNPOD_API_KEY")
    assert values.get("RUNPOD_API_KEY").reveal() == "older"


def test_a_variable_that_is_set_later_is_found_and_an_empty_one_counts_as_not_set():
    environment = {"BASE_URL": "  "}
    values = settings(environment=environment)
    assert values.get("BASE_URL") is None
    assert values.source("BASE_URL") is None
    environment["BASE_URL"] = "https://example.org"
    assert values.text("GATEWAY_BASE_URL", "BASE_URL") == "https://example.org"


def test_a_named_file_is_read_instead_of_the_one_in_the_working_folder(tmp_path):
    (tmp_path / ".env").write_text("S3_USER_BUCKET=wrong")
    other = tmp_path / "other.env"
    other.write_text("S3_USER_BUCKET=right")
    assert settings(other, {}).get("S3_USER_BUCKET").reveal() == "right"


def test_a_named_file_must_exist_and_a_virtual_environment_called_dotenv_does_not_matter(tmp_path):
    with pytest.raises(RemoteError, match="cannot be read"):
        settings(tmp_path / "missing.env", {})
    assert settings(environment={}).get("S3_REGION") is None
    (tmp_path / ".env").mkdir()
    assert settings(environment={}).get("S3_REGION") is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("  export A = spaced  ", "spaced"),
        ("A=with # a comment", "with"),
        ("A=with#none", "with#none"),
        ("A=#comment", ""),
        ('A="a # b"  # c', "a # b"),
        ("A='lit\\neral'", "lit\\neral"),
        (r'A="esc\"aped\n"', 'esc"aped\n'),
        ('A="two\nlines"\nB=1', "two\nlines"),
        ("A=1\nA=2", "2"),
        ("A=a=b==", "a=b=="),
        ("A=${HOME}", "${HOME}"),
        ("\ufeffA=mark".removeprefix("\ufeff"), "mark"),
        ("A=crlf\r\nB=2", "crlf"),
        ("not a line\nA=1", "1"),
        ("A='open\nB=2", None),
    ],
)
def test_the_forms_of_a_line(line, value):
    assert parse(line)["A"] == value


def test_a_line_after_a_value_that_is_not_closed_is_read():
    assert parse('A="open\nB=2') == {"A": None, "B": "2"}


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.text()))
def test_every_value_in_double_quotation_marks_comes_back(values):
    quoted = {
        name: text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r") for name, text in values.items()
    }
    assert parse("\n".join(f'{name}="{text}"' for name, text in quoted.items())) == values


@given(st.text())
def test_no_text_of_a_file_is_an_error(text):
    assert all(isinstance(name, str) for name in parse(text))


def test_no_form_of_a_secret_shows_it(tmp_path):
    (tmp_path / ".env").write_text(f"AWS_SECRET_ACCESS_KEY='{PLANTED}'")
    values = settings(environment={"AWS_SESSION_TOKEN": PLANTED})
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        secret = values.get(name)
        said = [repr(secret), str(secret), f"{secret}", f"{secret:>80}", repr([secret]), repr(values)]
        said += [repr(copy.copy(secret)), repr(copy.deepcopy({"a": secret}))]
        assert not any(PLANTED in each for each in said)
        with pytest.raises(TypeError):
            pickle.dumps(secret)


@pytest.mark.parametrize("text", [f"{PLANTED}\nX-Header: 1", f"{PLANTED}\x1b[0m", f"{PLANTED}é"])
def test_a_value_that_cannot_be_sent_is_refused_without_showing_it(text):
    values = settings(environment={"AWS_SECRET_ACCESS_KEY": text})
    with pytest.raises(RemoteError, match="AWS_SECRET_ACCESS_KEY from the environment variable") as found:
        values.get("AWS_SECRET_ACCESS_KEY")
    assert PLANTED not in "".join(traceback.format_exception(found.value))


def test_a_quotation_mark_that_is_not_closed_names_file_and_line(tmp_path):
    (tmp_path / ".env").write_text(f'AWS_SECRET_ACCESS_KEY="{PLANTED}\nS3_REGION=eu-west-1')
    values = settings(environment={})
    assert values.get("S3_REGION").reveal() == "eu-west-1"
    with pytest.raises(RemoteError, match=r"AWS_SECRET_ACCESS_KEY in .*\.env has a quotation mark") as found:
        values.get("AWS_SECRET_ACCESS_KEY")
    assert PLANTED not in str(found.value)


@pytest.mark.parametrize("data", [PLANTED.encode() + b"\xff", PLANTED.encode() * (1 << 20)])
def test_a_file_that_is_no_text_or_far_too_long_is_refused_without_showing_it(tmp_path, data):
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(RemoteError) as found:
        settings(environment={})
    assert PLANTED not in "".join(traceback.format_exception(found.value))


def test_a_name_that_cannot_be_one_is_refused():
    with pytest.raises(RemoteError):
        settings(environment={}).get("A=B")
