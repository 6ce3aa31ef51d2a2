"""The routes of the trainings of a style."""

from __future__ import annotations

from trainer_core.errors import RemoteError
from trainer_core.remote.serve.answers import Answer, failure
from trainer_core.remote.serve.asked import Asked
from trainer_core.remote.serve.shapes import NewVersion, Versions
from trainer_core.remote.styles import Styles, Version, checked_id


def training_versions(asked: Asked) -> Answer:
    """The trainings of a style, with the ETag of this state."""
    styles, style_id = asked.works_with.styles(), checked_id(asked.parameters["id"])
    rows, tag = styles.rows(style_id)
    known = [each.strip().removeprefix("W/") for each in asked.headers.get("if-none-match", "").split(",")]
    if f'"{tag}"' in known or known == ["*"]:
        return Answer(None, 304, _etag(tag))
    return Answer(Versions(versions=rows), headers=_etag(tag))


def save_training_version(asked: Asked) -> Answer:
    """Adds a training to those of a style; with the ETag in If-Match, also changes one that is there already."""
    styles, style_id = asked.works_with.styles(), checked_id(asked.parameters["id"])
    sent, wanted = asked.of(NewVersion), asked.headers.get("if-match", "").strip()
    version = Version(
        sent.id,
        sent.name,
        sent.timestamp,
        sent.parameters,
        sent.status,
        sent.lora_url or "",
        sent.selection_set_id,
        sent.image_count,
    )
    tag = "" if wanted in {"", "*"} else wanted.strip('"')
    try:
        styles.add_version(style_id, version, tag=tag)
    except RemoteError as error:
        if error.kind == "changed" and tag:
            return failure(412, error.message, error.hint, _etag(styles.rows(style_id)[1]))
        raise
    return _saved(styles, style_id)


def _saved(styles: Styles, style_id: str) -> Answer:
    rows, tag = styles.rows(style_id)
    return Answer(Versions(versions=rows), 201, _etag(tag))


def _etag(tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
