"""Adds samples and validation losses to a run that has ended, as an engine with several prompts leaves them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from PIL import Image, ImageDraw, ImageFilter

from trainer_core import events
from trainer_core.events import Sample
from trainer_core.training.run import Run


def add_samples(run: Run, steps: Iterable[int], prompts: int, size: tuple[int, int] = (256, 256)) -> None:
    """A sample of each prompt at each step; those of each step have another colour."""
    folder = run.folder.output / "sample"
    folder.mkdir(exist_ok=True)
    rows = []
    for number, step in enumerate(steps):
        for prompt in range(prompts):
            image = Image.new("RGB", size, f"hsl({(number * 47 + prompt * 90) % 360}, 45%, 55%)")
            ImageDraw.Draw(image).ellipse((60, 60, 196, 196), fill=f"hsl({prompt * 60}, 60%, 30%)")
            path = folder / f"made_{step:06d}_{prompt:02d}_7.png"
            image.save(path)
            rows.append(Sample(path.relative_to(run.folder.path).as_posix(), step, prompt))
    add_events(run, (events.to_dict(row) for row in rows))


def add_drawn(run: Run, steps: Iterable[int], prompts: int) -> None:
    """Samples that look like a figure which becomes sharper, for screenshots."""
    folder = run.folder.output / "sample"
    folder.mkdir(exist_ok=True)
    rows, known = [], list(steps)
    for number, step in enumerate(known):
        for prompt in range(prompts):
            image = Image.new("RGB", (512, 512), f"hsl({(40 + prompt * 80) % 360}, 30%, {35 + prompt * 12}%)")
            drawn = ImageDraw.Draw(image)
            drawn.ellipse((96, 330, 416, 720), fill=f"hsl({(190 + prompt * 30) % 360}, 45%, 32%)")
            drawn.ellipse((150, 90, 362, 350), fill="#8a3b22")
            drawn.ellipse((180, 140, 332, 330), fill="#e8b59a")
            image = image.filter(ImageFilter.GaussianBlur((len(known) - 1 - number) * 4 + 1))
            path = folder / f"drawn_{step:06d}_{prompt:02d}_7.png"
            image.save(path)
            rows.append(Sample(path.relative_to(run.folder.path).as_posix(), step, prompt))
    add_events(run, (events.to_dict(row) for row in rows))


def add_validation(run: Run, losses: Mapping[int, float]) -> None:
    """A validation loss at each of these steps."""
    add_events(run, ({"kind": "validation", "step": step, "loss": loss} for step, loss in losses.items()))


def add_events(run: Run, rows: Iterable[Mapping[str, object]]) -> None:
    """More lines in the events of a run."""
    with run.folder.events.open("a") as file:
        file.writelines(json.dumps({"time": 1.0, **row}) + "\n" for row in rows)
