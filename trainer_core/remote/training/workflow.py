"""Builds the ComfyUI workflow that trains a LoRA of FLUX, from a template with the nodes of ComfyUI-FluxTrainer.

What is built is a plain dictionary in the form of ComfyUI's API and can be changed: `workflow["109"]["inputs"]["batch_size"] = 4`.
`TrainingClient.submit` checks it again before it is sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.remote.training import checking
from trainer_core.remote.training.hyperparams import compute_hyperparams, type_of
from trainer_core.text import printable

TEMPLATES = Path(__file__).with_name("templates")
TEMPLATE = "lora_training_workflow_headless"

MODEL, LOOP, SAVE, START, DATASET = "2", "4", "14", "107", "109"
"""The ids of the nodes that the document names: model selection, training loop, LoRA save, initialization, dataset."""
OPTIMIZER, LOSS = "95", "70"

_LONGEST_TOKEN = 100
_NO_TOKEN = re.compile(r"[|\r\n\t]|(?:^|\s)--")
"""A sample prompt ends at "|", and what begins with "--" in it is an option."""


def load_workflow_template(name: str) -> dict[str, Any]:
    """A new copy of a template, which may be changed.

    Raises:
        ValueError: there is no such template.
    """
    known = sorted(path.stem for path in TEMPLATES.glob("*.json"))
    if name not in known:
        raise ValueError(f"There is no workflow template {printable(str(name), 80)!r}. Known: {', '.join(known)}.")
    return json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class LoRATrainingWorkflow:
    """A workflow that trains a LoRA; `build` makes it.

    `class_tokens` is the trigger token. If the images are `captioned`, the captions end with it, and the dataset gets none:
    ComfyUI-FluxTrainer writes it before every caption, so that it would be there twice. Without a learning rate or steps, they
    are those for one image; `network_alpha` is `network_dim` unless it is given.
    """

    class_tokens: str
    training_type: str
    learning_rate: float | None = None
    max_train_steps: int | None = None
    network_dim: int = 16
    network_alpha: float | None = None
    batch_size: int = 2
    num_repeats: int = 10
    output_name: str = "flux_lora"
    dataset_path: str = "/training_data"
    output_dir: str = "/output"
    captioned: bool = False

    def build(self) -> dict[str, Any]:
        """The workflow, in the form of ComfyUI's API.

        Raises:
            ValueError: a value cannot be trained with; the message names it.
        """
        token, kind = _token(self.class_tokens), type_of(self.training_type)
        given = self.learning_rate is not None and self.max_train_steps is not None
        least = None if given else compute_hyperparams(self.training_type, 1)
        rate = self.learning_rate if self.learning_rate is not None else least and least.learning_rate
        steps = self.max_train_steps if self.max_train_steps is not None else least and least.max_train_steps
        made = load_workflow_template(TEMPLATE)
        made[DATASET]["inputs"] |= {
            "class_tokens": "" if self.captioned else token,
            "batch_size": self.batch_size,
            "num_repeats": self.num_repeats,
            "dataset_path": self.dataset_path,
        }
        made[START]["inputs"] |= {
            "output_name": self.output_name,
            "output_dir": self.output_dir,
            "network_dim": self.network_dim,
            "network_alpha": self.network_dim if self.network_alpha is None else self.network_alpha,
            "learning_rate": rate,
            "max_train_steps": steps,
            "sample_prompts": "|".join(prompt.replace("{token}", token) for prompt in kind.prompts),
        }
        made[LOOP]["inputs"]["steps"] = steps
        if isinstance(steps, int):
            made[LOSS]["inputs"]["window_size"] = min(made[LOSS]["inputs"]["window_size"], max(steps - 1, 0))
        check_workflow(made)
        if not rate:
            raise ValueError("The learning rate must be above 0.")
        return made


def check_workflow(workflow: Any) -> None:
    """Checks a workflow against the nodes that train.

    Raises:
        ValueError: it would not be accepted, or would not train what it says; the message has every reason.
    """
    if found := checking.problems(workflow):
        raise ValueError(" ".join(found))


def _token(text: str) -> str:
    if not isinstance(text, str) or not text.strip() or not text.isprintable() or _NO_TOKEN.search(text):
        raise ValueError('The trigger token must be a short text without line breaks, "|" and "--".')
    if len(text) > _LONGEST_TOKEN:
        raise ValueError(f"The trigger token has {len(text)} characters, more than {_LONGEST_TOKEN}.")
    return text.strip()
