"""Files that are not valid profiles: each is refused with file, key and reason, and nothing is written."""

import os
import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.played import fingerprint
from trainer_core import profiles
from trainer_core.errors import ProfileError
from trainer_core.models.families import load_families
from trainer_core.plan import fields
from trainer_core.profiles import Profile, Reference, Trial

HEAD = """format = 2
id = "x"
title = "X"
family = "sd15"
method = "lora"
use = "character"
explanation = "For tests."
"""


def head(**changed):
    """The head of a valid profile with some of its texts changed; the arguments are TOML."""
    lines = {line.partition(" = ")[0]: line.partition(" = ")[2] for line in HEAD.splitlines()}
    return "".join(f"{key} = {text}\n" for key, text in {**lines, **changed}.items())


def png():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = zlib.compress(b"\xff" * 4)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", body)


# Name: the bytes or text of the file, the key in the error ("" for the whole file), words of its reason.
HOSTILE = {
    "path escape in id": (head(id='"../../etc/cron.d/x"'), "id", "not a valid name"),
    "absolute path in id": (head(id='"/etc/passwd"'), "id", "not a valid name"),
    "path escape in use": (head(use='"../style"'), "use", "not a valid name"),
    "path escape in policy": (HEAD + 'policy = "../../policy"', "policy", "not a valid name"),
    "policy that is not there": (HEAD + 'policy = "best-ever"', "policy", "not know the policy"),
    "device of Windows as id": (head(id='"con"'), "id", "not a valid name"),
    "hidden file as id": (head(id='".ssh"'), "id", "not a valid name"),
    "extra key": (HEAD + 'command = "rm -rf /"', "command", "not a key of a profile"),
    "extra table": (HEAD + "[hooks]\nstart = 'sh'", "hooks", "not a key of a profile"),
    "native keys": (HEAD + "[settings.native.kohya]\nx = 1", "settings.native.kohya", "belongs to a job"),
    "job field model.path": (HEAD + "[settings.model]\npath = '/m'", "settings.model.path", "belongs to a job"),
    "job field output.folder": (
        HEAD + "[settings.output]\nfolder = '..'",
        "settings.output.folder",
        "belongs to a job",
    ),
    "job field of a part": (HEAD + "[settings.model]\nvae = '/v'", "settings.model.vae", "belongs to a job"),
    "job field dataset.trigger": (HEAD + "[settings.dataset]\ntrigger = 'x'", "settings.dataset.trigger", "job"),
    "token in a prompt": (
        HEAD + f"[settings.sampling]\nprompt = 'hf_{'a' * 30}'",
        "settings.sampling.prompt",
        "looks like a token",
    ),
    "token of RunPod": (head(explanation=f'"rpa_{"A1" * 20}"'), "explanation", "looks like a token"),
    "narrow token of GitHub": (head(title=f'"github_pat_{"a" * 50}"'), "title", "looks like a token"),
    "token for a key": (HEAD + f"ghp_{'a' * 36} = 1", "", "looks like a token"),
    "unknown setting": (HEAD + "[settings.network]\nrnak = 4", "settings.network.rnak", "no such setting"),
    "100,000 nested brackets": ("id = " + "[" * 100_000, "", "larger"),
    "60,000 nested brackets": ("id = " + "[" * 60_000, "", "nested too deeply"),
    "nested inline tables": ("id = " + "{a=" * 15_000, "", "nested too deeply"),
    "brackets behind a string of quotes": ('id = ["""a"""", ' + "[" * 3000, "", "nested too deeply"),
    "key of 30,000 parts": (".".join("a" * 30_000) + " = 1", "", "nested too deeply"),
    "table of 30,000 parts": (f"[{'.'.join('a' * 30_000)}]", "", "nested too deeply"),
    "key of 30,000 parts with spaces": (' . "a" '.join("a" * 8000) + " = 1", "", "nested too deeply"),
    "integer of 5000 digits": (HEAD + f"[settings.network]\nrank = {'9' * 5000}", "", "not TOML"),
    "hexadecimal integer of 9999 digits": (
        HEAD + f"[settings.network]\nrank = 0x{'f' * 9999}",
        "settings.network.rank",
        "too large for any",
    ),
    "integer out of bounds": (HEAD + "[settings.network]\nrank = 99999999", "settings.network.rank", "1,024 or less"),
    "nan": (HEAD + "[settings.optimizer]\nlearning_rate = nan", "settings.optimizer.learning_rate", "not a finite"),
    "infinity": (HEAD + "[settings.network]\nalpha = -inf", "settings.network.alpha", "not a finite"),
    "float beyond floats": (HEAD + "[settings.network]\nalpha = 1e99999", "settings.network.alpha", "not a finite"),
    "truth for a number": (HEAD + "[settings.network]\nrank = true", "settings.network.rank", "Rank"),
    "text for a number": (HEAD + "[settings.network]\nrank = '16'", "settings.network.rank", "Rank"),
    "list for a text": (head(title="['X']"), "title", "not a text"),
    "number for an id": (head(id="1"), "id", "not a text"),
    "date for a number": (HEAD + "[settings.network]\nrank = 2026-11-21", "settings.network.rank", "date"),
    "time for a title": (head(title="07:32:00"), "title", "date"),
    "table for a setting": (HEAD + "[settings.network.rank]\nx = 1", "settings.network.rank", "Rank"),
    "settings that are no tables": (HEAD + "[settings]\nnetwork = 4", "settings.network", "must be tables"),
    "settings that are a list": (HEAD + "settings = [1]", "settings", "must be tables"),
    "dotted key to a job field": (HEAD + "settings.model.path = '/m'", "settings.model.path", "belongs to a job"),
    "quoted dots in a key": (HEAD + "[settings]\n\"model.path\" = '/m'", "settings.model.path", "not a key"),
    "path in a key": (HEAD + "'../x' = 1", "../x", "not a key"),
    "empty key": (HEAD + "'' = 1", "", "not a key"),
    "key with a colour": (HEAD + '"\\u001b[31m" = 1', "\\u001b[31m", "not a key"),
    "duplicate key": (HEAD + 'id = "y"', "", "not TOML"),
    "duplicate table": (HEAD + "[settings.network]\nrank=1\n[settings.network]\nrank=2", "", "not TOML"),
    "table that was a value": (HEAD + "settings.network = {rank = 1}\n[settings.network]\nalpha = 1.0", "", "not TOML"),
    "array of 30,000": (HEAD + "sources = [" + "1," * 30_000 + "]", "sources", "more than 400 values"),
    "array of a million": (HEAD + "sources = [" + "1," * 1_000_000 + "]", "", "larger"),
    "text of a megabyte": (head(title=f'"{"x" * 1_000_000}"'), "", "larger"),
    "title of 60,000 characters": (head(title=f'"{"x" * 60_000}"'), "title", "longer than"),
    "explanation of 700 characters": (head(explanation=f'"{"x" * 700}"'), "explanation", "longer than 600"),
    "500 keys": (HEAD + "".join(f"k{number} = 1\n" for number in range(500)), "", "more than 400 values"),
    "30 sources": (HEAD + "".join(f"[[sources]]\nid='s{n}'\ntitle='S'\n" for n in range(30)), "sources", "more than"),
    "bidi override": (head(title='"\u202egnp.exe"'), "title", "U+202E"),
    "bidi override, escaped": (head(title='"\\u202egnp.exe"'), "title", "U+202E"),
    "bidi override in a comment": (HEAD + "# \u2066harmless", "", "line 8"),
    "zero width space": (head(explanation='"a\u200bb"'), "explanation", "U+200B"),
    "ANSI escapes": (head(title='"\x1b[2J"'), "", "not TOML"),
    "ANSI escapes, escaped": (head(title='"\\u001b[2J"'), "title", "U+001B"),
    "line break in a title": (head(title='"a\\nb"'), "title", "U+000A"),
    "CRLF in a text": (head(explanation='"""a\r\nb"""'), "explanation", "U+000A"),
    "lone carriage return": (HEAD.replace("\n", "\r"), "", "not TOML"),
    "NUL": (head(id='"\0"'), "", "NUL"),
    "not UTF-8": (b'id = "\xff"', "", "UTF-8"),
    "UTF-16": (HEAD.encode("utf-16"), "", "NUL"),
    "byte order mark": (b"\xef\xbb\xbf" + HEAD.encode(), "", "byte order mark"),
    "surrogates": (b'id = "\xed\xa0\x80"', "", "UTF-8"),
    "empty": ("", "", "is empty"),
    "blank": (" \n\t\n", "", "is empty"),
    "PNG": (png(), "", "NUL"),
    "HTML": ("\n<!DOCTYPE html><html><body>Sign in</body></html>", "", "web page"),
    "JSON": ('{"id": "x"}', "", "not TOML"),
    "YAML tag": ("!!python/object/apply:os.system ['id']", "", "not TOML"),
    "later format": (head(format="3"), "format", "formats up to 2"),
    "format of zero": (head(format="0"), "format", "whole number"),
    "format as truth": (head(format="true"), "format", "whole number"),
    "format as text": (head(format='"2"'), "format", "whole number"),
    "a key of format 2 in format 1": (head(format="1") + "[reasons.network]\nrank = 'x'", "reasons", "format 1"),
    "unknown family": (head(family='"sd99"'), "family", "not know the family"),
    "unknown method": (head(method='"shell"'), "method", "Method"),
    "unknown prediction": (HEAD + 'prediction = "all"', "prediction", "Prediction"),
    "reason for nothing": (HEAD + "[reasons.network]\nrank = 'x'", "reasons.network.rank", "does not set"),
    "script as a link": (HEAD + "[[sources]]\nid='a'\ntitle='A'\nurl='javascript:alert(1)'", "sources.url", "https"),
    "user name in a link": (HEAD + "[[sources]]\nid='a'\ntitle='A'\nurl='https://a@b.c/'", "sources.url", "https"),
    "source twice": (HEAD + "[[sources]]\nid='a'\ntitle='A'\n" * 2, "sources.id", "twice"),
    "trial with a command": (HEAD + "[[tested_on]]\nengine='kohya'\ncommand='x'", "tested_on.command", "not a key"),
    "unknown names a job field": (HEAD + "unknown = ['model.path']", "unknown", "not a setting"),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_broken_file_is_refused_by_file_key_and_reason(case, tmp_path, home):
    content, key, reason = HOSTILE[case]
    file = tmp_path / "bad.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    before, began = fingerprint(tmp_path), time.process_time()
    for take in (profiles.load, lambda path: profiles.incoming(str(path))):
        with pytest.raises(ProfileError) as refused:
            take(file)
        assert reason in refused.value.message
        assert "bad.toml" in refused.value.message
        assert refused.value.key == key
        assert key in refused.value.message
        assert not refused.value.is_unread
        assert refused.value.message.isprintable()
        assert len(refused.value.message) < 600
    assert fingerprint(tmp_path) == before
    assert not home.exists()
    assert time.process_time() - began < 2


def test_there_are_many_more_than_25_classes():
    assert len(HOSTILE) >= 70


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "name too long", "loop", "device"])
def test_what_is_not_a_regular_file_is_neither_read_nor_waited_for(kind, tmp_path):
    path = tmp_path / "odd.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "name too long":
        path = tmp_path / ("x" * 300 + ".toml")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(ProfileError) as refused:
        profiles.load(path)
    assert path.name[:50] in refused.value.message
    assert refused.value.is_unread


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/environ", "secret.txt"])
def test_an_error_does_not_show_the_content_of_a_link_target(target, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("sesame = \n[opensesame]\nsesame sesame")
    path = tmp_path / "innocent.toml"
    path.symlink_to(secret if target == "secret.txt" else target)
    with pytest.raises(ProfileError) as refused:
        profiles.load(path)
    for word in ("root", "/bin", "PATH", "sesame"):
        assert word not in refused.value.message


def test_text_that_looks_like_code_stays_text():
    texts = ["$(rm -rf ~)", "{__import__('os')}", "<img src=x onerror=alert(1)>", "%s%n", "'; DROP TABLE", "[bold]x[/]"]
    for text in texts:
        profile = profiles.loads(HEAD.replace('"X"', f"'''{text}'''"))
        assert profile.title == text
        assert profiles.loads(profiles.dumps(profile)).title == text


def test_line_ends_of_windows_are_read():
    assert profiles.loads(HEAD.replace("\n", "\r\n").encode()) == profiles.loads(HEAD)


def test_a_file_of_format_1_is_converted_to_format_2_in_memory():
    old = (
        head(format="1").replace("format = 1\n", "")
        + 'sources = ["a preset", "a guide"]\n[settings.network]\nrank = 8\n'
    )
    profile = profiles.loads(old)
    assert profile.format == 1
    assert [source.title for source in profile.sources] == ["a preset", "a guide"]
    assert profile.settings == {"model.method": "lora", "network.rank": 8}
    again = profiles.loads(profiles.dumps(profile))
    assert again.format == 2
    assert (again.sources, again.settings) == (profile.sources, profile.settings)
    assert profiles.loads("format = 1\n" + old) == profile


# A profile is read back as it was written, whatever it contains.

words = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), min_size=1, max_size=60
).filter(lambda text: text.strip() == text)
slugs = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)
FREE = [field for field in fields.all_fields().values() if not field.is_the_jobs]


def values(field):
    if field.choices:
        return st.sampled_from(field.choices)
    if field.base_type is bool:
        return st.booleans()
    if field.base_type is str:
        return st.just(".txt") if field.path == "dataset.caption_extension" else words
    low, high = field.minimum or 0, field.maximum if field.maximum is not None else 2**31
    numbers = st.integers(int(low), int(high)) if field.base_type is int else st.floats(low, high)
    return numbers.filter(lambda value: not fields.check(field.path, value)[1])


@st.composite
def made(draw):
    chosen = draw(st.lists(st.sampled_from(FREE), unique_by=lambda field: field.path, max_size=12))
    found = {field.path: draw(values(field)) for field in chosen}
    found = {path: fields.check(path, value)[0] for path, value in found.items()}
    ids = draw(st.lists(slugs, unique=True, max_size=3))
    method = draw(st.sampled_from(["lora", "full", "dreambooth"]))
    return Profile(
        id=draw(slugs),
        title=draw(words),
        family=draw(st.sampled_from(sorted(load_families()))),
        method=method,
        use=draw(slugs),
        explanation=draw(words),
        sources=tuple(Reference(each, draw(words), notes=draw(words)) for each in ids),
        settings={"model.method": method, **found},
        reasons={path: draw(words) for path in found if draw(st.booleans())},
        lineage=draw(st.sampled_from(["", "pony"])),
        images=draw(st.sampled_from([(), (10,), (10, 50)])),
        prediction=draw(st.sampled_from(["", "epsilon", "flow"])),
        policy=draw(st.sampled_from(["", "flux-guide"])),
        author=draw(words),
        tested_on=tuple(Trial(draw(words)[:40].strip() or "x") for _ in range(draw(st.integers(0, 2)))),
        unknown=tuple(field.path for field in FREE[:3] if field.path not in found),
    )


@settings(max_examples=60, deadline=None)
@given(made())
def test_a_profile_that_is_written_is_read_back_as_it_was(profile):
    assert profiles.loads(profiles.dumps(profile)) == profile


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300), st.text(max_size=300).map(lambda text: HEAD.encode() + text.encode("utf-8", "replace"))
    )
)
def test_any_bytes_are_a_profile_or_a_refusal(raw):
    try:
        profile = profiles.loads(raw, "any.toml")
    except ProfileError as error:
        refused = error.message
    else:
        refused = "any.toml"
        assert profiles.loads(profiles.dumps(profile)).settings == profile.settings
    assert "any.toml" in refused


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(['"', "'", "[", "]", "{", "}", "\\", "\n", "#", "a", "=", ".", '"""', "'''", ","]), max_size=60
    )
)
def test_the_counted_depth_is_never_below_that_of_the_parser(pieces):
    """Nested brackets are refused before they are parsed, or are inside a string, whatever quotes precede them."""
    text = "a = [" + "".join(pieces) + "[" * 40
    with pytest.raises(ProfileError):
        profiles.loads(text)
