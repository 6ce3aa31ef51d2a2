"""Captions are read as the engine reads them, and what is not read of them is named."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scanned import KOHYA, SIMPLETUNER, captioned, dataset, draw, draw_rgba, problem_of
from trainer_core.datasets import caption_text, captions, defects
from trainer_core.datasets.scan import scan
from trainer_core.engines import registry
from trainer_core.engines.seam import Backend
from trainer_core.errors import DatasetError

pytestmark = pytest.mark.filterwarnings("error")


class TestCaptions:
    @pytest.mark.parametrize(
        ("data", "text", "found"),
        [
            (b"a cat", "a cat", ()),
            (b"a cat\r\n", "a cat", ()),
            (b"\xef\xbb\xbfa cat", "a cat", ("caption_mark",)),
            ("a caf\u00e9".encode("utf-16"), "a caf\u00e9", ("caption_utf16",)),
            ("a caf\u00e9".encode("latin-1"), "", ("caption_not_utf8",)),
            (b"", "", ("caption_blank",)),
            (b" \n\t\n", "", ("caption_blank",)),
            (b"a\x00 c\x1bat", "a cat", ("caption_control",)),
            (b"a \x1b[31mred\x1b[0m cat\x1b]0;title\x07, \x1b]open", "a red cat, ]open", ("caption_control",)),
            (b"\n\na cat\n", "a cat", ()),
            (b"a cat\na dog\n", "a cat", ("many_lines",)),
            (b"<img onerror=alert(1)>", "<img onerror=alert(1)>", ()),
        ],
    )
    def test_bytes_become_text(self, data: bytes, text: str, found: tuple[str, ...]) -> None:
        assert captions.parse(data, "first") == captions.Caption(text, found)

    def test_each_line_is_a_caption_in_engines_with_that_rule(self) -> None:
        assert captions.parse(b"a cat\n\n a dog \n", "each") == captions.Caption("a cat\na dog", ("many_captions",))

    @given(st.binary(max_size=200), st.sampled_from(["first", "each"]))
    def test_any_bytes_become_clean_text(self, data: bytes, lines: str) -> None:
        found = captions.parse(data, lines)
        assert all(char == "\n" or char.isprintable() or ord(char) > 127 for char in found.text)
        assert set(found.defects) <= set(defects.DEFECTS)
        assert captions.parse(found.text.encode(), lines).text == found.text

    def test_missing_and_blank_with_and_without_a_trigger(self, tmp_path: Path) -> None:
        draw(tmp_path / "a.png")
        captioned(tmp_path / "b.png", "")
        without = scan(tmp_path, KOHYA)
        assert [p.caption for p in without.images] == [None, ""]
        assert problem_of(without, "caption_missing").severity == "warning"
        assert problem_of(without, "caption_blank").severity == "warning"
        given_trigger = scan(tmp_path, KOHYA, trigger="sks")
        assert problem_of(given_trigger, "caption_missing_trigger").severity == "info"
        assert problem_of(given_trigger, "caption_missing") is None
        assert problem_of(given_trigger, "no_trigger") is None

    def test_a_caption_that_cannot_be_decoded_stops_the_engine(self, tmp_path: Path) -> None:
        captioned(tmp_path / "a.png").with_suffix(".txt").write_bytes("caf\u00e9".encode("latin-1"))
        found = scan(tmp_path, KOHYA)
        assert found.images == ()
        assert problem_of(found, "caption_not_utf8").severity == "error"

    def test_a_caption_file_that_is_not_a_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(draw(tmp_path / "a.png").with_suffix(".txt"))
        assert problem_of(scan(tmp_path, KOHYA), "caption_no_text").severity == "error"

    def test_trigger_that_is_not_in_a_caption(self, tmp_path: Path) -> None:
        captioned(tmp_path / "a.png", "a toy")
        captioned(tmp_path / "b.png", "an SKS toy")
        assert "1 file (a.png)" in problem_of(scan(tmp_path, KOHYA, trigger="sks"), "no_trigger").message

    @pytest.mark.parametrize("name", ["a.TXT", "A.txt", "a.png.txt"])
    def test_captions_are_found_by_other_spellings(self, tmp_path: Path, name: str) -> None:
        draw(tmp_path / "a.png")
        (tmp_path / name).write_text("a cat")
        assert scan(tmp_path, KOHYA).images[0].caption == "a cat"

    def test_unicode_forms_of_a_name_are_equal(self, tmp_path: Path) -> None:
        draw(tmp_path / "cafe\u0301.png")
        (tmp_path / "caf\u00e9.txt").write_text("a cafe")
        assert scan(tmp_path, KOHYA).images[0].caption == "a cafe"

    def test_another_caption_extension_is_offered(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            draw(tmp_path / f"{name}.png")
            (tmp_path / f"{name}.caption").write_text("a cat")
        problem = next(p for p in scan(tmp_path, KOHYA).problems if p.path == "dataset.caption_extension")
        assert problem.fix.changes == {"dataset.caption_extension": ".caption"}
        assert [p.caption for p in scan(tmp_path, KOHYA, caption_extension=".caption").images] == ["a cat", "a cat"]

    @pytest.mark.parametrize("extension", ["", "txt", "./x", ".t\0", ".*"])
    def test_an_invalid_caption_extension_is_refused(self, tmp_path: Path, extension: str) -> None:
        with pytest.raises(DatasetError):
            scan(tmp_path, KOHYA, caption_extension=extension)

    def test_borrowed_shared_and_orphaned_captions(self, tmp_path: Path) -> None:
        captioned(tmp_path / "cat.png")
        draw(tmp_path / "cat.jpg")
        draw(tmp_path / "cat_2024_01_02_15.png")
        (tmp_path / "dog.txt").write_text("a dog")
        found = scan(tmp_path, KOHYA)
        assert {p.name: p.caption for p in found.images} == {
            "cat.jpg": "sks toy", "cat.png": "sks toy", "cat_2024_01_02_15.png": None,
        }  # fmt: skip
        assert "cat_2024_01_02_15.png" in problem_of(found, "borrowed").message
        assert "2 files (cat.jpg, cat.png)" in problem_of(found, "shared_caption").message
        assert "dog.txt" in problem_of(found, "orphan_caption").message
        assert problem_of(scan(tmp_path, SIMPLETUNER), "borrowed") is None


class TestCaptionsThatAreNotRead:
    def test_a_trigger_does_not_hide_a_missing_caption(self, tmp_path: Path) -> None:
        dataset(tmp_path, "a.png", "b.png", "c.png", without=("b.png",))
        (tmp_path / "c.txt").write_text("")
        found = scan(tmp_path, KOHYA, trigger="sks")
        for key, name in (("caption_missing_mixed", "b.png"), ("caption_blank_mixed", "c.png")):
            assert problem_of(found, key).severity == "warning"
            assert f"1 file ({name})" in problem_of(found, key).message

    @pytest.mark.parametrize("name", ["metadata.jsonl", "Captions.json", "a.json", "a.png.json"])
    @pytest.mark.parametrize("trigger", ["", "sks"])
    def test_captions_in_other_files_are_named(self, tmp_path: Path, name: str, trigger: str) -> None:
        draw(tmp_path / "a.png")
        (tmp_path / name).write_text("{}")
        said = [
            problem.message
            for problem in scan(tmp_path, KOHYA, trigger=trigger).problems
            if "may contain" in problem.message
        ]
        assert len(said) == 1
        assert "1 image without a caption" in said[0]
        (tmp_path / "a.txt").write_text("sks")
        assert scan(tmp_path, KOHYA, trigger=trigger).problems == ()

    def test_syntax_of_other_programs_is_trained_as_text(self, tmp_path: Path) -> None:
        texts = {
            "caption_weights": "sks, (red:1.3)",
            "caption_escapes": "sks \\(series\\)",
            "caption_choices": "sks {a|b}",
        }
        for key, text in texts.items():
            captioned(tmp_path / f"{key}.png", text)
        captioned(tmp_path / "plain.png", "sks (series), 10:30, {a}")
        found = scan(tmp_path, KOHYA)
        for key in texts:
            assert f"1 file ({key}.png)" in problem_of(found, key).message


class TestNativeSettings:
    """Settings of the engine itself change how it reads images and captions."""

    RULES = replace(
        KOHYA,
        native={"wild": "wildcards", "mask": "alpha", "weigh": "weights", "before": "words"},
    )

    def test_they_change_what_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one {x|y} (red:1.3)\ntwo \\(x\\)\n")
        draw_rgba(np.zeros((300, 300), np.uint8) + np.arange(300, dtype=np.uint16).astype(np.uint8)).save(
            tmp_path / "a.png"
        )
        keys = ("many_lines", "caption_choices", "caption_weights", "alpha", "no_trigger")
        found = scan(tmp_path, self.RULES.with_native({}), trigger="sks")
        assert found.images[0].caption == "one {x|y} (red:1.3)"
        assert all(problem_of(found, key) for key in keys)
        rules = self.RULES.with_native({"wild": True, "mask": True, "weigh": True, "before": "a sks,", "other": 1})
        found = scan(tmp_path, rules, trigger="sks")
        assert found.images[0].caption == "one {x|y} (red:1.3)\ntwo \\(x\\)"
        assert not any(problem_of(found, key) for key in (*keys, "caption_escapes"))

    @pytest.mark.parametrize(
        "backend", registry.available(include_hidden=True), ids=lambda backend: backend.manifest.id
    )
    def test_they_are_options_that_a_plan_can_contain(self, backend: Backend) -> None:
        can_be_set = {name for names in backend.manifest.options.native.values() for name in names}
        assert set(backend.manifest.dataset.native) <= can_be_set

    def test_those_of_kohya(self) -> None:
        own = registry.get("kohya").manifest.dataset
        assert own.with_native({"enable_wildcard": True}).caption_lines == "each"
        assert not own.with_native({"bucket_no_upscale": True}).enlarges


class TestWords:
    @pytest.mark.parametrize(
        ("text", "word", "there"),
        [
            ("desks, two desks", "sks", False), ("a desk, sks", "sks", True), ("SKS toy", "sks", True), ("sks", "sks", True),
            ("sks2 toy", "sks", False), ("sks_toy", "sks", True), ("<sks>, x", "<sks>", True), ("ohwx  man", "ohwx man", True),
            ("ohwx manor", "ohwx man", False), ("\u53ef\u7231\u732b\u5a18\u5750", "\u732b\u5a18", True),
            ("\u732bsks", "sks", True), ("", "sks", False), ("caf\u00e9s", "caf\u00e9", False),
        ],
    )  # fmt: skip
    def test_a_trigger_is_found_as_a_word(self, text: str, word: str, there: bool) -> None:
        assert caption_text.has_word(text, word) is there

    @given(st.text(max_size=60), st.text(min_size=1, max_size=8))
    def test_a_word_is_found_at_both_ends_and_alone(self, text: str, word: str) -> None:
        if word.split():
            assert caption_text.has_word(word, word)
            assert caption_text.has_word(f"{text}, {word}, {text}", word)

    @given(st.text(max_size=200), st.integers(0, 30), st.sampled_from(["clip", "words"]))
    def test_what_is_lost_is_the_end(self, text: str, limit: int, tokenizer: caption_text.Tokenizer) -> None:
        lost = caption_text.beyond(text, tokenizer, limit)
        assert bool(lost) == (caption_text.tokens(text, tokenizer) > limit)
        assert caption_text.tokens(lost, tokenizer) <= caption_text.tokens(text, tokenizer)
        if text.isascii() and "&" not in text:
            assert text.rstrip().endswith(lost)

    def test_a_trigger_must_be_in_each_line(self) -> None:
        assert caption_text.has_trigger("sks a\nsks b", "sks")
        assert not caption_text.has_trigger("sks a\nb", "sks")
        assert caption_text.has_trigger("a\nb", "sks", ["photo of sks"])
