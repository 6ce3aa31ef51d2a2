"""Tokens are counted by the tokenizer of the model, or an estimate says that it is one; the tag that falls off is named."""

import json

import pytest

from trainer_core.curation import token_meter
from trainer_core.datasets import clip

LONG = ", ".join(f"tag{number}" for number in range(60))


@pytest.fixture
def words_file(tmp_path):
    pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
    words = ["<pad>", "</s>", "<unk>", "a", "cat", ",", "red", "hat"]
    post = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}  # fmt: skip
    table = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "decoder": None,
             "pre_tokenizer": {"type": "Whitespace"}, "post_processor": post,
             "model": {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(words)}, "unk_token": "<unk>"}}  # fmt: skip
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(table))
    return file


def test_a_tokenizer_of_the_model_counts_exactly(words_file):
    meter = token_meter.of_files("T5", [words_file.with_name("none.json"), words_file])
    assert meter.is_exact
    assert not token_meter.why_estimated(meter)
    assert meter.count("a cat, red hat") == 6
    found = token_meter.cut("a cat, red hat, a dog", meter, limit=7, chunk=512)
    assert (found.tokens, found.chunks, found.rest, found.tag) == (9, ("a cat, red hat",), "a dog", "a dog")


@pytest.mark.parametrize("text", ["", "{}", "[]", "\xff", '{"model": 3}'])
def test_a_damaged_tokenizer_gives_an_estimate(words_file, text):
    words_file.write_text(text, encoding="latin-1")
    meter = token_meter.of_files("T5", [words_file])
    assert not meter.is_exact
    assert "estimated" in token_meter.why_estimated(meter)
    assert meter.count("one two three four five six seven eight nine ten") == 13


def test_without_a_tokenizer_the_number_is_an_estimate_that_says_why():
    assert "estimated: at least" in token_meter.why_estimated(token_meter.of_clip([]))
    assert "estimated" in token_meter.why_estimated(token_meter.of_words())
    assert token_meter.of_words().count("") == 0


def test_chunks_end_where_the_encoder_ends_them_and_the_tag_that_falls_off_is_named():
    meter = token_meter.of_clip([])
    # Each tag is a word, one or two digits and a comma: three or four tokens at least.
    found = token_meter.cut(LONG, meter, limit=150)
    assert found.tokens == 10 * 3 + 50 * 4 - 1
    assert len(found.chunks) == 2
    assert found.tag == "tag40"
    assert found.chunks[0].startswith("tag0, tag1")
    assert LONG.startswith(found.chunks[0])
    assert found.rest.endswith("tag59")
    assert token_meter.cut("a cat", meter) == token_meter.Cut(2, ("a cat",))
    assert token_meter.cut("", meter) == token_meter.Cut(0, ())


def test_clip_is_counted_exactly_with_its_merges(tmp_path):
    file = tmp_path / "merges.txt"
    pairs = {f"{one} {other}" for one in clip.byte_symbols() for other in clip.byte_symbols()}
    file.write_text(
        "#version: 0.2\n" + "\n".join(["c a", "ca t</w>", *sorted(pairs)[:45_000]]) + "\n", encoding="utf-8"
    )
    meter = token_meter.of_clip([file])
    assert meter.is_exact
    assert meter.count("cat") == 1
