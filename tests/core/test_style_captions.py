"""Captions for a style describe the scene and end with the trigger word; what names the style is found and can be taken away."""

import pytest

from tests.support.page import draw_images
from trainer_core.curation import captions, style_captions
from trainer_core.curation.journal import Journal

GOOD = (
    "a foggy mountain valley with pine trees, winding river, style_16",
    "portrait of a girl on a swing under blossoming cherry trees, style_16",
    "an ancient stone bridge over a creek in twilight, style_16",
    "A man looks at a painting on the wall, warm light, low angle, style_16",
    "girl, red dress, golden hour, from side, dramatic lighting, style_16",
    "an old engraving hangs beside a realistic statue, style_16",
)


@pytest.mark.parametrize("caption", GOOD)
def test_a_description_of_a_scene_is_fine(caption):
    assert style_captions.findings({"a.txt": caption}, "style_16") == []
    assert style_captions.mended("style_16")(caption) == caption


@pytest.mark.parametrize(
    ("caption", "kind", "words", "is_sure", "after"),
    [
        ("a bridge, oil painting, style_16", "technique", "oil painting", True, "a bridge, style_16"),
        ("a bridge, oil painting style, style_16", "technique", "oil painting style", True, "a bridge, style_16"),
        ("a bridge, vibrant colors, style_16", "palette", "vibrant colors", True, "a bridge, style_16"),
        ("a bridge, Vivid Colours, style_16", "palette", "Vivid Colours", True, "a bridge, style_16"),
        ("a bridge, visible_brushstrokes, style_16", "technique", "visible_brushstrokes", True, "a bridge, style_16"),
        ("watercolor_(medium), a bridge, style_16", "technique", "watercolor_(medium)", True, "a bridge, style_16"),
        (
            "a bridge, in the style of Van Gogh, style_16",
            "style",
            "in the style of Van Gogh",
            True,
            "a bridge, style_16",
        ),
        ("a bridge with thick brush strokes and fog, style_16", "technique", "thick brush strokes", False, None),
        ("a bridge painted in a loose style, style_16", "style", "in a loose style", False, None),
    ],
)
def test_what_names_the_style_is_found(caption, kind, words, is_sure, after):
    (found,) = style_captions.findings({"a.txt": caption}, "style_16")
    assert found.named == (style_captions.Named(kind, words, is_sure),)
    assert kind in style_captions.titles()
    assert style_captions.mended("style_16")(caption) == (after or caption)


def test_the_trigger_word_goes_to_the_end():
    (found,) = style_captions.findings({"a.txt": "style_16, a bridge"}, "style_16")
    assert not found.has_trigger_last
    assert not found.named
    edit = style_captions.mended("style_16")
    assert edit("style_16, a bridge, fog") == "a bridge, fog, style_16"
    assert edit("A bridge in the fog.") == "A bridge in the fog, style_16"
    assert edit("STYLE_16, a bridge") == "a bridge, style_16"
    assert style_captions.mended("")("a bridge, oil painting") == "a bridge"


def test_a_trigger_that_is_a_style_word_is_no_finding():
    assert style_captions.findings({"a.txt": "a bridge, pixel art"}, "pixel art") == []


def test_mending_is_an_edit_that_can_be_taken_back(tmp_path):
    folder = draw_images(tmp_path / "images", ["a bridge, oil painting", *GOOD[:2]])
    before = (folder / "image0.txt").read_bytes()
    seen = captions.preview(folder, [f"image{number}.txt" for number in range(3)], [style_captions.mended("style_16")])
    journal = Journal(folder)
    journal.apply("captions", "Mend captions for a style", [one.change for one in seen.changes])
    assert (folder / "image0.txt").read_text() == "a bridge, style_16"
    assert seen.unchanged == 2
    journal.undo()
    assert (folder / "image0.txt").read_bytes() == before


@pytest.mark.parametrize("caption", ["", ",", ",,,", "style", "in the style of", "\u732b, \u98a8\u666f"])
def test_odd_captions_are_no_mistake(caption):
    style_captions.findings({"a": caption}, "x")
    style_captions.mended("x")(caption)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A lake at dawn, painted in the style of a master.", ("painted", "style of")),
        ("An oil on canvas with a limited palette", ("oil on canvas", "limited palette")),
        ("Impasto, pastel colours", ("impasto", "pastel colours")),
        ("Some brush strokes and a watercolour sky", ("brush strokes", "watercolour")),
        ("A realistic statue beside an engraving, warm light, a woman who hatches a plan", ()),
        ("A painter's brush on a table", ()),
    ],
)
def test_words_that_name_a_style_in_a_sentence(text, words):
    assert style_captions.in_sentence(text) == words
