"""What a captioning asks: its settings, and the question about each image."""

from __future__ import annotations

from dataclasses import dataclass

from trainer_core.captioning import keys
from trainer_core.captioning.endpoint import READ_S


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked: with an `endpoint`, its `model`; without one, `model` is a local captioner, whose files may be in `folder`.

    `text` replaces the words of the `template`. {tags} are those of the `tagger` if one is named, else the captions that there
    are. `confirmed` is the host that the user allowed to get the images. The key is in the environment variable `key_variable`.
    """

    dataset: str
    model: str
    endpoint: str = ""
    template: str = "scene"
    text: str = ""
    trigger: str = ""
    name: str = ""
    tagger: str = ""
    tagger_folder: str = ""
    folder: str = ""
    images: tuple[str, ...] = ()
    extension: str = ".txt"
    confirmed: str = ""
    key_variable: str = keys.VARIABLE
    again: bool = False
    """Whether images are asked about although they have an answer to this question."""
    most_at_once: int = 4
    temperature: float = 0.2
    english: bool = True
    read_s: float = READ_S
    first_wait_s: float = 1.0

    @property
    def author(self) -> str:
        """Who wrote the captions, as an edit of the dataset records it."""
        return f"endpoint {self.model}" if self.endpoint else self.model


@dataclass(frozen=True)
class Asked:
    """What is asked about one image; `key` identifies the question and who is asked."""

    path: str
    sha256: str
    question: str
    key: str
