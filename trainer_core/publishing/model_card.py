"""The model card of a result: a Markdown text whose first part is YAML for the Hub.

Source: https://huggingface.co/docs/hub/model-cards, and the schema in hub-docs (modelcard.md); `instance_prompt`, `widget`
and the tag `template:sd-lora` as diffusers writes them, examples/dreambooth/train_dreambooth_lora_sdxl.py, save_model_card.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import RunError
from trainer_core.files import read_toml
from trainer_core.models.families import load_families
from trainer_core.text import printable, without_secrets
from trainer_core.training import acceptance, choice
from trainer_core.training.metadata import privacy
from trainer_core.training.results import inside

if TYPE_CHECKING:
    from trainer_core.training.results import Made, Results
    from trainer_core.training.run import Run

NO_LICENCE = "none"
LONGEST = 100_000
"""The most characters of a card."""
IMAGES = "images"
"""The folder of the sample images in the repository."""
TERMS = "## Licence\n\nDescribe here under which terms this model may be used."
"""The section of a card whose licence is none of the usual ones."""
_FRONT = re.compile(r"\A---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_MARKED = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class Picked:
    """A sample for the card: its file in the run folder, its name in the repository, and its prompt."""

    path: Path
    name: str
    prompt: str


@functools.cache
def licences() -> Mapping[str, str]:
    """The titles of the licences that a card can name, by the Hub's identifier; "none" for no licence."""
    table = read_toml(Path(__file__).with_name("licences.toml"), RunError, "Install Easel again.")
    return {name: str(row["title"]) for name, row in table.items()}


def picked(run: Run, results: Results, one: Made) -> tuple[Picked, ...]:
    """The samples of a result, one for each prompt."""
    folder, found = run.folder.path, []
    for row, path in sorted(one.samples.items()):
        if inside(folder, path.relative_to(folder).as_posix()) is not None and path.is_file():
            text = results.prompts[row].text if row < len(results.prompts) else ""
            found.append(Picked(path, f"{IMAGES}/prompt-{row + 1}.png", text))
    return tuple(found)


def draft(
    run: Run,
    one: Made,
    file_name: str,
    *,
    samples: Sequence[Picked] = (),
    licence: str = NO_LICENCE,
    base_model: str = "",
) -> str:
    """The text of the card, for the user to read and change.

    `base_model` is the id of a repository on the Hub; the card always names the file of the base model in its text.

    Raises:
        RunError: the plan of the run is damaged, or the licence is not known.
    """
    check_licence(licence)
    plan = run.folder.plan
    front = _front(plan, samples, licence, base_model)
    return f"---\n{yaml_of(front)}---\n\n{_body(run, plan, one, file_name, samples, licence)}"


def check_licence(licence: str) -> None:
    """Checks a licence that a user chose.

    Raises:
        RunError: it is none of `licences`.
    """
    if licence not in licences():
        raise RunError(
            f"{printable(licence, 60)!r} is not a licence that Easel knows.", f"Known: {', '.join(licences())}."
        )


def check(text: str) -> None:
    """Checks a card that the user may have changed.

    Raises:
        RunError: it is too long, or its front part is not valid YAML.
    """
    import yaml

    if len(text) > LONGEST:
        raise RunError(f"The card has {len(text):,} characters.", f"It may have at most {LONGEST:,}: shorten it.")
    found = _FRONT.match(text)
    if found is None:
        raise RunError(
            "The card does not begin with its settings between two lines of ---.",
            "The Hub reads base model, licence and tags from there: put them back.",
        )
    try:
        tables = yaml.safe_load(found["yaml"])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" Line {mark.line + 2} of the card." if mark else ""
        raise RunError(f"The settings at the top of the card are not valid YAML.{line}", "Correct them.") from error
    if not isinstance(tables, dict):
        raise RunError("The settings at the top of the card are not a table.", "Each line must be `name: value`.")


def _front(plan: Mapping[str, Any], samples: Sequence[Picked], licence: str, base_model: str) -> dict[str, Any]:
    kind, trigger = acceptance.kind_of(plan), _trigger(plan)
    family = str(plan.get("model", {}).get("family") or "")
    tags = ["text-to-image", "diffusers", *_kind_tags(plan, kind), *([family] if family else []), "easel"]
    front: dict[str, Any] = {"tags": list(dict.fromkeys(tags)), "pipeline_tag": "text-to-image"}
    if kind == "network":
        front["library_name"] = "diffusers"
    front |= chosen(base_model, licence, is_network=kind == "network")
    if trigger:
        front["instance_prompt"] = trigger
    if samples:
        front["widget"] = [{"text": one.prompt or trigger or "-", "output": {"url": one.name}} for one in samples]
    return front


def chosen(base_model: str, licence: str, *, is_network: bool) -> dict[str, str]:
    """What the user has chosen for the first part of a card: the base model's repository, and the licence."""
    found = {}
    if base_model:
        found["base_model"] = base_model
        # The Hub counts a LoRA as an adapter of its base model. Source: model-cards, "Specifying a base model".
        found["base_model_relation"] = "adapter" if is_network else "finetune"
    if licence != NO_LICENCE:
        found["license"] = licence
    return found


def _kind_tags(plan: Mapping[str, Any], kind: str) -> list[str]:
    if kind == "network":
        return [_algorithm(plan), "template:sd-lora"]
    return ["textual_inversion"] if kind == "embedding" else []


def yaml_of(front: Mapping[str, Any]) -> str:
    """The first part of a card, without the lines around it."""
    import yaml

    return yaml.safe_dump(dict(front), sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000)


def _body(run: Run, plan: Mapping[str, Any], one: Made, file_name: str, samples: Sequence[Picked], licence: str) -> str:
    title, trigger = choice.stem_of(run.folder), _trigger(plan)
    base = privacy.file_name(str(plan.get("model", {}).get("path") or ""))
    parts = [f"# {plain(title)}", _sentence(plan, base)]
    if trigger:
        parts.append(f"## Trigger word\n\nWrite `{code(trigger)}` into your prompt.")
    if samples:
        shown = (f"![{plain(each.prompt[:80]) or 'sample'}]({each.name})\n*{plain(each.prompt)}*" for each in samples)
        parts.append("## Samples\n\n" + "\n\n".join(shown))
    parts.append(f"## Use it\n\n{_how(plan, file_name)}")
    rows = "\n".join(f"| {name} | {plain(str(value))} |" for name, value in _settings(run, plan, one))
    parts.append(f"## Training\n\n| setting | value |\n|---|---|\n{rows}")
    if licence == "other":
        parts.append(TERMS)
    return "\n\n".join(parts) + "\n"


def _sentence(plan: Mapping[str, Any], base: str) -> str:
    noun = acceptance.noun(plan)
    family = load_families().get(str(plan.get("model", {}).get("family") or ""))
    named = f" for {family.title}" if family else ""
    trained = f", trained on `{code(base)}`" if base else ""
    return f"{article(noun)} {noun}{named}{trained}."


def article(noun: str) -> str:
    """The article before a word at the start of a sentence."""
    return "An" if noun[:1].lower() in "aeio" else "A"


def _how(plan: Mapping[str, Any], file_name: str) -> str:
    if acceptance.kind_of(plan) == "network":
        where = "`ComfyUI/models/loras`, or `models/Lora` of Forge and A1111"
    elif acceptance.kind_of(plan) == "embedding":
        where = "`ComfyUI/models/embeddings`, or `embeddings` of Forge and A1111"
    else:
        where = "`ComfyUI/models/checkpoints`, or `models/Stable-diffusion` of Forge and A1111"
    return f"Download `{code(file_name)}` and put it into {where}."


def _settings(run: Run, plan: Mapping[str, Any], one: Made) -> list[tuple[str, object]]:
    """The settings that say how it was trained; those that are not known are left out."""
    network, schedule = plan.get("network", {}), plan.get("schedule", {})
    dataset, optimizer = plan.get("dataset", {}), plan.get("optimizer", {})
    versions = run.folder.versions
    is_network = acceptance.kind_of(plan) == "network"
    total = schedule.get("steps")
    rows: list[tuple[str, object]] = [
        ("Network", f"{_algorithm(plan)}, rank {network.get('rank')}, alpha {network.get('alpha'):g}" if is_network and isinstance(network.get("alpha"), int | float) else ""),
        ("Steps", f"{one.step:,} of {total:,}" if one.step and isinstance(total, int) else one.step or ""),
        ("Images", versions.get("images") if isinstance(versions.get("images"), int) else ""),
        ("Resolution", f"{dataset['resolution']} px" if dataset.get("resolution") else ""),
        ("Batch size", schedule.get("batch_size", "")),
        ("Optimizer", optimizer.get("name", "")),
        ("Learning rate", optimizer.get("learning_rate", "")),
        ("Schedule", schedule.get("scheduler", "")),
        ("Engine", " ".join(str(versions.get(name, "")) for name in ("engine", "engine_version")).strip()),
    ]  # fmt: skip
    return [(name, value) for name, value in rows if value not in ("", None)]


def _algorithm(plan: Mapping[str, Any]) -> str:
    return str(plan.get("network", {}).get("algorithm") or "lora")


def _trigger(plan: Mapping[str, Any]) -> str:
    return without_secrets(printable(str(plan.get("dataset", {}).get("trigger") or ""), 200))


def plain(text: str) -> str:
    """A text from outside, so that Markdown shows it as it is."""
    return _MARKED.sub(r"\\\1", " ".join(without_secrets(printable(text, 500)).split()))


def code(text: str) -> str:
    """A text from outside, for Markdown's code."""
    return " ".join(without_secrets(printable(text, 300)).replace("`", "'").split())
