"""Asks a captioner on this machine about images: a model of transformers in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer_core.captioning import answers, captioners, weights, workers
from trainer_core.captioning.questions import Asked, Settings
from trainer_core.captioning.storage import Caption
from trainer_core.captioning.templates import Template
from trainer_core.datasets.images import formats
from trainer_core.install import tool_environments
from trainer_core.jobs import own_program
from trainer_core.text import printable


def answers_of(settings: Settings, row: Template, wanted: list[Asked]) -> Iterator[tuple[Asked, Caption | str]]:
    """The caption of each image, or why there is none, as they come.

    Raises:
        EaselError: the captioner is not there, or cannot be used.
    """
    captioner = captioners.get(settings.model)
    found = weights.required(captioner.id, captioner.title, captioner.files, settings.folder)
    python = tool_environments.interpreter(captioners.ENVIRONMENT)
    own_program.report("Loading the model")
    task = {
        "model": str(found.folder.absolute()),
        "loader": captioner.loader,
        "form": captioner.form,
        "task": captioner.task,
        "system": captioner.system,
        "most_tokens": row.most_tokens,
        "formats": list(formats()),
        "questions": {each.sha256: each.question for each in wanted},
    }
    by_hash = {each.sha256: each for each in wanted}
    images = [(each.sha256, str(Path(settings.dataset) / each.path)) for each in wanted]
    for line in workers.run(python, "caption.py", task, images, own_program.report):
        if line["said"] == "ready":
            own_program.report("Captioning")
            own_program.report(f"Running on {printable(str(line.get('device')), 100)}.")
        elif line["said"] == "error":
            yield by_hash[str(line["id"])], printable(str(line.get("reason", "")), 500)
        else:
            caption = answers.judged(
                str(line.get("text", "")),
                str(line.get("finish_reason", "stop")),
                forbids_style=row.forbids_style,
                english=settings.english,
                model=settings.author,
            )
            yield by_hash[str(line["id"])], caption
