"""The texts that a user can paste to name a remote model."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_core.errors import DownloadError
from trainer_core.models.downloads import links
from trainer_core.models.downloads.names import from_header, safe

HUGGING_FACE = {
    "black-forest-labs/FLUX.1-dev": ("black-forest-labs/FLUX.1-dev", "", ""),
    "hf:org/name": ("org/name", "", ""),
    "hf:org/name@v2": ("org/name", "v2", ""),
    "hf:org/name/a/b.safetensors": ("org/name", "", "a/b.safetensors"),
    "hf:org/name/a/b.safetensors@refs/pr/3": ("org/name", "refs/pr/3", "a/b.safetensors"),
    "hf://org/name@v2/b.safetensors": ("org/name", "v2", "b.safetensors"),
    "https://huggingface.co/org/name": ("org/name", "", ""),
    "https://huggingface.co/org/name/": ("org/name", "", ""),
    "https://huggingface.co/org/name/resolve/main/a/b.safetensors?download=true": (
        "org/name",
        "main",
        "a/b.safetensors",
    ),
    "https://huggingface.co/org/name/blob/refs%2Fpr%2F1/b%20c.safetensors": (
        "org/name",
        "refs/pr/1",
        "b c.safetensors",
    ),
    "https://huggingface.co/org/name/tree/main": ("org/name", "main", ""),
    "huggingface.co/org/name": ("org/name", "", ""),
    "hf.co/org/name/blob/main/b.safetensors": ("org/name", "main", "b.safetensors"),
    "<https://huggingface.co/org/name>": ("org/name", "", ""),
    "https://hf.co/org/name/tree/main/vae": ("org/name", "main", "vae"),
    "urn:air:flux1:checkpoint:huggingface:org/name@main": ("org/name", "main", ""),
}
CIVITAI = {
    "https://civitai.com/models/257749": (257749, None),
    "https://civitai.com/models/257749/pony-diffusion-v6-xl?modelVersionId=290640": (257749, 290640),
    "https://civitai.red/models/257749?modelVersionId=290640": (257749, 290640),
    "https://civitai.green/models/257749": (257749, None),
    "https://civitai.com/api/download/models/290640?type=Model&format=SafeTensor": (None, 290640),
    "https://civitai.com/api/v1/model-versions/290640": (None, 290640),
    "https://civitai.com/api/v1/models/257749": (257749, None),
    "civitai.com/models/257749?modelVersionId=290640": (257749, 290640),
    "www.civitai.com/models/257749/name": (257749, None),
    '"https://civitai.com/models/257749"': (257749, None),
    "civitai:257749": (257749, None),
    "civitai:257749@290640": (257749, 290640),
    "civitai:@290640": (None, 290640),
    "urn:air:sdxl:checkpoint:civitai:257749@290640": (257749, 290640),
    "air:sdxl:lora:civitai:257749": (257749, None),
}


@pytest.mark.parametrize("text", HUGGING_FACE)
def test_a_repository_of_hugging_face(text):
    link = links.parse(text)
    assert (link.site, link.repo, link.revision, link.path) == ("huggingface", *HUGGING_FACE[text])
    assert links.parse(link.shown) == link, "the shown text can be pasted again"


@pytest.mark.parametrize("text", CIVITAI)
def test_a_model_of_civitai(text):
    link = links.parse(text)
    assert (link.site, link.model_id, link.version_id) == ("civitai", *CIVITAI[text])
    again = links.parse(link.shown)
    assert (again.model_id, again.version_id) == CIVITAI[text], "the shown text can be pasted again"


def test_a_download_link_keeps_the_chosen_file():
    link = links.parse("https://civitai.com/api/download/models/1?type=Model&format=SafeTensor&size=pruned&fp=fp16")
    assert link.wanted == {"type": "Model", "format": "SafeTensor", "size": "pruned", "fp": "fp16"}


@pytest.mark.parametrize(
    "text",
    [
        "model.safetensors",
        "models/model.safetensors",
        "./org/name",
        "/srv/models/x",
        "~/models/x",
        "C:\\models\\x",
        "a/b/c",
        "../name",
        "name",
        "",
    ],
)
def test_a_path_on_this_machine(text):
    assert links.parse(text) is None


def test_an_existing_folder_is_not_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert links.parse("org/name").repo == "org/name"
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert links.parse("org/name") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file:///etc/passwd", "start with file:"),
        ("ftp://host/model.safetensors", "start with ftp:"),
        ("https://me:geheim@host/model.safetensors", "user name or a password"),
        ("https:///model.safetensors", "names no site"),
        ("https://host:x/model.safetensors", "cannot be read"),
        ("https://[::1/model.safetensors", "cannot be read"),
        ("https://civitai.com/images/5", "not the page of a model"),
        ("civitai:abc", "is not a Civitai model"),
        ("hf:name", "is not a Hugging Face repository"),
        ("hf:org/name/../../x", "leads outside its repository"),
        ("urn:air:sdxl:checkpoint:other:5", "not an AIR"),
    ],
)
def test_the_error_for_a_refused_link_says_why(text, reason):
    with pytest.raises(DownloadError, match=reason) as refused:
        links.parse(text)
    assert refused.value.hint
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("name", ["token", "api_key", "apikey", "Token", "access_token"])
@pytest.mark.parametrize(
    "start", ["https://civitai.com/api/download/models/5?type=Model&", "https://host.org/m.safetensors?x=1&"]
)
def test_a_token_is_removed_from_a_link_with_a_note(start, name):
    link = links.parse(f"{start}{name}=sehrgeheim")
    assert link.token.header() == {"Authorization": "Bearer sehrgeheim"}
    assert "sehrgeheim" not in repr(link) + link.url + link.shown + " ".join(link.notes)
    assert "removed the token" in link.notes[0]


def test_a_signature_stays_in_the_address_and_is_not_shown():
    link = links.parse("https://bucket.host/m.safetensors?X-Amz-Signature=abc%2Fd&X-Amz-Date=1")
    assert link.url.endswith("?X-Amz-Signature=abc%2Fd&X-Amz-Date=1")
    assert "abc" not in repr(link)


@given(st.text(max_size=60) | st.from_regex(r"(https?://|hf:|civitai:|urn:air:)[ -~]{0,50}", fullmatch=True))
def test_any_text_is_a_link_a_path_or_a_refusal(text):
    with contextlib.suppress(DownloadError):
        link = links.parse(text)
        assert link is None or link.site in {"huggingface", "civitai", "web"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("model.safetensors", "model.safetensors"),
        ("../../etc/cron.d/model.safetensors", "model.safetensors"),
        ("..\\..\\model.safetensors", "model.safetensors"),
        (".bashrc", "bashrc"),
        ("con.safetensors", "_con.safetensors"),
        ('a<b>:"c|?*.safetensors', "a_b___c___.safetensors"),
        ("x\u202egnp.safetensors", "x_gnp.safetensors"),
        ("Ä 1.safetensors", "Ä 1.safetensors"),
        ("..", ""),
        ("", ""),
    ],
)
def test_a_name_from_a_server_stays_in_its_folder(name, kept):
    assert safe(name) == kept


@given(st.text(max_size=400))
def test_any_name_from_a_server_is_one_visible_file(name):
    kept = safe(name)
    assert "/" not in kept
    assert not kept.startswith(".")
    assert len(kept.encode()) <= 180
    assert safe(kept) == kept


def test_a_long_name_keeps_its_extension():
    assert safe("ä" * 300 + ".safetensors").endswith("ä.safetensors")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="m.safetensors"', "m.safetensors"),
        ("attachment; filename=m.safetensors", "m.safetensors"),
        ("attachment; filename=\"x.bin\"; filename*=UTF-8''%C3%84%20m.safetensors", "Ä m.safetensors"),
        ("attachment; filename*=UTF-8''..%2F..%2Fm.safetensors", "m.safetensors"),
        ("attachment; filename*=nonsense''m; filename=\"n.safetensors\"", "n.safetensors"),
        ('attachment; filename="a\\"b.safetensors"', "a_b.safetensors"),
        ("inline", ""),
        ("", ""),
    ],
)
def test_the_file_name_in_a_header_is_read(header, name):
    assert from_header(header) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://civitai.com/models/1?modelVersionId=2&token=S", "https://civitai.com/models/1?modelVersionId=2"),
        ("https://user:S@host/a%20b.safetensors?sig=S#S", "https://host/a%20b.safetensors"),
        ("hf:org/name/a.safetensors@main", "hf:org/name/a.safetensors@main"),
        ("civitai:1?token=S", "civitai:1"),
        ("models/why?.safetensors", "models/why?.safetensors"),
    ],
)
def test_a_link_is_shown_without_possible_secrets(text, shown):
    assert links.shown(text) == shown


@pytest.mark.parametrize(
    "text", ["civitai:1?token=", "hf:org?token=", "hf:org/name/a.safetensors?token=", "air:x:y:civitai:a?token="]
)
def test_a_token_after_a_short_name_is_not_in_the_error(text):
    with pytest.raises(DownloadError) as refusal:
        links.parse(f"{text}sehrgeheim")
    assert "sehrgeheim" not in str(refusal.value)
