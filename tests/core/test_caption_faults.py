"""Text that was not meant to be trained is found in captions, and a plain caption is left alone."""

import time

import pytest

from tests.support import defect_corpus
from trainer_core.curation import caption_faults

WRONG = {
    "refusal": "I'm sorry, but I can't help with that image.",
    "thinking": "<think>The user wants a caption</think> a cat",
    "json": '{"caption": "a cat"}',
    "network": "sks, <lora:elena:0.8>, red dress",
    "markup": "sks, a <b>red</b> dress",
    "address": "sks, see https://example.org/a.png",
    "handle": "sks, red dress, @some_artist",
    "loop": "a cat sits. The cat is black. The cat is black. The cat is black. ",
    "filler": "The image shows a cat on a mat.",
    "repeat": "sks, red dress, smile, Red dress",
    "empty_tag": "sks, , red dress",
    "wide_comma": "sks\uff0cred dress",
}


@pytest.mark.parametrize("key", caption_faults.FAULTS)
def test_each_fault_is_found(key):
    assert key in caption_faults.faults(WRONG[key])


@pytest.mark.parametrize(
    "caption",
    [
        *defect_corpus.TEXTS,
        "sks, 1girl, :d, ^_^, >_<, <3, rating: general, 16:9, fate/stay night, \\(series\\)",
        "A woman holds an image of a cat. She can't help but smile & laugh.",
        "an email address, me@example.org, is on the sign",
        "a photo frame, a photo booth, big red dog, small red dog",
        "",
    ],
)
def test_plain_captions_are_left_alone(caption):
    assert caption_faults.faults(caption) == {}


@pytest.mark.parametrize(
    "text", ["<" * 50_000, "," * 50_000, "a " * 50_000, "I am sorry " * 9000, "{'" * 50_000, "@a" * 50_000]
)
def test_a_long_caption_takes_no_long_time(text):
    start = time.process_time()
    caption_faults.faults(text)
    assert time.process_time() - start < 1


def test_faults_are_given_by_image():
    assert caption_faults.of([("a.png", "sks"), ("b.png", WRONG["json"])]) == {"b.png": {"json": '{"caption":'}}
