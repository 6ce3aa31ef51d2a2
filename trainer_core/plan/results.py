"""The settings of what a run makes (sample images, and its result) and of what Easel does if it ends too early. See `sections` for how settings are declared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trainer_core.plan.prompts import MOST_PROMPTS, OWN, EffectivePrompt, SamplePrompt, as_tables, filled
from trainer_core.plan.section import CHECKPOINTS, PIXELS, STEPS, Section
from trainer_core.plan.setting import Setting

SIDE = Setting(is_side=True)
"""A side of the samples."""


class SamplingSettings(Section):
    """Sample images made during training."""

    every_steps: Annotated[
        int,
        Field(title="Sample every", ge=0, le=1_000_000, json_schema_extra=STEPS),
        Setting(epochs="--sample-every-epochs"),
    ] = 0
    """Makes a sample image every this many steps; 0 makes none."""
    at_start: Annotated[bool, Field(title="Sample before training")] = False
    """Also makes a sample image before the first step, for comparison. Only if samples are made during training."""
    prompt: Annotated[str, Field(title="Sample prompt"), Setting(owner="recipe", prompt=True)] = (
        "{trigger}, portrait, high quality"
    )
    """The prompt of the samples, if there is only one; {trigger} is replaced by the trigger word."""
    prompts: Annotated[
        tuple[SamplePrompt, ...],
        BeforeValidator(as_tables),
        Field(title="Sample prompts", max_length=MOST_PROMPTS),
        Setting(owner="recipe", prompt=True, replaces="sampling.prompt"),
    ] = ()
    """Several prompts, each of which makes its own sample. What a prompt does not set is taken from the other sample settings."""
    negative_prompt: Annotated[str, Field(title="Negative prompt"), Setting(owner="recipe", prompt=True)] = ""
    """What the samples should not show; {trigger} is replaced by the trigger word."""
    width: Annotated[int, Field(title="Sample width", ge=64, le=4096, json_schema_extra=PIXELS), SIDE] = 512
    """The width of the samples."""
    height: Annotated[int, Field(title="Sample height", ge=64, le=4096, json_schema_extra=PIXELS), SIDE] = 512
    """The height of the samples."""
    inference_steps: Annotated[int, Field(title="Sampler steps", ge=1, le=150)] = 20
    """How many denoising steps a sample takes."""
    guidance: Annotated[float, Field(title="Guidance", ge=0, le=50)] = 7.0
    """How closely a sample follows its prompt."""
    seed: Annotated[int, Field(title="Sample seed", ge=0, le=2**31 - 1)] = 42
    """The seed of the samples. The same seed makes samples of a run comparable."""

    def effective(self, trigger: str) -> tuple[EffectivePrompt, ...]:
        """The prompts as an engine gets them: `prompts`, or else the one `prompt`."""
        given = self.prompts or (SamplePrompt(text=self.prompt),)
        shared = {name: getattr(self, name) for name in OWN}
        return tuple(filled(index, each, shared, trigger) for index, each in enumerate(given))


class OutputSettings(Section):
    """The result: its name, its folder, and the copies saved during training."""

    name: Annotated[str, Field(title="Name"), Setting(done_by_easel=True, option="--name")] = ""
    """The name of the result; its file is prefix + name + .safetensors."""
    prefix: Annotated[str, Field(title="Prefix"), Setting(done_by_easel=True)] = ""
    """Text before the name, such as cg_."""
    folder: Annotated[
        str,
        Field(title="Output folder"),
        Setting(path="folder", written=True, done_by_easel=True, empty="Easel's outputs folder", option="--output"),
    ] = ""
    """The folder for the finished file; empty means Easel's outputs folder."""
    copy_to: Annotated[str, Field(title="Also copy to"), Setting(path="folder", written=True, done_by_easel=True)] = ""
    """A LoRA folder of ComfyUI or Forge to which the finished LoRA is also copied."""
    mirror_to: Annotated[
        str,
        Field(title="Mirror to"),
        Setting(path="folder", written=True, done_by_easel=True, owner="job", option="--mirror-to"),
    ] = ""
    """A folder, such as one on Google Drive, or hf://OWNER/NAME on Hugging Face, to which checkpoints, samples and results are copied during the training. Nothing is deleted there."""
    save_every_steps: Annotated[
        int,
        Field(title="Save every", ge=0, le=1_000_000, json_schema_extra=STEPS),
        Setting(epochs="--save-every-epochs"),
    ] = 0
    """Saves a copy every this many steps; 0 saves only the last."""
    keep_last: Annotated[
        int,
        Field(title="Keep the last", ge=0, le=1000, json_schema_extra=CHECKPOINTS),
        Setting(owner="job", only_with="output.save_every_steps"),
    ] = 0
    """Keeps only this many of the newest checkpoints: with each new one the engine deletes the oldest, also one marked as the best. 0 keeps all; the finished result and copies that you took stay."""
    keep_states: Annotated[int, Field(title="Keep states", ge=0, le=100)] = 0
    """How many states are kept for resuming an interrupted run: the newest; 0 keeps none. A state has the weights and the optimizer."""
    save_precision: Annotated[
        Literal["fp16", "bf16", "float"],
        Field(title="File precision"),
        Setting(policy="value", titles={"float": "fp32"}),
    ] = "fp16"
    """The number format of the weights in the file."""


class GuardSettings(Section):
    """What Easel does by itself when a run ends too early; all of it is off unless you turn it on."""

    cheaper_after_oom: Annotated[
        bool, Field(title="After out of memory, start again with less"), Setting(owner="job", done_by_easel=True)
    ] = False
    """Starts a run that ran out of memory again with the next change that needs less, with the same effective batch size; at most three times."""
    back_after_nan: Annotated[
        bool, Field(title="After NaN, go back and halve the rate"), Setting(owner="job", done_by_easel=True)
    ] = False
    """Continues a run whose loss became NaN from its last good state with half the learning rate; once."""
    resume_after_shutdown: Annotated[
        bool, Field(title="After a shutdown, resume"), Setting(owner="job", done_by_easel=True)
    ] = False
    """Resumes a run that was ended by a shutdown of the machine from its newest state, when Easel is next used."""
