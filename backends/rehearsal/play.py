"""Plays a training, or the caching before it: `python play.py score.json [command]`. Standard library only; imports nothing of Easel.

Lines and their order are those of a recorded run (logs/). The progress bar is redrawn after a carriage return and shows
each step twice: first with the loss of the previous step, then with its own.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

LOGS = Path(__file__).parent / "logs"
NAN_HALF = b"\x00\x7e"
SIDE_PX = 64
FEATURES = 16
MODULES = 4
# Layers that the model of a family really has, in the names of sd-scripts; a UNet's for all others.
LAYERS = {
    "flux": "lora_unet_double_blocks_{}_img_attn_proj",
    "sd3": "lora_unet_joint_blocks_{}_x_block_attn_proj",
}
UNET_LAYER = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn{}_to_{}"
CACHED = 10
DENOISER = "model.diffusion_model."
LARGEST_MODEL = 64 * 1024**2
"""In bytes: a rehearsal must not fill a disk."""


def main(path: str, command: str = "train") -> int:
    """Plays one command of the score in a file; the exit code is as told by its ending."""
    score = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    options, total = score["options"], score["plan"]["schedule"]["steps"]
    if options["ends_in"] != command:
        options["ending"] = "success"
    return train(score, options, total) if command == "train" else cache(command, options)


def cache(command: str, options: dict) -> int:
    """Plays the caching of a few images, which shows no bar of training."""
    print(f"                    INFO     caching {command.partition(' ')[2]}...", flush=True)
    for number in range(1, CACHED + 1):
        if options["steps_per_second"]:
            time.sleep(1 / options["steps_per_second"])
        print(f"cached {number} of {CACHED}", flush=True)
        if number == CACHED // 2 and options["ending"] in ("oom", "crash", "hang", "killed"):
            return fail(options["ending"])
    return 0


def train(score: dict, options: dict, total: int) -> int:
    """Plays the training."""
    ending, at = options["ending"], options["at"] or max(1, total // 2)
    if ending == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if ending == "fork":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    play_log("start")
    if options["say"]:
        print(f"                    WARNING  {options['say']}")
    if ending == "empty":
        play_log("empty")
        return 0
    asked = {"checkpoints": 0, "samples": 0}
    began, loss, done = time.monotonic(), math.nan, resumed(score)
    draw(done, total, 0.0)
    for step in range(done + 1, total + 1):
        work(options["work_mib"])
        if options["steps_per_second"]:
            # Against the clock, so that the pace does not depend on how long a step takes.
            time.sleep(max(0.0, began + (step - done) / options["steps_per_second"] - time.monotonic()))
        pace = (step - done) / max(time.monotonic() - began, 1e-6)
        rate = rate_of(score, step, total)
        draw(step, total, pace, loss, rate)
        loss = math.nan if ending == "nan" and step >= at else loss_of(step)
        draw(step, total, pace, loss, rate)
        if step == at and ending in ("oom", "crash", "hang", "killed"):
            return fail(ending)
        if step == at and ending == "cut":
            return die_while_saving(score, step)
        leave_files(score, step, total, requested(score, asked), flawed=ending == "nan" and step > at)
    write_result(Path(score["output"]), score["stem"], score["plan"], flawed=ending in ("nan", "flawed"))
    if score["plan"]["output"]["keep_states"]:
        write_state(score, f"{score['stem']}-state", total)
    print(f"\n{total} steps in {time.monotonic() - began:.4f} s", flush=True)
    return end_complete(ending)


def end_complete(ending: str) -> int:
    """Ends after everything was written, in the way of that name."""
    if ending != "lingers":
        play_log("success")
    if ending in ("stays", "lingers"):
        return fail("hang")
    return 1 if ending == "late" else 0


def fail(ending: str) -> int:
    """Ends in the middle, in the way of that name."""
    if ending == "hang":
        while True:
            time.sleep(3600)
    print()
    if ending == "killed":
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    play_log(ending)
    return 1


def play_log(name: str) -> None:
    """Prints a recorded piece of a log."""
    sys.stdout.write((LOGS / f"{name}.log").read_text(encoding="utf-8"))
    sys.stdout.flush()


def draw(step: int, total: int, pace: float, loss: float = math.nan, rate: float | None = None) -> None:
    """Redraws the bar, as a terminal would see it."""
    share = step / total
    blocks = ("█" * int(share * 10)).ljust(10)
    left = int((total - step) / pace) if pace else 0
    shown = f"{pace:5.2f}it/s" if pace else "?it/s"
    values = f", lr={rate!r}, step_loss={loss:.6g}" if rate is not None and step else ""
    if step == 1 and math.isnan(loss):
        # As real bars do: the first step has no loss of a step before to show.
        values = ""
    sys.stdout.write(
        f"\rsteps: {share:4.0%}|{blocks}| {step}/{total} [00:{int(step / pace) if pace else 0:02d}<00:{left:02d}, {shown}{values}]"
    )
    sys.stdout.flush()


def loss_of(step: int) -> float:
    """A loss that falls and jitters as real ones do, the same in every run."""
    jitter = zlib.crc32(str(step).encode()) / 2**32 - 0.5
    return 0.08 + 0.12 * math.exp(-step / 200) + 0.05 * jitter


def rate_of(score: dict, step: int, total: int) -> float:
    """The learning rate of a step: constant, or with the schedule linear a fall to 0 over the steps of the schedule."""
    resume = score.get("resume", {})
    highest, origin = score["plan"]["optimizer"]["learning_rate"], resume.get("schedule_from", 0)
    highest *= resume.get("rate_times", 1.0)
    if score["plan"]["schedule"]["scheduler"] != "linear":
        return highest
    return round(highest * (total - step) / (total - origin), 12)


def resumed(score: dict) -> int:
    """The steps that were trained before: those of the state that the score names, which has to be whole."""
    if "resume" not in score:
        return 0
    found = json.loads((Path(score["resume"]["state"]) / "state.json").read_text(encoding="utf-8"))
    print(f"\nresume training from state of step {found['step']}", flush=True)
    return found["step"]


def write_state(score: dict, name: str, step: int) -> None:
    """Writes a state: weights, an optimizer as torch saves one, and last a file with the step."""
    folder = Path(score["output"]) / name
    write_lora(folder, "model", score["plan"])
    with zipfile.ZipFile(folder / "optimizer.bin", "w") as archive:
        archive.writestr("data", hashlib.sha256(str(step).encode()).hexdigest())
    text = json.dumps({"step": step, "output": score["output"]})
    (folder / "state.json").write_text(text, encoding="utf-8")


def work(mebibytes: int) -> None:
    """Computes for a while, always the same amount."""
    block = bytes(1 << 20)
    for _ in range(mebibytes):
        hashlib.sha256(block).digest()


def requested(score: dict, asked: dict) -> set:
    """The kinds of files that somebody has asked for since the last call; `asked` keeps the numbers of requests so far."""
    counts = json.loads(Path(score["requests"]).read_text(encoding="utf-8"))
    new = {kind for kind, count in asked.items() if counts.get(kind, 0) > count}
    asked.update({kind: counts[kind] for kind in new})
    return new


def die_while_saving(score: dict, step: int) -> int:
    """Writes half of a checkpoint, and is killed."""
    folder, name = Path(score["output"]), checkpoint_name(score, step)
    print(f"\nsaving checkpoint: {folder / name}.safetensors", flush=True)
    write_result(folder, name, score["plan"])
    path = folder / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return fail("killed")


def checkpoint_name(score: dict, step: int) -> str:
    """The name of a checkpoint, without the file ending."""
    return f"{score['stem']}-step{step:08d}"


def leave_files(score: dict, step: int, total: int, asked: set, flawed: bool) -> None:
    """Writes the checkpoint and the sample that are due after a step, or that were asked for."""
    plan, folder = score["plan"], Path(score["output"])
    every = plan["output"]["save_every_steps"]
    if (every and step % every == 0 and step < total) or "checkpoints" in asked:
        name = checkpoint_name(score, step)
        print(f"\nsaving checkpoint: {folder / name}.safetensors", flush=True)
        write_result(folder, name, plan, flawed)
        if plan["output"]["keep_states"]:
            write_state(score, f"{name}-state", step)
        remove_older(score)
    every = plan["sampling"]["every_steps"]
    if (every and step % every == 0) or "samples" in asked:
        print("\n                    INFO     generating sample images at step", step, flush=True)
        for number, prompt in enumerate(score["prompts"]):
            name = f"{score['stem']}_{step:06d}_{number:02d}_{prompt['seed']}.png"
            write_sample(folder / "sample" / name, step / total, blue=128 + 96 * number % 128)


def remove_older(score: dict) -> None:
    """Removes all checkpoints but the newest, if the plan keeps only so many."""
    keep, name = score["plan"]["output"]["keep_last"], glob.escape(score["stem"])
    for path in sorted(Path(score["output"]).glob(f"{name}-step*.safetensors"))[:-keep] if keep else ():
        print(f"removing old checkpoint: {path}", flush=True)
        path.unlink()


def write_result(folder: Path, name: str, plan: dict, flawed: bool = False) -> None:
    """Writes what the method makes: a LoRA, the base model with a changed weight, or an embedding."""
    method = plan["model"]["method"]
    if method == "lora":
        write_lora(folder, name, plan, flawed)
    elif method == "textual_inversion":
        write_embedding(folder, name, plan, flawed)
    else:
        write_model(folder, name, plan, flawed)


def write_model(folder: Path, name: str, plan: dict, flawed: bool) -> None:
    """Writes the base model with one changed number in each weight of its denoiser; only small models are copied."""
    base = Path(plan["model"]["path"])
    if base.stat().st_size > LARGEST_MODEL:
        sys.exit("The rehearsal engine copies only models of up to 64 MB.")
    content = bytearray(base.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    for key, tensor in json.loads(content[8 : 8 + length]).items():
        kind = {"F32": "<f", "F16": "<e"}.get(tensor.get("dtype", ""))
        if kind and key.startswith(DENOISER):
            at = 8 + length + tensor["data_offsets"][0]
            (value,) = struct.unpack_from(kind, content, at)
            struct.pack_into(kind, content, at, math.nan if flawed else value + 0.01)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(content)


def write_embedding(folder: Path, name: str, plan: dict, flawed: bool) -> None:
    """Writes an embedding with as many vectors as asked for."""
    many = plan["embedding"]["vectors"]
    widths = {"clip_l": 768, "clip_g": 1280} if plan["model"]["family"] == "sdxl" else {"emb_params": 768}
    numbers = [math.nan if flawed else 0.03 * math.sin(each) for each in range(1, many * max(widths.values()) + 1)]
    tensors = {
        key: ([many, wide], struct.pack(f"<{many * wide}f", *numbers[: many * wide])) for key, wide in widths.items()
    }
    write_tensors(folder / f"{name}.safetensors", tensors, {}, "F32")


def write_lora(folder: Path, name: str, plan: dict, flawed: bool = False) -> None:
    """Writes a small LoRA of the asked rank and alpha whose up factors have moved from zero, or hold only NaN."""
    network, layer = plan["network"], LAYERS.get(plan["model"]["family"])
    rank, tensors = network["rank"], {}
    for number in range(MODULES):
        module = layer.format(number) if layer else UNET_LAYER.format(1 + number % 2, "qk"[number // 2])
        value = NAN_HALF if flawed else struct.pack("<e", 0.01 * (number + 1))
        tensors[f"{module}.alpha"] = ([], struct.pack("<e", network["alpha"]))
        tensors[f"{module}.lora_down.weight"] = ([rank, FEATURES], struct.pack("<e", 0.05) * (rank * FEATURES))
        tensors[f"{module}.lora_up.weight"] = ([FEATURES, rank], value * (FEATURES * rank))
    facts = {"ss_network_dim": str(rank), "ss_network_alpha": str(network["alpha"])}
    write_tensors(folder / f"{name}.safetensors", tensors, facts, "F16")


def write_tensors(path: Path, tensors: dict, metadata: dict, dtype: str) -> None:
    """Writes a safetensors file."""
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for key, (shape, data) in tensors.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(data for _, data in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def write_sample(path: Path, share: float, blue: int = 128) -> None:
    """Writes an image whose colours come out of noise as the training goes on; each prompt has another blue."""
    rows = bytearray()
    for y in range(SIDE_PX):
        rows.append(0)
        for x in range(SIDE_PX):
            noise = zlib.crc32(f"{x},{y}".encode()) & 255
            for channel in (4 * x, 4 * y, blue):
                rows.append(int(share * (channel & 255) + (1 - share) * noise))
    size = struct.pack(">IIBBBBB", SIDE_PX, SIDE_PX, 8, 2, 0, 0, 0)
    pieces = ((b"IHDR", size), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in pieces
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
