"""The OpenAPI description of the routes, made from the same table that they are served from.

Source: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import trainer_core
from trainer_core.remote.serve import receiver
from trainer_core.remote.serve.shapes import Failure, Received
from trainer_core.remote.serve.table import COMMON, OPERATIONS, Operation

_MEANS = {
    200: "Done.",
    201: "Saved.",
    304: "Nothing has changed.",
    400: "The request cannot be used.",
    404: "It does not exist.",
    409: "Something else is there already.",
    412: "It has changed since it was read.",
    502: "The other service refused or failed.",
    504: "The other service did not answer in time.",
}
_REF = "#/components/schemas/{model}"


def description() -> dict[str, Any]:
    """The description as JSON data."""
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    for path in receiver.PATHS:
        paths[path] = {"post": _webhook(path)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Easel: remote training",
            "version": trainer_core.__version__,
            "description": "The API of the document LoRA Training System, on this machine only.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(each: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", each.path)
    ]
    parameters += [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in each.headers.items()
    ]
    answers: dict[int, tuple[str, type[BaseModel] | None]] = {
        status: (_MEANS[status], model) for status, model in each.answers.items()
    }
    made: dict[str, Any] = {
        "operationId": each.id,
        "summary": each.summary,
        "responses": _responses({**answers, **COMMON}),
    }
    if parameters:
        made["parameters"] = parameters
    if each.body is not None:
        made["requestBody"] = {"required": True, "content": _content(each.body)}
    return made


def _webhook(path: str) -> dict[str, Any]:
    text = "The body of the document, or RunPod's envelope around it. It only has Easel ask for the state of the job."
    return {
        "operationId": f"webhook{re.sub(r'[^a-z]+', '_', path)}",
        "summary": "Called by RunPod when a job has ended",
        "description": text,
        "security": [],
        "requestBody": {"content": {"application/json": {"schema": {}}}},
        "responses": _responses(
            {200: ("Received.", Received), 405: ("Not a POST.", Failure), 413: ("The body is too large.", Failure)}
        ),
    }


def _responses(answers: Mapping[int, tuple[str, type[BaseModel] | None]]) -> dict[str, Any]:
    return {
        str(status): {"description": text} | ({"content": _content(model)} if model is not None else {})
        for status, (text, model) in sorted(answers.items())
    }


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def _schemas() -> dict[str, Any]:
    sent = {each.body for each in OPERATIONS if each.body is not None}
    answered = {model for each in OPERATIONS for model in each.answers.values() if model is not None}
    both: dict[type[BaseModel], JsonSchemaMode] = dict.fromkeys({*answered, Failure, Received}, "serialization")
    both |= dict.fromkeys(sent, "validation")
    _, found = models_json_schema(sorted(both.items(), key=lambda each: each[0].__name__), ref_template=_REF)
    return dict(sorted(found["$defs"].items()))
