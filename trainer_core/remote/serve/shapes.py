"""What the routes take and answer, as checked types. The names are those of the documents; an unknown one is refused.

Source: the documents "LoRA Training System" (versions, parameters, webhook) and "LoRA Training Module" (the answer of a start). The
documents do not show the body of `POST /api/training/start`, nor the answers about ngrok: those are Easel's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Text = Annotated[str, Field(min_length=1, max_length=200)]
Address = Annotated[str, Field(min_length=1, max_length=4000)]


class Body(BaseModel):
    """What callers send: every key must be known, and of the right type."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, allow_inf_nan=False)


class Parameters(BaseModel):
    """Settings of a training. What is left out follows the number of images."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    network_dim: Annotated[int, Field(ge=1, le=2048)] | None = None
    network_alpha: Annotated[float, Field(gt=0)] | None = Field(None, description="The same as network_dim.")
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    max_train_steps: Annotated[int, Field(ge=1)] | None = Field(None, description="Optimizer steps.")
    class_tokens: Text | None = Field(None, description="The trigger token.")

    @model_validator(mode="after")
    def _alpha_is_dim(self) -> Parameters:
        if self.network_alpha is not None and self.network_alpha != self.network_dim:
            raise ValueError("network_alpha must be the same as network_dim. For other values, send a whole `input`.")
        return self


class Start(Body):
    """A training to start: a style or an actor with its images, or the whole request of the document under `input`."""

    style_id: Text | None = None
    actor_id: Text | None = None
    selection_set_id: int | None = Field(None, description="The images of this selection set of the style.")
    captions: bool = Field(True, description="Whether each image of the selection set has a caption file beside it.")
    image_urls: Annotated[list[Address], Field(min_length=1, max_length=20000)] | None = Field(
        None, description="Images, and their captions if each has one, as addresses in a bucket."
    )
    version_name: Text | None = Field(None, description="The name of the training in the list of versions.")
    model_name: Text | None = None
    parameters: Parameters = Field(default_factory=lambda: Parameters.model_validate({}))
    preset: Annotated[str, Field(max_length=100)] = Field("", description='Such as "style-002".')
    user_id: Text = "easel"
    tenant_id: Text = "easel"
    input: dict[str, Any] | None = Field(None, description="workflow, training_data and training_config.")
    webhook: Address | None = Field(
        None, description="The address that RunPod calls. Else the public address that is set."
    )

    @model_validator(mode="after")
    def _is_one_training(self) -> Start:
        subjects = [each for each in (self.style_id, self.actor_id) if each is not None]
        if self.input is not None:
            if extra := self.model_fields_set - {"input", "webhook"}:
                names = ", ".join(sorted(map(to_camel, extra)))
                raise ValueError(f"With `input`, only `webhook` can be given, and not {names}.")
            return self
        if len(subjects) != 1:
            raise ValueError("Give `styleId`, or `actorId`, or `input`.")
        if (self.image_urls is None) == (self.selection_set_id is None):
            raise ValueError("Give either `imageUrls` or `selectionSetId`.")
        if self.selection_set_id is not None and self.style_id is None:
            raise ValueError("Only a style has selection sets: give `imageUrls`.")
        return self


class NewVersion(Body):
    """A training of a style, as `training_versions.json` has it."""

    id: Text
    name: Text
    timestamp: Text
    parameters: dict[str, Any]
    status: Literal["pending", "training", "completed", "failed"] = "pending"
    lora_url: Address | None = None
    selection_set_id: int | None = None
    image_count: Annotated[int, Field(ge=0)] | None = None


class Started(BaseModel):
    """The answer of the document "LoRA Training Module"; `job_id` is the id of the request, `runpod_job_id` that of RunPod."""

    status: Literal["started"]
    job_id: str
    runpod_job_id: str
    user_id: str
    tenant_id: str
    training_type: str
    model_name: str
    message: str
    webhook_url: str | None
    warning: str | None = Field(None, description="What went wrong after the start.")


class Versions(BaseModel):
    """The trainings of a style. Keys that other programs have added are there, too."""

    versions: list[dict[str, Any]]


class Ngrok(BaseModel):
    """The public address of the receiver. `running`: whether calls can arrive there."""

    running: bool
    url: str | None
    state: Literal["off", "starting", "running", "failed", "given"]
    message: str


class Received(BaseModel):
    """The answer to every call that may be one, whatever it is about."""

    received: Literal[True] = True


class Failure(BaseModel):
    """What happened, and what to do."""

    status: Literal["failed"] = "failed"
    error: str
    advice: str = ""
