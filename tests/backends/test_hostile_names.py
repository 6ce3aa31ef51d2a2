"""Captions, prompts and file names can contain any words: they must not decide why a run failed, nor that it did."""

from __future__ import annotations

import pytest

from tests.support.failures import SHARING, TABLES, Log
from trainer_core.engines import diagnosis
from trainer_core.engines.log_lines import masked

SAID = [
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "torch.OutOfMemoryError: CUDA out of memory.",
    "No space left on device",
    "Killed",
    "KeyboardInterrupt",
    "Traceback (most recent call last):",
    "avr_loss=nan step_loss=nan",
    "No data found. Please verify",
    "Segmentation fault",
    "GPU has fallen off the bus",
    "Cannot access gated repo",
    "MemoryError",
]
SUCCESSES = {"kohya": "ok_sd15", "musubi": "ok_qwen_image", "simpletuner": "ok_4"}
INFO = "                    INFO     prompt: {}   train_util.py:6542"
ST = "\x1b[0m[RANK 0] \x1b[32m2026-11-20 14:53:25,361 [INFO] Precomputing the negative prompt embed for validations: {}\x1b[0m"
BAR = "steps: 100%|██████████| 8/8 [00:09<00:00,  1.16s/it, avr_loss=1.02]"


def placed(text: str) -> list[list[str]]:
    """Places of a log where an engine prints a text of the user."""
    return [
        [INFO.format(text)],
        ["                    INFO     [Dataset 0]", f"                                 class_tokens: {text}"],
        [f'                                 image_dir: "/home/user/{text}"'],
        [ST.format(text)],
        [f"[RANK 0] 2026-11-20 14:53:24,905 [INFO] (id=photos) captions: ['{text}', 'a dog']"],
        [f"2026-11-20 14:43:33 WARNING  a caption is long: {text}   train_util.py:100"],
        [f"/venv/a.py:9: UserWarning: {text}"],
        [f"caching: {text}.png:   0%|          | 0/12 [00:00<?, ?it/s]"],
        [f"saving checkpoint: /home/user/{text}/output/a.safetensors"],
        [f"Item 0: /home/user/1-a.png, prompt: {text}, control images: None"],
        [f"INFO:musubi_tuner.training.trainer_base:prompt: {text}"],
        [f"INFO:__main__:cache Text Encoder outputs for prompt: {text} with image: None"],
    ]


@pytest.mark.parametrize("text", SAID)
@pytest.mark.parametrize("engine", SHARING)
@pytest.mark.parametrize("before", [True, False])
def test_no_text_of_the_user_makes_a_success_a_failure(engine, text, before):
    own = Log(engine, SUCCESSES[engine]).lines
    for lines in placed(text):
        log = [*lines, *own] if before else [*own, *lines]
        assert diagnosis.explain(log, TABLES[engine], 0) is None, lines
        if not text.startswith("Traceback"):
            assert diagnosis.explain(log, TABLES[engine], None) is None, lines


@pytest.mark.parametrize("text", SAID)
@pytest.mark.parametrize("engine", SHARING)
def test_no_text_of_the_user_explains_another_failure(engine, text):
    error = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "OddError: y"]
    for lines in placed(text):
        for log in ([BAR, *lines, *error], [BAR, *error, *lines]):
            found = diagnosis.explain(log, TABLES[engine], 1)
            assert found is not None
            assert (found.id, found.line) == ("unknown", "OddError: y"), lines


@pytest.mark.parametrize("text", [text for text in SAID if "/" not in text])
@pytest.mark.parametrize("engine", SHARING)
def test_the_name_of_a_broken_image_does_not_hide_that_it_is_broken(engine, text):
    for says in (
        f"PIL.UnidentifiedImageError: cannot identify image file '/home/user/data/{text}.png'",
        f'PIL.UnidentifiedImageError: cannot identify image file "/home/user/{text}/1.jpg"',
    ):
        log = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', says]
        found = diagnosis.explain(log, TABLES[engine], 1)
        assert found is not None
        assert found.id == "image-broken"


def test_an_empty_caption_file_with_a_hostile_name_is_an_empty_caption_file():
    lines = Log("kohya", "caption-empty").lines
    log = [line.replace("blobbert01.txt", "CUDA out of memory.txt") for line in lines]
    found = diagnosis.explain(log, TABLES["kohya"], 1)
    assert found is not None
    assert found.id == "caption-empty"


def test_a_quoted_caption_in_an_error_is_no_cause():
    for quote in ("'", '"', "`"):
        log = [f"ValueError: the prompt {quote}torch says CUDA out of memory now{quote} is too long"]
        found = diagnosis.explain(log, TABLES["kohya"], 1)
        assert found is not None
        assert found.id == "unknown"


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("No module named 'lycoris.kohya'", "No module named 'lycoris.kohya'"),
        ("cannot identify image file '/a b/c d.png'", "cannot identify image file '<text>'"),
        ("x: /home/me/No space left on device.txt not found", "x: <file> not found"),
        ("couldn't connect to 'https://huggingface.co'", "couldn't connect to 'https://huggingface.co'"),
    ],
)
def test_names_are_masked_and_words_are_not(line, seen):
    assert masked(line) == seen
