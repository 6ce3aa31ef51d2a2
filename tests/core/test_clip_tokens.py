"""Tokens are counted exactly where CLIP's vocabulary is on the machine, and never too many elsewhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from trainer_core import places
from trainer_core.datasets import caption_text, clip
from trainer_core.install import environments
from trainer_core.prepare.workbench import Workbench

TEXTS = (
    "a photo of elena woman, masterpiece, best quality, 1girl, long_hair, (red:1.3), \\(series\\), it's, don't, x-ray, 8k",
    "supercalifragilistic antidisestablishmentarianism, Kirschblüten-Träume, caf\u00e9, nai\u0308ve, \u00bd, \u2163, #tag, @_@ :3 ...",
    "русский текст, ελληνικά, 1,234.56 &amp; &lt;lora:x:1&gt;, “quoted” \u2014 \u2026, \U0001f642",
)
# Prints the numbers of tokens that transformers' own tokenizer makes, without its start and end.
PROBE = """
import json, sys
from transformers import CLIPTokenizer
tokenizer = CLIPTokenizer.from_pretrained(sys.argv[1])
print("PROBE " + json.dumps([len(tokenizer(text, add_special_tokens=False).input_ids) for text in json.loads(sys.argv[2])]))
"""


def made_up(folder: Path, words: tuple[str, ...]) -> Path:
    """A merges.txt with enough merges, of which the first make these words single tokens."""
    lines = []
    for word in words:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        lines += [f"{''.join(parts[:end])} {parts[end]}" for end in range(1, len(parts))]
    lines += [f"\u0100{number} \u0101" for number in range(clip.FEWEST_MERGES)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder / "merges.txt"


def test_a_word_is_as_many_tokens_as_the_merges_leave(tmp_path: Path) -> None:
    merges = clip.load([tmp_path / "absent", made_up(tmp_path, ("cat", "aaaa"))])
    assert merges is not None
    assert [merges.count(word) for word in ("cat", "CAT", "cats", "dog", "\u00e9", "aaaa", "7")] == [
        1,
        1,
        3,
        3,
        2,
        1,
        1,
    ]
    assert caption_text.tokens("a cat, cats", "clip", merges.count) == 6


@pytest.mark.parametrize("content", [b"", b"#version: 0.2\na b\n", b"\xff\xfe", b"x" * 5_000_000])
def test_another_file_is_no_vocabulary(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "merges.txt").write_bytes(content)
    assert clip.load([tmp_path / "merges.txt", tmp_path]) is None


@pytest.mark.parametrize("place", ["easel", "hub"])
def test_a_job_counts_with_the_vocabulary_of_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (folder := tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64)).save(folder / "a.png")
    (folder / "a.txt").write_text("dog " * 30)  # 30 words, and 90 tokens without merges for it
    bench = Workbench()
    bench.set({"dataset.path": str(folder), "model.family": "sdxl"})
    path = "dataset.caption_tokens"
    assert not [problem for problem in bench.problems if problem.path == path]
    where = {
        "easel": places.models() / "tokenizers" / "openai_clip-vit-large-patch14",
        "hub": tmp_path / "hf/hub/models--openai--clip-vit-large-patch14/snapshots/0123",
    }
    made_up(where[place], ("cat",))
    bench.set({"dataset.path": str(folder)})
    (problem,) = [problem for problem in bench.problems if problem.path == path]
    assert "reads: 1 of 1. " in problem.message
    assert 'does not read this end of the caption of a.png: "dog dog dog dog dog".' in problem.message
    assert problem.fix is not None
    assert problem.fix.changes == {path: 150}


@pytest.mark.backend
def test_it_counts_what_transformers_counts() -> None:
    engine, folder = environments.installed("kohya"), places.models() / "tokenizers" / "openai_clip-vit-large-patch14"
    merges = clip.load([folder / "merges.txt"])
    if engine is None or merges is None:
        pytest.skip("sd-scripts or its tokenizer is not installed")
    command = [engine.python, "-c", PROBE, folder, json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("PROBE ")), "")
    assert json.loads(line.removeprefix("PROBE ")) == [
        caption_text.tokens(text, "clip", merges.count) for text in TEXTS
    ], done.stderr[-2000:]
