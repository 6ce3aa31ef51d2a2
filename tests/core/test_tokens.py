"""Tokens are found in the usual places and never shown."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap

import pytest

from trainer_core.doctor.case import Case
from trainer_core.doctor.checks import network
from trainer_core.errors import DownloadError
from trainer_core.models import tokens

SECRET = "hf_sehrgeheim123"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    """Hides the tokens of the user who runs the tests."""
    from huggingface_hub import constants

    for site in tokens.SITES.values():
        for name in site.names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    yield
    for site in tokens.SITES:
        tokens.forget(site)


def test_a_token_never_shows_its_text():
    token = tokens.Token(SECRET, "huggingface", "a test")
    shown = [
        repr(token),
        str(token),
        f"{token}",
        f"{token:>40}",
        repr([token]),
        repr({"token": token}),
        repr(copy.deepcopy(token)),
    ]
    assert all("geheim" not in text and "a token for Hugging Face" in text for text in shown)
    with pytest.raises(TypeError, match="memory only"):
        pickle.dumps(token)
    with pytest.raises(TypeError, match="__dict__"):
        vars(token)
    assert token.header() == {"Authorization": f"Bearer {SECRET}"}


@pytest.mark.parametrize("text", ["", "  ", "two words", "a\nHost: evil", "geh\u00e4im"])
def test_an_invalid_token_is_refused_without_showing_its_text(text):
    with pytest.raises(DownloadError, match="is not valid") as refused:
        tokens.Token(text, "civitai", "the field")
    assert not text.strip() or text not in str(refused.value)


@pytest.mark.parametrize(
    ("site", "name"), [(site, name) for site, known in tokens.SITES.items() for name in known.names]
)
def test_a_token_is_found_in_the_environment(monkeypatch, site, name):
    assert tokens.find(site) is None
    monkeypatch.setenv(name, f" {SECRET}\n")
    found = tokens.find(site)
    assert found.header()["Authorization"].endswith(SECRET)
    assert name in found.source


def test_a_token_is_found_in_the_login_file(tmp_path):
    (tmp_path / "token").write_text(SECRET + "\n")
    assert tokens.find("huggingface").source == "the login of huggingface_hub"
    assert tokens.find("civitai") is None


def test_an_entered_token_takes_precedence_over_the_environment(monkeypatch):
    monkeypatch.setenv("CIVITAI_TOKEN", "old")
    tokens.remember("civitai", " new ")
    assert tokens.find("civitai").header() == {"Authorization": "Bearer new"}
    tokens.forget("civitai")
    assert tokens.find("civitai").header() == {"Authorization": "Bearer old"}


def test_the_advice_names_the_page_and_the_variable():
    assert "https://huggingface.co/settings/tokens" in tokens.where_to_set("huggingface")
    assert "CIVITAI_TOKEN" in tokens.where_to_set("civitai")


def own_file(text):
    path = tokens._own_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "line",
    [
        "HF_TOKEN={}",
        "export HF_TOKEN={}",
        "HF_TOKEN='{}'",
        ' export  HF_TOKEN = "{}"  # of a friend',
        "HF_TOKEN={} # mine\r",
    ],
)
def test_a_token_of_the_own_file_is_read_in_the_forms_of_a_shell(line, monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    own_file(f"# tokens\n\n{line.format(SECRET)}\n")
    assert tokens.find("huggingface").header() == {"Authorization": f"Bearer {SECRET}"}
    assert tokens.find("civitai") is None


@pytest.mark.parametrize("line", ["HF_TOKEN '{}'", "{}", "HF_TOKEN='{}", "HF_TOKEN=\"{}'", "set HF_TOKEN={}"])
def test_a_line_that_cannot_be_read_is_said_without_its_text(line, monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    own_file(f"# tokens\n{line.format(SECRET)}\n")
    with pytest.raises(DownloadError, match=r"Line 2 of .* cannot be read") as refused:
        tokens.find("huggingface")
    assert SECRET not in f"{refused.value} {refused.value.hint}"


def test_the_own_file_of_another_user_is_not_used_and_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    own_file(f"HF_TOKEN={SECRET}")
    monkeypatch.setattr("os.getuid", lambda: 99999)
    with pytest.raises(DownloadError, match="belongs to another user"):
        tokens.find("huggingface")


def test_the_doctor_says_where_a_token_is_from_as_training_finds_it(monkeypatch, tmp_path):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))

    def said():
        found = {each.id: each for each in network.tokens(Case())}
        return found["token.huggingface"].state, found["token.huggingface"].found

    path = own_file(f"export HF_TOKEN='{SECRET}'")
    assert said() == ("good", f"One is set, by HF_TOKEN in {path}.")
    path.chmod(0o644)
    assert said()[0] == "notice"
    assert "other users" in said()[1]


def test_an_endpoint_that_is_no_address_is_said(tmp_path):
    code = """
        from trainer_core.errors import DownloadError
        from trainer_core.models import tokens
        try:
            tokens.find("huggingface")
        except DownloadError as error:
            print(error.message)
    """
    environment = {"HF_ENDPOINT": "http://[bad", "EASEL_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert "HF_ENDPOINT is not the address of a server" in done.stdout, done.stderr


COLAB = {
    "google/__init__.py": "",
    "google/colab/__init__.py": "",
    "google/colab/errors.py": "class Error(Exception): pass",
    "google/colab/userdata.py": """
        from google.colab import errors
        asked = []
        class SecretNotFoundError(errors.Error): pass
        def get(name):
            asked.append(name)
            if name != 'CIVITAI_API_TOKEN': raise SecretNotFoundError(name)
            return 'secret'
    """,
}
KAGGLE = {
    "kaggle_secrets.py": """
        class BackendError(Exception): pass
        class CredentialError(Exception): pass
        asked = []
        class UserSecretsClient:
            def get_secret(self, name):
                asked.append(name)
                if name != 'CIVITAI_API_TOKEN': raise BackendError(name)
                return 'secret'
    """,
}


@pytest.mark.parametrize(
    ("modules", "start", "place"),
    [
        (COLAB, "import google.colab.userdata as secrets", "Colab"),
        (KAGGLE, "import kaggle_secrets as secrets", "Kaggle"),
    ],
)
def test_the_secrets_of_a_notebook_are_requested_once(tmp_path, modules, start, place):
    for path, text in modules.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(textwrap.dedent(text))
    code = f"""
        {start}
        from trainer_core.models import tokens
        found = tokens.find("civitai")
        assert found.header() == {{"Authorization": "Bearer secret"}}, found
        assert found.source == "the {place} secret CIVITAI_API_TOKEN", found.source
        assert tokens.find("civitai").source == found.source
        assert secrets.asked == ["CIVITAI_TOKEN", "CIVITAI_API_TOKEN"], secrets.asked
        assert tokens.find("huggingface") is None
    """
    environment = {"PYTHONPATH": f"{tmp_path}:.", "HF_TOKEN_PATH": str(tmp_path / "token"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
