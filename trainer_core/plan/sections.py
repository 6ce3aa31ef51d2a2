"""Every setting of a training plan, declared once: type, default, bounds, title, unit, and a docstring that becomes its tooltip.

Controls, command line options, profile keys and docs are derived from these classes. A docstring has at most two
sentences, effect before mechanism. `Setting` declares the rest: whether it is a path, its owner, and when it applies.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trainer_core.plan.choices import NOISE, AlgorithmName, OptimizerName, SchedulerName
from trainer_core.plan.images import CLASS_METHODS, VALIDATION_METHODS, DatasetSettings
from trainer_core.plan.prompts import EffectivePrompt
from trainer_core.plan.results import GuardSettings, OutputSettings, SamplingSettings
from trainer_core.plan.section import STEPS, Section
from trainer_core.plan.setting import Setting
from trainer_core.plan.subsets import ImageFolder, of_dataset

NETWORK_METHODS, MODEL_METHODS = ("lora",), ("full", "dreambooth")
"""The methods that train a network added to the model, and those that train the model itself."""
PART = Setting(path="file", part=True, decides=("parts",))
"""A companion file of the model."""


class ModelSettings(Section):
    """The base model, and how it is trained."""

    path: Annotated[
        str, Field(title="Base model"), Setting(path="file or folder", decides=("model", "dataset"), option="--model")
    ] = ""
    """The checkpoint file or diffusers folder to train on."""
    method: Annotated[
        Literal["lora", "full", "dreambooth", "textual_inversion"],
        Field(title="Method"),
        Setting(
            owner="job",
            choices="methods",
            titles={
                "lora": "LoRA or another network type",
                "full": "full finetuning",
                "dreambooth": "DreamBooth",
                "textual_inversion": "textual inversion (embedding)",
            },
        ),
    ] = "lora"
    """What is trained: a small network added to the model, the model itself, or an embedding for one new word."""
    family: Annotated[
        str, Field(title="Family"), Setting(decides=("dataset",), said_by_model=True, empty="detected from the file")
    ] = ""
    """The model's architecture as an Easel family id; empty means detected from the file."""
    variant: Annotated[
        str,
        Field(title="Variant"),
        Setting(owner="job", said_by_model=True, claim="flavours", empty="detected from the file, or guessed"),
    ] = ""
    """Which model of its family it is, such as base or turbo, for engines that must be told; empty means detected from the
    file, or guessed from its name."""
    prediction: Annotated[
        Literal["", "epsilon", "v_prediction", "flow"],
        Field(title="Prediction type"),
        Setting(
            owner="job",
            said_by_model=True,
            empty="detected from the file",
            titles={"v_prediction": "v-prediction", "flow": "flow matching"},
        ),
    ] = ""
    """What the model was trained to predict; empty means detected from the file. A wrong type gives noise."""
    zero_terminal_snr: Annotated[
        bool | None,
        Field(title="Zero terminal SNR"),
        Setting(owner="job", said_by_model=True, predictions=("v_prediction",)),
    ] = None
    """Trains up to pure noise, as for most v-prediction models; empty means detected from the file. For v-prediction only."""
    vae: Annotated[str, Field(title="VAE"), PART] = ""
    """A VAE file: replaces the one in the model, or is needed if the model has none."""
    clip_l: Annotated[str, Field(title="CLIP-L"), PART] = ""
    """The first text encoder, for models that do not include it."""
    clip_g: Annotated[str, Field(title="CLIP-G"), PART] = ""
    """The second text encoder of SD3, for models that do not include it."""
    t5xxl: Annotated[str, Field(title="T5-XXL"), PART] = ""
    """The large text encoder of SD3, FLUX and Chroma."""
    gemma2: Annotated[str, Field(title="Gemma 2"), PART] = ""
    """The text encoder of Lumina Image 2."""
    qwen: Annotated[str, Field(title="Qwen"), PART] = ""
    """The text encoder of Qwen-Image, FLUX.2 klein, Z-Image, Krea 2, HunyuanImage 2.1 and Anima: a Qwen model, but not the same one."""
    byt5: Annotated[str, Field(title="ByT5"), PART] = ""
    """The second text encoder of HunyuanImage 2.1, for text in images."""
    clip_skip: Annotated[int, Field(title="Clip skip", ge=1, le=12), Setting(claim="clip_skip")] = 1
    """Which layer of the text encoder is used, counted from the end. 2 for most anime models based on SD1.5, else 1."""


class NetworkSettings(Section):
    """The network that is added to the model and trained; which settings apply depends on its algorithm."""

    algorithm: Annotated[AlgorithmName, Field(title="Algorithm"), Setting(choices="algorithms")] = "lora"
    """The network type, such as LoRA, LoHa or LoKr."""
    rank: Annotated[int, Field(title="Rank", ge=1, le=1024), Setting(policy="value", option="--rank")] = 16
    """The size of the network: a higher rank can learn more detail and makes a larger file."""
    alpha: Annotated[float, Field(title="Alpha", gt=0, le=1024), Setting(policy="value", option="--alpha")] = 8.0
    """Scales the network's output by alpha / rank, which acts like a factor on the learning rate."""
    train_text_encoder: Annotated[
        bool, Field(title="Train text encoder"), Setting(methods=(*NETWORK_METHODS, *MODEL_METHODS))
    ] = False
    """Also trains the text encoder. Helps with a new trigger word, but needs more memory and overfits sooner."""
    conv_rank: Annotated[int | None, Field(title="Convolution rank", ge=1, le=1024), Setting(claim="convolutions")] = (
        None
    )
    """The rank of 3 x 3 convolutions. Empty: as the rank, but LoRA and LoRA-FA then leave them out."""
    conv_alpha: Annotated[
        float | None, Field(title="Convolution alpha", gt=0, le=1024), Setting(claim="convolutions")
    ] = None
    """The alpha of convolution layers; empty means the same as alpha."""
    dropout: Annotated[float, Field(title="Dropout", ge=0, lt=1)] = 0.0
    """The share of values set to zero at random at each step, which reduces overfitting."""
    rank_dropout: Annotated[float, Field(title="Rank dropout", ge=0, lt=1)] = 0.0
    """The share of ranks left out at random at each step."""
    module_dropout: Annotated[float, Field(title="Module dropout", ge=0, lt=1)] = 0.0
    """The share of layers left out at random at each step."""
    targets: Annotated[
        Literal["", "attention", "attention_mlp", "full"],
        Field(title="Target layers"),
        Setting(empty="the algorithm's default", titles={"attention_mlp": "attention and MLP", "full": "all"}),
    ] = ""
    """Which layers the network is added to; empty means the algorithm's default."""
    factor: Annotated[int, Field(title="Factor", ge=-1, le=512)] = -1
    """How LoKr factorizes each matrix: a smaller factor means a larger file. -1 finds the smallest file."""
    decompose_both: Annotated[bool, Field(title="Decompose both")] = False
    """Decomposes both matrices of a LoKr, for the smallest files."""
    full_matrix: Annotated[bool, Field(title="Full matrix")] = False
    """Does not decompose the large matrix of a LoKr, so that rank and alpha no longer limit it."""
    block_size: Annotated[int | None, Field(title="Block size", ge=1, le=512)] = None
    """How many ranks of a DyLoRA are trained at a time; the rank must be a multiple of it."""
    constraint: Annotated[float, Field(title="Constraint", ge=0, le=100)] = 0.0
    """How far OFT and BOFT may rotate the weights; 0 means no limit."""
    rescaled: Annotated[bool, Field(title="Rescaled")] = False
    """Lets OFT and BOFT scale each channel, too."""
    weight_decompose: Annotated[bool, Field(title="DoRA")] = False
    """Learns direction and magnitude of each weight separately. Closer to full finetuning, but slower."""
    tucker: Annotated[bool, Field(title="Tucker decomposition"), Setting(claim="convolutions")] = False
    """Makes smaller files: convolutions are decomposed into three parts instead of two."""
    rank_stabilized: Annotated[bool, Field(title="Rank-stabilised")] = False
    """Makes high ranks learn as fast as low ones: scales by alpha / square root of rank (rsLoRA)."""
    train_norm: Annotated[bool, Field(title="Train norms")] = False
    """Also trains the normalisation layers."""


class EmbeddingSettings(Section):
    """The embedding of a textual inversion; its new word is the trigger word."""

    init_word: Annotated[str, Field(title="Initial word"), Setting(owner="person")] = ""
    """A word that describes the subject, such as cat or painting. Its embedding is the start of the training."""
    vectors: Annotated[int, Field(title="Vectors", ge=1, le=75)] = 4
    """How many tokens of a prompt the new word uses: more can learn more detail."""


class OptimizerSettings(Section):
    """How the weights are updated; an empty setting means the optimizer's default."""

    name: Annotated[
        OptimizerName, Field(title="Optimizer"), Setting(choices="optimizers", policy="value", card=True)
    ] = "AdamW"
    """The algorithm that updates the weights from the gradients."""
    learning_rate: Annotated[
        float, Field(title="Learning rate", gt=0, le=10), Setting(policy="value", option="--learning-rate")
    ] = 1e-4
    """How much each step changes the weights. Prodigy finds its own learning rate: set 1."""
    text_encoder_learning_rate: Annotated[
        float, Field(title="Text encoder learning rate", ge=0, le=10), Setting(only_with="network.train_text_encoder")
    ] = 5e-5
    """The learning rate of the text encoder, if it is trained."""
    weight_decay: Annotated[float, Field(title="Weight decay", ge=0, le=10)] = 0.01
    """Pulls the weights towards zero at each step."""
    max_grad_norm: Annotated[float, Field(title="Gradient clipping", ge=0, le=100)] = 1.0
    """Limits the norm of the gradients to this value; 0 turns it off."""
    beta1: Annotated[float | None, Field(title="Beta 1", ge=0, lt=1)] = None
    """The decay of the average of gradients: closer to 1 means a longer average."""
    beta2: Annotated[float | None, Field(title="Beta 2", ge=0, lt=1)] = None
    """The decay of the average of squared gradients."""
    beta3: Annotated[float | None, Field(title="Beta 3", ge=0, lt=1)] = None
    """The decay of a third average, for optimizers that have one."""
    epsilon: Annotated[float | None, Field(title="Epsilon", gt=0, le=1)] = None
    """Prevents a division by zero; rarely changed."""
    momentum: Annotated[float | None, Field(title="Momentum", gt=0, lt=1)] = None
    """How much of the previous update SGD and Muon keep."""
    d_coef: Annotated[float | None, Field(title="Prodigy factor", gt=0, le=100)] = None
    """Multiplies the learning rate that Prodigy finds: 0.5 is cautious, 2 is aggressive."""
    d0: Annotated[float | None, Field(title="Prodigy initial rate", gt=0, le=1)] = None
    """The value from which Prodigy starts its search for the learning rate (d0)."""
    bias_correction: Annotated[bool | None, Field(title="Bias correction")] = None
    """Corrects the first steps of Prodigy, as AdamW does; usually on."""
    safeguard_warmup: Annotated[bool | None, Field(title="Safeguard warm-up")] = None
    """Keeps Prodigy from finding too high a learning rate during warm-up."""
    decouple: Annotated[bool | None, Field(title="Decoupled weight decay")] = None
    """Applies Prodigy's weight decay as AdamW does; off means as Adam does."""
    clip_threshold: Annotated[float | None, Field(title="Clip threshold", gt=0, le=100)] = None
    """The maximum size of an update of a layer in Adafactor and CAME."""
    decay_rate: Annotated[float | None, Field(title="Decay rate", ge=-1, lt=0)] = None
    """How Adafactor's average of squared gradients gets longer with the steps."""


class ScheduleSettings(Section):
    """Steps, batches, the learning rate schedule, and the loss."""

    steps: Annotated[
        int, Field(title="Steps", ge=1, le=1_000_000), Setting(policy="rule", option="--steps", epochs="--epochs")
    ] = 1000
    """The number of optimizer steps."""
    batch_size: Annotated[int, Field(title="Batch size", ge=1, le=256), Setting(policy="value", card=True)] = 1
    """How many images are trained at once."""
    gradient_accumulation: Annotated[
        int, Field(title="Gradient accumulation", ge=1, le=1024), Setting(policy="value", card=True)
    ] = 1
    """How many batches are accumulated for one optimizer step."""
    scheduler: Annotated[SchedulerName, Field(title="Scheduler"), Setting(choices="schedulers", policy="value")] = (
        "cosine"
    )
    """How the learning rate changes over the steps."""
    restarts: Annotated[int, Field(title="Restarts", ge=1, le=100)] = 1
    """The number of cycles of cosine_with_restarts."""
    warmup_steps: Annotated[
        int, Field(title="Warm-up", ge=0, le=1_000_000, json_schema_extra=STEPS), Setting(policy="rule")
    ] = 0
    """The number of first steps in which the learning rate rises from zero."""
    decay_steps: Annotated[int, Field(title="Decay", ge=0, le=1_000_000, json_schema_extra=STEPS)] = 0
    """The number of last steps in which the learning rate falls, for a warmup_stable_decay schedule."""
    min_rate_ratio: Annotated[float, Field(title="Minimum rate ratio", ge=0, lt=1)] = 0.0
    """The learning rate at the end of a schedule with a minimum, as a share of the learning rate."""
    power: Annotated[float, Field(title="Power", gt=0, le=10)] = 1.0
    """The power of a polynomial schedule: 1 falls linearly, 2 falls faster at the start."""
    timescale: Annotated[int | None, Field(title="Time scale", ge=1, le=1_000_000, json_schema_extra=STEPS)] = None
    """The number of steps after which an inverse_sqrt schedule has fallen to 70 %; empty means the warm-up, or 10000."""
    min_snr_gamma: Annotated[float, Field(title="Min-SNR gamma", ge=0, le=20), Setting(predictions=NOISE)] = 0.0
    """Balances the loss between easy and hard noise levels; 5 is usual, 0 turns it off."""
    noise_offset: Annotated[float, Field(title="Noise offset", ge=0, le=1), Setting(predictions=NOISE)] = 0.0
    """Helps the model learn very dark and very bright images; 0 turns it off."""
    flow_shift: Annotated[float, Field(title="Flow shift", ge=0, le=20), Setting(predictions=("flow",))] = 0.0
    """Shifts the training of flow matching models towards more noise; 0 means the default of the family."""
    seed: Annotated[int, Field(title="Seed", ge=0, le=2**31 - 1)] = 42
    """The seed of all random numbers. The same seed repeats a run as far as the engine can."""


class MemorySettings(Section):
    """Settings that reduce the GPU memory of a training."""

    mixed_precision: Annotated[
        Literal["no", "fp16", "bf16"],
        Field(title="Mixed precision"),
        Setting(owner="machine", titles={"no": "no (fp32)"}),
    ] = "bf16"
    """The number format of the computation. bf16 for RTX 30 and newer, fp16 for older GPUs, no for a CPU."""
    gradient_checkpointing: Annotated[bool, Field(title="Gradient checkpointing")] = True
    """Saves much memory, but makes training about a third slower."""
    cache_latents: Annotated[bool, Field(title="Cache latents")] = True
    """Encodes every image once at the start, so that the VAE can leave the GPU."""
    cache_text_encoder: Annotated[bool, Field(title="Cache text encoder")] = False
    """Encodes every caption once at the start. Cannot be combined with tag shuffling, caption dropout or text encoder training."""
    fp8_base: Annotated[bool, Field(title="Base model in fp8"), Setting(methods=NETWORK_METHODS)] = False
    """Loads the frozen base model in 8 bits: half the memory, slightly less accurate. For networks only."""
    half_weights: Annotated[bool, Field(title="Weights in half precision")] = False
    """Keeps the trained weights in half precision, too. Halves the memory of full finetuning, but is less accurate."""
    blocks_to_swap: Annotated[int, Field(title="Blocks to swap", ge=0, le=100), Setting(claim="swap")] = 0
    """How many blocks of a large model are kept in system RAM: less GPU memory, but slower."""
    offload_checkpointing: Annotated[
        bool, Field(title="Activation offload"), Setting(claim="offload_checkpointing")
    ] = False
    """Keeps activations in system RAM during gradient checkpointing. Saves up to 1 GiB of GPU memory, but is slower."""
    fused_backward: Annotated[bool, Field(title="Fused backward pass"), Setting(methods=MODEL_METHODS)] = False
    """Updates each layer during the backward pass, so that the gradients are never all in memory. For full finetuning only."""


class TrainingPlan(Section):
    """A complete, checked set of values: the input of an engine."""

    model: ModelSettings = ModelSettings()
    dataset: DatasetSettings = DatasetSettings()
    network: Annotated[NetworkSettings, Setting(methods=NETWORK_METHODS)] = NetworkSettings()
    embedding: Annotated[EmbeddingSettings, Setting(methods=("textual_inversion",))] = EmbeddingSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    memory: MemorySettings = MemorySettings()
    sampling: SamplingSettings = SamplingSettings()
    output: OutputSettings = OutputSettings()
    guards: GuardSettings = GuardSettings()
    native: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of an engine that are not settings of Easel, by engine id; each is checked against the engine's recorded schema."""

    @property
    def folders(self) -> tuple[ImageFolder, ...]:
        """The image folders, that of `dataset.path` first; regularisation images only with a method that can train them."""
        with_class = self.model.method in CLASS_METHODS
        shared = vars(self.dataset)
        if self.model.method not in VALIDATION_METHODS:
            shared = {**shared, "validation_share": 0.0}
        return of_dataset(shared, self.dataset.subsets, with_class=with_class)

    @property
    def has_validation(self) -> bool:
        """Whether images are held out to measure their loss, if the engine can."""
        return self.model.method in VALIDATION_METHODS and any(folder.validation_share for folder in self.folders)

    @property
    def has_class_images(self) -> bool:
        """Whether regularisation images are trained, if the engine can."""
        return any(folder.is_regularisation for folder in self.folders)

    @property
    def has_controls(self) -> bool:
        """Whether a model is shown control images: it is trained on pairs."""
        return any(folder.controls_given for folder in self.folders)

    @property
    def output_stem(self) -> str:
        """The file name of the result, without its extension."""
        return self.output.prefix + self.output.name

    @property
    def sample_prompts(self) -> tuple[EffectivePrompt, ...]:
        """The prompts of the samples with the trigger word and every value; the index is that of `events.Sample.prompt`."""
        return self.sampling.effective(self.dataset.trigger)
