"""Every setting of a training plan, declared once: type, default, bounds, title, unit, and a docstring that becomes its tooltip.

Controls, command line options, profile keys and docs are derived from these classes. A docstring has at most two
sentences, effect before mechanism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from trainer_core import catalog

if TYPE_CHECKING:
    OptimizerName = str
    SchedulerName = str
    AlgorithmName = str
else:
    # The choices are the entries of the catalogue.
    OptimizerName = Literal[tuple(catalog.optimizers())]
    SchedulerName = Literal[tuple(catalog.schedulers())]
    AlgorithmName = Literal[tuple(catalog.algorithms())]


def unit(name: str) -> JsonDict:
    """Extra schema data that names the unit a number is in, for labels."""
    return {"unit": name}


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    # The docstrings of settings are read by `fields`: for each class, pydantic would look through every module of the kernel.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ModelSettings(Section):
    """Which base model is trained on."""

    path: Annotated[str, Field(title="Base model")] = ""
    """The checkpoint file or diffusers folder that is trained on."""
    method: Annotated[Literal["lora", "full", "dreambooth", "textual_inversion"], Field(title="Method")] = "lora"
    """What is trained: a small network beside the model, the model itself, or one new word for it."""
    family: Annotated[str, Field(title="Family")] = ""
    """The model's architecture as an Easel family id; empty means as the file says."""
    prediction: Annotated[Literal["", "epsilon", "v_prediction", "flow"], Field(title="Prediction")] = ""
    """What the model was trained to predict; empty means as the file says. Wrong prediction gives noise."""
    zero_terminal_snr: Annotated[bool | None, Field(title="Zero terminal SNR")] = None
    """Trains up to pure noise, as most v-prediction models were; empty means as the file says. Never for other models."""
    vae: Annotated[str, Field(title="VAE")] = ""
    """A VAE file to use in place of the one inside the model, or the one a model without it needs."""
    clip_l: Annotated[str, Field(title="CLIP-L")] = ""
    """The first text encoder, for models that come without it."""
    clip_g: Annotated[str, Field(title="CLIP-G")] = ""
    """The second text encoder of SD3, for models that come without it."""
    t5xxl: Annotated[str, Field(title="T5-XXL")] = ""
    """The large text encoder of SD3, FLUX and Chroma."""
    gemma2: Annotated[str, Field(title="Gemma 2")] = ""
    """The text encoder of Lumina Image 2."""
    qwen: Annotated[str, Field(title="Qwen")] = ""
    """The text encoder of HunyuanImage 2.1 (Qwen2.5-VL) and Anima (Qwen3)."""
    byt5: Annotated[str, Field(title="ByT5")] = ""
    """The second text encoder of HunyuanImage 2.1, for lettering."""
    clip_skip: Annotated[int, Field(title="Clip skip", ge=1, le=12)] = 1
    """Which layer from the end of the text encoder is used. 2 for most anime models on SD1.5, else 1."""


PARTS = ("vae", "clip_l", "clip_g", "t5xxl", "gemma2", "qwen", "byt5")
"""The settings of a model that name a file beside it."""
MODEL_FILES = ("path", *PARTS)


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
    random_crop: Annotated[bool, Field(title="Random crop")] = False
    """Cuts a different part of a picture each time. Not together with cached latents."""
    color_augmentation: Annotated[bool, Field(title="Vary colours")] = False
    """Shifts hue and brightness a little at random. Not together with cached latents."""
    tag_dropout: Annotated[float, Field(title="Tag dropout", ge=0, le=1)] = 0.0
    """The share of comma-separated tags that are left out of a caption at each step."""


class NetworkSettings(Section):
    """The network that is trained beside the model; which settings count depends on its algorithm."""

    algorithm: Annotated[AlgorithmName, Field(title="Algorithm")] = "lora"
    """The kind of network that is trained."""
    rank: Annotated[int, Field(title="Rank", ge=1, le=1024)] = 16
    """The size of the network: more can hold more detail and makes a larger file."""
    alpha: Annotated[float, Field(title="Alpha", gt=0, le=1024)] = 8.0
    """Scales what is learnt by alpha / rank; it acts like a factor on the learning rate."""
    train_text_encoder: Annotated[bool, Field(title="Train text encoder")] = False
    """Trains the text encoder too. Helps a new word, costs memory, overfits sooner."""
    conv_rank: Annotated[int | None, Field(title="Convolution rank", ge=1, le=1024)] = None
    """The rank on convolutions; empty means the same as the rank."""
    conv_alpha: Annotated[float | None, Field(title="Convolution alpha", gt=0, le=1024)] = None
    """Alpha on convolutions; empty means the same as alpha."""
    dropout: Annotated[float, Field(title="Dropout", ge=0, lt=1)] = 0.0
    """The share of values left out at random at each step, against learning pictures by heart."""
    rank_dropout: Annotated[float, Field(title="Rank dropout", ge=0, lt=1)] = 0.0
    """The share of ranks left out at random at each step."""
    module_dropout: Annotated[float, Field(title="Module dropout", ge=0, lt=1)] = 0.0
    """The share of layers left out at random at each step."""
    targets: Annotated[Literal["", "attention", "attention_mlp", "full"], Field(title="Layers")] = ""
    """Which layers get a network; empty means those the algorithm usually takes."""
    factor: Annotated[int, Field(title="Factor", ge=-1, le=512)] = -1
    """How LoKr cuts each matrix: smaller means a larger file. -1 finds the smallest file."""
    decompose_both: Annotated[bool, Field(title="Decompose both")] = False
    """Makes both parts of a LoKr thin, for the smallest files."""
    full_matrix: Annotated[bool, Field(title="Full matrix")] = False
    """Keeps the large part of a LoKr whole, so that rank and alpha no longer limit it."""
    block_size: Annotated[int | None, Field(title="Block size", ge=1, le=512)] = None
    """How many ranks of a DyLoRA are trained at a time; the rank must be a multiple."""
    constraint: Annotated[float, Field(title="Constraint", ge=0, le=100)] = 0.0
    """How far OFT and BOFT may turn the weights; 0 sets no limit."""
    rescaled: Annotated[bool, Field(title="Rescaled")] = False
    """Lets OFT and BOFT stretch each channel too."""
    weight_decompose: Annotated[bool, Field(title="DoRA")] = False
    """Learns direction and length of each weight apart. Nearer to full finetuning, slower."""
    tucker: Annotated[bool, Field(title="Tucker")] = False
    """Cuts convolutions in three parts in place of two: smaller files."""
    rank_stabilized: Annotated[bool, Field(title="Rank-stabilised")] = False
    """Scales by alpha / root of rank, so that high ranks learn as fast as low ones."""
    train_norm: Annotated[bool, Field(title="Train norms")] = False
    """Trains the normalisation layers too."""


class EmbeddingSettings(Section):
    """The new word of a textual inversion; the word itself is the trigger word."""

    init_word: Annotated[str, Field(title="Starts as")] = ""
    """A word near to what is learnt, such as cat or painting: training starts from its meaning."""
    vectors: Annotated[int, Field(title="Vectors", ge=1, le=75)] = 4
    """How many tokens of a prompt the word takes: more can hold more detail."""


class OptimizerSettings(Section):
    """How the weights are moved; an empty setting means as the optimizer has it."""

    name: Annotated[OptimizerName, Field(title="Optimizer")] = "AdamW"
    """The rule that turns gradients into steps."""
    learning_rate: Annotated[float, Field(title="Learning rate", gt=0, le=10)] = 1e-4
    """How far each step moves what is trained. Prodigy finds its own: give it 1."""
    text_encoder_learning_rate: Annotated[float, Field(title="Text encoder learning rate", ge=0, le=10)] = 5e-5
    """The same for the text encoder, when it is trained."""
    weight_decay: Annotated[float, Field(title="Weight decay", ge=0, le=10)] = 0.01
    """Pulls weights towards zero at each step."""
    max_grad_norm: Annotated[float, Field(title="Gradient clipping", ge=0, le=100)] = 1.0
    """Longer gradients are shortened to this; 0 turns it off."""
    beta1: Annotated[float | None, Field(title="Beta 1", ge=0, lt=1)] = None
    """How long gradients are remembered: nearer to 1 is longer."""
    beta2: Annotated[float | None, Field(title="Beta 2", ge=0, lt=1)] = None
    """How long the sizes of gradients are remembered."""
    beta3: Annotated[float | None, Field(title="Beta 3", ge=0, lt=1)] = None
    """A third memory, of optimizers that have one."""
    epsilon: Annotated[float | None, Field(title="Epsilon", gt=0, le=1)] = None
    """Keeps a division from blowing up; rarely touched."""
    momentum: Annotated[float | None, Field(title="Momentum", gt=0, lt=1)] = None
    """How much of the last step is kept, in SGD and Muon."""
    d_coef: Annotated[float | None, Field(title="Prodigy factor", gt=0, le=100)] = None
    """Multiplies the learning rate that Prodigy finds: 0.5 is careful, 2 is bold."""
    d0: Annotated[float | None, Field(title="Prodigy start", gt=0, le=1)] = None
    """Where Prodigy starts to look for its learning rate."""
    bias_correction: Annotated[bool | None, Field(title="Bias correction")] = None
    """Prodigy's correction of its first steps, as AdamW has it; usually on."""
    safeguard_warmup: Annotated[bool | None, Field(title="Safeguard warm-up")] = None
    """Keeps Prodigy from finding too high a rate while it warms up."""
    decouple: Annotated[bool | None, Field(title="Decoupled decay")] = None
    """Prodigy's weight decay as in AdamW; off means as in Adam."""
    clip_threshold: Annotated[float | None, Field(title="Clip threshold", gt=0, le=100)] = None
    """How large Adafactor and CAME let the step of a layer become."""
    decay_rate: Annotated[float | None, Field(title="Decay rate", ge=-1, lt=0)] = None
    """How Adafactor's memory grows with the steps."""


class ScheduleSettings(Section):
    """How long, in what portions, and with what learning rate curve."""

    steps: Annotated[int, Field(title="Steps", ge=1, le=1_000_000)] = 1000
    """How many optimizer steps are made."""
    batch_size: Annotated[int, Field(title="Batch size", ge=1, le=256)] = 1
    """How many pictures are shown to the model at once."""
    gradient_accumulation: Annotated[int, Field(title="Gradient accumulation", ge=1, le=1024)] = 1
    """How many batches are added up for one optimizer step."""
    scheduler: Annotated[SchedulerName, Field(title="Scheduler")] = "cosine"
    """The curve of the learning rate over the steps."""
    restarts: Annotated[int, Field(title="Restarts", ge=1, le=100)] = 1
    """How many times cosine_with_restarts starts anew."""
    warmup_steps: Annotated[int, Field(title="Warm-up", ge=0, le=1_000_000, json_schema_extra=unit("steps"))] = 0
    """Over how many steps the learning rate rises from zero."""
    decay_steps: Annotated[int, Field(title="Decay", ge=0, le=1_000_000, json_schema_extra=unit("steps"))] = 0
    """Over how many of the last steps the rate falls, in a warm-up, stable, decay schedule."""
    min_rate_ratio: Annotated[float, Field(title="Lowest rate", ge=0, lt=1)] = 0.0
    """The share of the learning rate that a schedule with a floor ends at."""
    power: Annotated[float, Field(title="Power", gt=0, le=10)] = 1.0
    """The power of a polynomial schedule: 1 falls in a straight line, 2 falls early."""
    timescale: Annotated[int | None, Field(title="Time scale", ge=1, le=1_000_000, json_schema_extra=unit("steps"))] = (
        None
    )
    """After how many steps an inverse square root schedule has fallen to 70 %; empty means the warm-up, or 10000."""
    min_snr_gamma: Annotated[float, Field(title="Min-SNR gamma", ge=0, le=20)] = 0.0
    """Evens out easy and hard noise levels; 5 is usual, 0 turns it off."""
    noise_offset: Annotated[float, Field(title="Noise offset", ge=0, le=1)] = 0.0
    """Lets the model learn darker and brighter pictures; 0 turns it off."""
    flow_shift: Annotated[float, Field(title="Flow shift", ge=0, le=20)] = 0.0
    """Moves the training of flow models towards more noise; 0 means as is usual for the family."""
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
    fp8_base: Annotated[bool, Field(title="Base model in fp8")] = False
    """Holds the frozen base model in 8 bits: half its memory, a little less exact. For networks only."""
    half_weights: Annotated[bool, Field(title="Weights in half precision")] = False
    """Holds what is trained in half precision too. Halves memory in full finetuning, and is less exact."""
    blocks_to_swap: Annotated[int, Field(title="Swap blocks", ge=0, le=100)] = 0
    """How many blocks of a large model wait in the computer's own memory: less on the GPU, slower."""
    offload_checkpointing: Annotated[bool, Field(title="Offload checkpoints")] = False
    """Keeps what gradient checkpointing stores in the computer's own memory. Up to 1 GiB less, slower."""
    fused_backward: Annotated[bool, Field(title="Fused backward pass")] = False
    """Steps layer by layer during the backward pass, so that gradients are never all there. Full finetuning only."""


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
    """The name of what is trained; its file is prefix + name + .safetensors."""
    prefix: Annotated[str, Field(title="Prefix")] = ""
    """Put before the name, for example cg_."""
    folder: Annotated[str, Field(title="Output folder")] = ""
    """Where the finished file goes; empty means Easel's own outputs folder."""
    copy_to: Annotated[str, Field(title="Also copy to")] = ""
    """A ComfyUI or Forge LoRA folder that gets a copy of the finished LoRA."""
    save_every_steps: Annotated[int, Field(title="Save every", ge=0, le=1_000_000, json_schema_extra=unit("steps"))] = 0
    """Keeps a copy each time this many steps have passed; 0 keeps only the last."""
    save_precision: Annotated[Literal["fp16", "bf16", "float"], Field(title="File precision")] = "fp16"
    """The number format inside the file."""


class TrainingPlan(Section):
    """A complete, checked set of values: what an engine is asked to do."""

    model: ModelSettings = ModelSettings()
    dataset: DatasetSettings = DatasetSettings()
    network: NetworkSettings = NetworkSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    memory: MemorySettings = MemorySettings()
    sampling: SamplingSettings = SamplingSettings()
    output: OutputSettings = OutputSettings()
    native: dict[str, dict[str, Any]] = {}
    """Settings in an engine's own words, by engine id; each is checked against that engine's recorded schema."""

    @property
    def output_stem(self) -> str:
        """The file name of what is trained, without its ending."""
        return self.output.prefix + self.output.name
