"""Every setting of a training plan, declared once: type, default, bounds, title, unit, and a docstring that becomes its tooltip.

Controls, command line options, profile keys and docs are derived from these classes. A docstring has at most two
sentences, effect before mechanism.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict


def unit(name: str) -> JsonDict:
    """Extra schema data that names the unit a number is in, for labels."""
    return {"unit": name}


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
    )


class ModelSettings(Section):
    """Which base model is trained on."""

    path: Annotated[str, Field(title="Base model")] = ""
    """The checkpoint file or diffusers folder the LoRA is trained on."""
    family: Annotated[str, Field(title="Family")] = ""
    """The model's architecture as an Easel family id; empty means as the file says."""
    prediction: Annotated[Literal["", "epsilon", "v_prediction", "flow"], Field(title="Prediction")] = ""
    """What the model was trained to predict; empty means as the file says. Wrong prediction gives noise."""
    vae: Annotated[str, Field(title="VAE")] = ""
    """A VAE file to use in place of the one inside the model."""
    clip_skip: Annotated[int, Field(title="Clip skip", ge=1, le=12)] = 1
    """Which layer from the end of the text encoder is used. 2 for most anime models on SD1.5, else 1."""


class DatasetSettings(Section):
    """Which pictures are trained, and how they are read."""

    path: Annotated[str, Field(title="Dataset")] = ""
    """The folder that holds the pictures and their caption files. It is only read, never written to."""
    trigger: Annotated[str, Field(title="Trigger word")] = ""
    """The word that calls the trained subject. A picture without a caption gets this as its caption."""
    repeats: Annotated[int, Field(title="Repeats", ge=1, le=1000)] = 1
    """How often each picture is shown in one epoch."""
    resolution: Annotated[int, Field(title="Resolution", ge=64, le=4096, json_schema_extra=unit("px"))] = 512
    """The side of the square whose area the pictures are scaled to."""
    bucketing: Annotated[bool, Field(title="Aspect buckets")] = True
    """Keeps each picture's shape by sorting pictures into buckets; off crops everything square."""
    bucket_step: Annotated[int, Field(title="Bucket step", ge=8, le=256, json_schema_extra=unit("px"))] = 64
    """The sides of the buckets are multiples of this."""
    caption_extension: Annotated[str, Field(title="Caption extension", pattern=r"^\.[A-Za-z0-9_]{1,12}$")] = ".txt"
    """The ending of the caption files that lie beside the pictures."""
    shuffle_captions: Annotated[bool, Field(title="Shuffle tags")] = False
    """Mixes the comma-separated tags of a caption at each step, all but the kept ones."""
    keep_tokens: Annotated[int, Field(title="Keep tags", ge=0, le=75)] = 0
    """How many tags at the front of a caption stay in place when tags are shuffled."""
    caption_dropout: Annotated[float, Field(title="Caption dropout", ge=0, le=1)] = 0.0
    """The share of steps in which the caption is left out."""
    flip: Annotated[bool, Field(title="Random mirror")] = False
    """Mirrors pictures at random. Wrong for anything with a left and a right side."""


class NetworkSettings(Section):
    """The LoRA itself."""

    algorithm: Annotated[Literal["lora"], Field(title="Algorithm")] = "lora"
    """The kind of adapter that is trained."""
    rank: Annotated[int, Field(title="Rank", ge=1, le=1024)] = 16
    """The size of the LoRA: more can hold more detail and makes a larger file."""
    alpha: Annotated[float, Field(title="Alpha", gt=0, le=1024)] = 8.0
    """Scales what is learnt by alpha / rank; it acts like a factor on the learning rate."""
    train_text_encoder: Annotated[bool, Field(title="Train text encoder")] = False
    """Trains the text encoder too. Helps a new word, costs memory, overfits sooner."""


class OptimizerSettings(Section):
    """How the weights are moved."""

    name: Annotated[Literal["AdamW", "AdamW8bit", "Adafactor", "Prodigy", "Lion"], Field(title="Optimizer")] = "AdamW"
    """The rule that turns gradients into steps."""
    learning_rate: Annotated[float, Field(title="Learning rate", gt=0, le=10)] = 1e-4
    """How far each step moves the LoRA. Prodigy finds its own: give it 1."""
    text_encoder_learning_rate: Annotated[float, Field(title="Text encoder learning rate", ge=0, le=10)] = 5e-5
    """The same for the text encoder, when it is trained."""
    weight_decay: Annotated[float, Field(title="Weight decay", ge=0, le=10)] = 0.01
    """Pulls weights towards zero at each step."""
    max_grad_norm: Annotated[float, Field(title="Gradient clipping", ge=0, le=100)] = 1.0
    """Longer gradients are shortened to this; 0 turns it off."""


class ScheduleSettings(Section):
    """How long, in what portions, and with what learning rate curve."""

    steps: Annotated[int, Field(title="Steps", ge=1, le=1_000_000)] = 1000
    """How many optimizer steps are made."""
    batch_size: Annotated[int, Field(title="Batch size", ge=1, le=256)] = 1
    """How many pictures are shown to the model at once."""
    gradient_accumulation: Annotated[int, Field(title="Gradient accumulation", ge=1, le=1024)] = 1
    """How many batches are added up for one optimizer step."""
    scheduler: Annotated[
        Literal["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"],
        Field(title="Scheduler"),
    ] = "cosine"
    """The curve of the learning rate over the steps."""
    restarts: Annotated[int, Field(title="Restarts", ge=1, le=100)] = 1
    """How many times cosine_with_restarts starts anew."""
    warmup_steps: Annotated[int, Field(title="Warm-up", ge=0, le=1_000_000, json_schema_extra=unit("steps"))] = 0
    """Over how many steps the learning rate rises from zero."""
    min_snr_gamma: Annotated[float, Field(title="Min-SNR gamma", ge=0, le=20)] = 0.0
    """Evens out easy and hard noise levels; 5 is usual, 0 turns it off."""
    noise_offset: Annotated[float, Field(title="Noise offset", ge=0, le=1)] = 0.0
    """Lets the model learn darker and brighter pictures; 0 turns it off."""
    seed: Annotated[int, Field(title="Seed", ge=0, le=2**31 - 1)] = 42
    """The start of every random choice: the same seed repeats a run as far as the engine can."""


class MemorySettings(Section):
    """What is traded for GPU memory."""

    mixed_precision: Annotated[Literal["no", "fp16", "bf16"], Field(title="Precision")] = "bf16"
    """The number format of the computation. bf16 from RTX 30 on, fp16 on older cards, no on a CPU."""
    gradient_checkpointing: Annotated[bool, Field(title="Gradient checkpointing")] = True
    """Saves much memory and costs about a third of the speed."""
    cache_latents: Annotated[bool, Field(title="Cache latents")] = True
    """Encodes every picture once at the start, so that the VAE can leave the GPU."""
    cache_text_encoder: Annotated[bool, Field(title="Cache text encoder")] = False
    """Encodes every caption once at the start. Not together with tag shuffling, caption dropout or text encoder training."""


class SamplingSettings(Section):
    """Pictures made during training."""

    every_steps: Annotated[int, Field(title="Sample every", ge=0, le=1_000_000, json_schema_extra=unit("steps"))] = 0
    """Makes a sample picture each time this many steps have passed; 0 makes none."""
    at_start: Annotated[bool, Field(title="Sample before training")] = False
    """Makes one sample picture before the first step, to compare the others with. Only when samples are made at all."""
    prompt: Annotated[str, Field(title="Sample prompt")] = "{trigger}, portrait, high quality"
    """The prompt of the samples; {trigger} stands for the trigger word."""
    negative_prompt: Annotated[str, Field(title="Negative prompt")] = ""
    """What the samples should not show."""
    width: Annotated[int, Field(title="Sample width", ge=64, le=4096, json_schema_extra=unit("px"))] = 512
    """The width of the samples."""
    height: Annotated[int, Field(title="Sample height", ge=64, le=4096, json_schema_extra=unit("px"))] = 512
    """The height of the samples."""
    inference_steps: Annotated[int, Field(title="Sampler steps", ge=1, le=150)] = 20
    """How many denoising steps a sample takes."""
    guidance: Annotated[float, Field(title="Guidance", ge=0, le=50)] = 7.0
    """How closely a sample follows its prompt."""
    seed: Annotated[int, Field(title="Sample seed", ge=0, le=2**31 - 1)] = 42
    """The same seed makes samples comparable over the run."""


class OutputSettings(Section):
    """What is written, where, and under which name."""

    name: Annotated[str, Field(title="Name")] = ""
    """The name of the LoRA; its file is prefix + name + .safetensors."""
    prefix: Annotated[str, Field(title="Prefix")] = ""
    """Put before the name, for example cg_."""
    folder: Annotated[str, Field(title="Output folder")] = ""
    """Where the finished LoRA goes; empty means Easel's own outputs folder."""
    copy_to: Annotated[str, Field(title="Also copy to")] = ""
    """A ComfyUI or Forge LoRA folder that gets a copy of the finished LoRA."""
    save_every_steps: Annotated[int, Field(title="Save every", ge=0, le=1_000_000, json_schema_extra=unit("steps"))] = 0
    """Keeps a LoRA of each time this many steps have passed; 0 keeps only the last."""
    save_precision: Annotated[Literal["fp16", "bf16", "float"], Field(title="File precision")] = "fp16"
    """The number format inside the file."""


class TrainingPlan(Section):
    """A complete, checked set of values: what an engine is asked to do."""

    model: ModelSettings = ModelSettings()
    dataset: DatasetSettings = DatasetSettings()
    network: NetworkSettings = NetworkSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    memory: MemorySettings = MemorySettings()
    sampling: SamplingSettings = SamplingSettings()
    output: OutputSettings = OutputSettings()
    native: dict[str, dict[str, Any]] = {}
    """Settings in an engine's own words, by engine id; each is checked against that engine's recorded schema."""

    @property
    def output_stem(self) -> str:
        """The file name of the finished LoRA without its ending."""
        return self.output.prefix + self.output.name
