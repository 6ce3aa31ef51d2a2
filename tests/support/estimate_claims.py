"""Published figures on the memory of trainings, and the tables that compare our estimates with them.

    EASEL_RECORD=1 .venv/bin/python -m pytest tests/core/test_estimate_table.py

updates docs/records/2026-11-21-estimates.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import engine_plans
from trainer_core.catalog import presets
from trainer_core.draft.facts import Facts
from trainer_core.engines import registry
from trainer_core.estimate import Estimate, estimate
from trainer_core.hardware import Accelerator
from trainer_core.models.detection import Detection

GIB = 1024**3
CARD = Accelerator("cuda", "NVIDIA GeForce RTX 3090", 24 * GIB, 24 * GIB, "8.6")
MUCH_ROOM = 0.5
"""If the estimate is below this share of the GPU's memory, the figure says little about the estimate."""


@dataclass(frozen=True)
class Claim:
    """One published figure: `gib`, with `until` as the end of a range; `is_card`: a GPU of this size is enough.

    `used`: a constant was calibrated with this row. `not_estimated`: the reason why there is no estimate.
    """

    what: str
    gib: float
    source: str
    family: str = ""
    engine: str = "kohya"
    variant: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    until: float = 0.0
    is_card: bool = True
    used: bool = False
    not_estimated: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)


NETWORK = {
    "memory.cache_text_encoder": True,
    "network.rank": 16,
    "network.alpha": 8.0,
    "optimizer.name": "AdamW8bit",
    "dataset.resolution": 1024,
}
EIGHT = {**NETWORK, "memory.fp8_base": True}
SD15 = {"dataset.resolution": 512, "optimizer.name": "AdamW8bit"}
FP8_T5 = {"t5xxl": "F8_E4M3"}
SD_SCRIPTS = "sd-scripts docs/"
SIMPLETUNER = "SimpleTuner documentation/quickstart/"

CLAIMS = [
    Claim("SD1.5 full finetuning, all in fp16, 512 px", 8, SD_SCRIPTS + "train_README-zh.md:632", "sd15", values={**SD15, "model.method": "full", "memory.mixed_precision": "fp16", "memory.half_weights": True}),
    Claim("SD2 full finetuning, all in fp16, 512 px", 12, SD_SCRIPTS + "train_README-zh.md:632", "sd2", values={**SD15, "model.method": "full", "memory.mixed_precision": "fp16", "memory.half_weights": True}),
    Claim("SD1.5 full finetuning, 512 px", 12, SD_SCRIPTS + "train_README-ja.md:986", "sd15", values={**SD15, "model.method": "full", "memory.mixed_precision": "fp16"}),
    Claim("SD1.5 DreamBooth, 512 px", 12, SD_SCRIPTS + "train_db_README-ja.md:34", "sd15", values={**SD15, "model.method": "dreambooth", "memory.mixed_precision": "fp16"}),
    Claim("SD1.5 LoRA, 512 px, text encoder trained", 8, SD_SCRIPTS + "train_network_README-zh.md:12, 462", "sd15", values={**SD15, "network.train_text_encoder": True}),
    Claim("SDXL LoRA, 1024 px, rank 8, cached, 8-bit optimizer", 8, SD_SCRIPTS + "train_SDXL-en.md:53 (10 recommended)", "sdxl", values={**NETWORK, "network.rank": 8}),
    Claim("SDXL full finetuning, 1024 px, cached, Adafactor", 24, SD_SCRIPTS + "train_SDXL-en.md:48", "sdxl", values={"model.method": "full", "memory.cache_text_encoder": True, "optimizer.name": "Adafactor", "dataset.resolution": 1024}, used=True),
    Claim("SDXL full finetuning", 48, "diffusion-pipe supported_models.md:52", not_estimated="the optimizer is not named, and that engine is none of ours"),
    Claim("FLUX LoRA, fp8, 1024 px, batch 2", 24, SD_SCRIPTS + "flux_train_network.md:286", "flux", values={**EIGHT, "schedule.batch_size": 2, "optimizer.name": "AdamW"}),
    Claim("FLUX LoRA, fp8, 1024 px, some blocks (8) swapped", 16, SD_SCRIPTS + "flux_train_network.md:287", "flux", values={**EIGHT, "memory.blocks_to_swap": 8, "optimizer.name": "AdamW"}),
    Claim("FLUX LoRA, fp8, 1024 px, 16 swapped, 8-bit optimizer", 12, SD_SCRIPTS + "flux_train_network.md:288", "flux", values={**EIGHT, "memory.blocks_to_swap": 16}, used=True),
    Claim("FLUX LoRA, fp8, 1024 px, 22 swapped, T5 in fp8", 10, SD_SCRIPTS + "flux_train_network.md:289", "flux", values={**EIGHT, "memory.blocks_to_swap": 22}, parts=FP8_T5),
    Claim("FLUX LoRA, fp8, 1024 px, 28 swapped, T5 in fp8", 8, SD_SCRIPTS + "flux_train_network.md:290", "flux", values={**EIGHT, "memory.blocks_to_swap": 28}, parts=FP8_T5),
    Claim("FLUX LoRA, bf16, 1024 px", 30, SIMPLETUNER + "FLUX.md:13, a bit more", "flux", "simpletuner", values=NETWORK, is_card=False, used=True),
    Claim("FLUX LoRA, base in 8 bits, 1024 px", 18, SIMPLETUNER + "FLUX.md:14, a bit more", "flux", "simpletuner", values=EIGHT, is_card=False),
    Claim("FLUX LoRA, base in 4 bits", 13, SIMPLETUNER + "FLUX.md:15, a bit more", is_card=False, not_estimated="no setting of ours holds a model in 4 bits"),
    Claim("FLUX LoRA, nf4", 9, SIMPLETUNER + "FLUX.md:16, a bit more", is_card=False, not_estimated="no setting of ours holds a model in 4 bits"),
    Claim("FLUX LoRA, nf4, Lion in 8 bits, 512 px", 9.09, SIMPLETUNER + "FLUX.md:508", is_card=False, not_estimated="no setting of ours holds a model in 4 bits"),
    Claim("FLUX LoRA, nf4, Lion in 8 bits, 1024 px", 12, SIMPLETUNER + "FLUX.md:508", not_estimated="no setting of ours holds a model in 4 bits"),
    Claim("Chroma LoRA, bf16, 1024 px", 28, SIMPLETUNER + "CHROMA.md:13", "chroma", "simpletuner", values=NETWORK, is_card=False),
    Claim("Chroma LoRA, base in 8 bits, 1024 px", 16, SIMPLETUNER + "CHROMA.md:14", "chroma", "simpletuner", values=EIGHT, is_card=False),
    Claim("HunyuanImage LoRA, no savings, 1024 px", 40, SD_SCRIPTS + "hunyuan_image_train_network.md:235", "hunyuan_image", values=NETWORK),
    Claim("HunyuanImage LoRA, fp8, 9 swapped", 24, SD_SCRIPTS + "hunyuan_image_train_network.md:236", "hunyuan_image", values={**EIGHT, "memory.blocks_to_swap": 9}),
    Claim("HunyuanImage LoRA, fp8, 32 swapped, captions on the CPU", 12, SD_SCRIPTS + "hunyuan_image_train_network.md:237", "hunyuan_image", values={**EIGHT, "memory.blocks_to_swap": 32, "native": {"kohya": {"text_encoder_cpu": True}}}),
    Claim("HunyuanImage LoRA, fp8, 37 swapped, captions on the CPU", 8, SD_SCRIPTS + "hunyuan_image_train_network.md:238", "hunyuan_image", values={**EIGHT, "memory.blocks_to_swap": 37, "native": {"kohya": {"text_encoder_cpu": True}}}),
    Claim("Lumina 2 LoRA, 1024 px", 12, SIMPLETUNER + "LUMINA2.md:10", "lumina2", "simpletuner", until=14, values=NETWORK, is_card=False),
    Claim("Lumina 2 full finetuning, 1024 px", 16, SIMPLETUNER + "LUMINA2.md:11", "lumina2", "simpletuner", until=20, values={**NETWORK, "model.method": "full"}, is_card=False),
    Claim("Lumina 2 LoRA", 20, "ai-toolkit, its example for Lumina 2", "lumina2", values={**NETWORK, "optimizer.name": "AdamW"}),
    Claim("Lumina 2 full finetuning", 24, "ai-toolkit, its example for Lumina 2", "lumina2", values={**NETWORK, "model.method": "full", "memory.half_weights": True}),
    Claim("Qwen-Image LoRA, 2 to 4 bits", 24, "SimpleTuner; ai-toolkit", not_estimated="no engine of ours is claimed for this family"),
    Claim("ERNIE-Image LoRA, base in 8 bits", 24, SIMPLETUNER + "ERNIE.md", not_estimated="it names a GPU that is enough, and no settings"),
    Claim("AuraFlow LoRA", 20, "SimpleTuner", until=22, is_card=False, not_estimated="its settings are not named"),
    Claim("HiDream LoRA", 20, "SimpleTuner", until=22, is_card=False, not_estimated="no engine of ours is claimed for this family"),
    Claim("HiDream LoRA", 35.2, "ai-toolkit", is_card=False, not_estimated="no engine of ours is claimed for this family"),
    Claim("Flex full finetuning", 48, "ai-toolkit", not_estimated="no engine of ours is claimed for this family"),
    Claim("FLUX.2 dev LoRA", 48, "diffusion-pipe supported_models.md:536", not_estimated="no engine of ours is claimed for this family"),
    Claim("Qwen-Image, what --full_bf16 saves", 20, "musubi-tuner docs", is_card=False, not_estimated="no engine of ours is claimed for this family"),
    Claim("Z-Image, what --full_bf16 saves", 30, "musubi-tuner docs", is_card=False, not_estimated="no engine of ours is claimed for this family"),
]  # fmt: skip


LARGEST = {"sd3": "3.5-large", "auraflow": "pony-v7", "pixart": "900m"}
"""The variant that needs the most, of families that have several: their presets are for it."""


def of_presets() -> Iterator[Claim]:
    """The memory presets: the eight for a GPU and a family, and the four others with each of five families."""
    for preset in presets.shipped().values():
        families = preset.families or ("sdxl", "flux", "chroma", "sd3", "hunyuan_image")
        for family in families:
            plain = {**NETWORK, "memory.cache_text_encoder": False, "network.train_text_encoder": False}
            variant = LARGEST.get(family, "")
            values = {**plain, **preset.values_for(family), **({"model.variant": variant} if variant else {})}
            source = preset.sources[0].partition(",")[0].partition(":")[0]
            name = f"preset {preset.id}, {family} {variant}".strip()
            engine = next(each.manifest.id for each in registry.available() if family in each.manifest.families)
            yield Claim(name, preset.vram_gib, source, family, variant=variant, values=values, engine=engine)
            if family in ("flux", "chroma", "sd3") and preset.vram_gib < 12:
                title, values = f"{name}, T5 and base in fp8", {**values, "memory.fp8_base": True}
                yield Claim(title, preset.vram_gib, source, family, variant=variant, values=values, parts=FP8_T5)


def estimated(claim: Claim) -> Estimate:
    """Our estimate for a published figure; the GPU does not influence it."""
    manifest = registry.get(claim.engine).manifest
    found = Detection(claim.family, "checkpoint", claim.variant)
    parts = {name: Detection(None, "text_encoder", name, dtype=dtype) for name, dtype in claim.parts.items()}
    facts = Facts(engine_plans.machine(CARD), found, parts=parts)
    plan = engine_plans.plan(claim.family, **{path.replace(".", "__"): value for path, value in claim.values.items()})
    return estimate(plan, facts, manifest=manifest)


def verdict(claim: Claim, low: float, high: float) -> str:
    """How the estimate compares with the figure: "inside" and "fits" agree with it; "MISS" names the direction."""
    if low <= max(claim.gib, claim.until) and claim.gib <= high:
        return "inside"
    if low > claim.gib:
        return "MISS: too high"
    if not claim.is_card:
        return "MISS: too low"
    return "fits" if high >= MUCH_ROOM * claim.gib else "fits with much room"


def table(claims: list[Claim]) -> Iterator[str]:
    """The rows of the table in Markdown."""
    yield "| training | cited | estimate, GiB | says | source |"
    yield "|---|---|---|---|---|"
    for claim in claims:
        until = f" to {claim.until:g}" if claim.until else ""
        cited = f"{claim.gib:g}{until} GB{' card' if claim.is_card else ''}"
        if claim.not_estimated:
            yield f"| {claim.what} | {cited} | | not estimated: {claim.not_estimated} | {claim.source} |"
            continue
        low, high = estimated(claim).vram_gib
        used = " (used to calibrate)" if claim.used else ""
        yield f"| {claim.what} | {cited} | {low:.1f} to {high:.1f} | {verdict(claim, low, high)}{used} | {claim.source} |"
