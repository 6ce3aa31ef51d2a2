"""What a job returns: exactly the objects of the document "LoRA Training System", and the record of it in the bucket.

RunPod takes `error` out of what a handler returns, and calls the job failed if there was one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.text import printable, without_secrets

RESULT, REQUEST, STOP = "result.json", "request.json", "stop"
"""The objects in the folder of a run: written last, written first, and written by who wants it to end."""
DOCUMENT = "document"
"""The entry of result.json that has what the caller gets."""
SUFFIX = ".safetensors"
LONGEST_ERROR = 2000
Answer = dict[str, Any]


def success(id: str, stem: str, url: str, size_bytes: int) -> Answer:  # noqa: A002 - the id of a run is called so everywhere
    """The answer for a LoRA that is in the bucket."""
    return {
        "status": "success",
        "job_id": id,
        "loraName": f"{stem}{SUFFIX}",
        "loraUrl": url,
        "model_info": {"size_bytes": size_bytes, "model_type": "lora"},
    }


def failure(id: str, why: str) -> Answer:  # noqa: A002 - as above
    """The answer for a job that made no LoRA."""
    return {"status": "failed", "job_id": id, "error": printable(without_secrets(why), LONGEST_ERROR)}


def of_error(error: EaselError) -> str:
    """The sentences of an error."""
    return str(error) or type(error).__name__


def of_diagnosis(found: Diagnosis | None, state: str) -> str:
    """Why a run ended without a result, as sentences."""
    if found is None:
        return {"CANCELLED": "The training was stopped.", "LOST": "The training was lost."}.get(
            state, "The training failed."
        )
    line = f' The log says: "{found.line}".' if found.line else ""
    return f"{found.cause}{line} {found.advice}".strip()


def recorded(answer: Answer, state: str, result: Mapping[str, Any] | None, notes: Sequence[str]) -> bytes:
    """The content of result.json: the result of the run, the answer, and sentences about what had no effect."""
    data = {"outputs": [], "notices": [], **(result or {}), "state": state, DOCUMENT: answer, "notes": list(notes)}
    return json.dumps(data, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
