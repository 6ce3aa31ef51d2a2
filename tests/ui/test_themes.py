"""The themes: each sets every token, in colours with enough contrast."""

import re

import pytest

from trainer_ui import theme

TEXT, SHAPE = 4.5, 3.0  # WCAG 2 AA for text, and for what is not text
PAIRS = [
    (text, ground, TEXT)
    for text in ("text", "muted", "ok", "warn", "danger", "accent")
    for ground in ("bg", "surface", "raised")
]
PAIRS += [
    ("text", "control", TEXT),
    ("muted", "control", TEXT),
    ("on-accent", "accent", TEXT),
    ("log-text", "log", TEXT),
]
PAIRS += [("second", ground, SHAPE) for ground in ("surface", "bg")]
PAIRS += [("control-line", ground, SHAPE) for ground in ("surface", "control", "raised")]
PAIRS += [("focus", ground, SHAPE) for ground in ("bg", "surface", "raised")] + [("accent", "raised", SHAPE)]


def blocks(name):
    """The token sets of a theme file, in order."""
    text = re.sub(r"/\*.*?\*/", "", (theme.folder() / f"{name}.css").read_text(), flags=re.DOTALL)
    found = [dict(re.findall(r"--easel-([a-z-]+):\s*([^;]+);", body)) for body in re.findall(r"\{([^{}]*)\}", text)]
    return [tokens for tokens in found if tokens]


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_of_known_colours():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", theme.names())
def test_a_theme_sets_every_token_that_is_used(name):
    parts = [*(theme.folder() / theme.PARTS).glob("*.css")]
    parts += (theme.folder().parent / "trainer_ui" / "components").glob("*.[cj]s*")
    text = "\n".join(part.read_text() for part in parts)
    made = set(re.findall(r"^  --easel-([a-z-]+):", text, re.MULTILINE))
    used = set(re.findall(r"var\(--easel-([a-z-]+)", text)) | set(re.findall(r'token\("([a-z-]+)"\)', text))
    for tokens in blocks(name):
        assert used <= set(tokens) | made, used - set(tokens) - made
        assert set(tokens) == set(blocks("light")[0])


@pytest.mark.parametrize("name", theme.names())
def test_a_theme_has_enough_contrast(name):
    weak = [
        f"{front} on {ground}: {contrast(tokens[front], tokens[ground]):.2f} < {least}"
        for tokens in blocks(name)
        for front, ground, least in PAIRS
        if contrast(tokens[front], tokens[ground]) < least
    ]
    assert not weak


def test_auto_contains_only_light_and_dark():
    assert blocks("auto") == [blocks("light")[0], blocks("dark")[0], blocks("dark")[0]]


def test_no_theme_loads_another_file():
    for file in theme.sheets():
        assert "url(" not in file.read_text()
        assert "@import" not in file.read_text()


def test_the_chosen_theme_is_remembered(home):
    assert theme.remembered() == "auto"
    theme.remember("cyberpunk")
    assert theme.remembered() == "cyberpunk"


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"theme": "no-such-theme"}', '{"theme": ["dark"]}'])
def test_a_damaged_memory_of_the_theme_is_ignored(home, content):
    theme.remember("dark")
    (home / "theme.json").write_text(content)
    assert theme.remembered() == "auto"
