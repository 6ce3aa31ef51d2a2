"""What stands in the way of tagging or captioning a dataset, as Problems with fixes, before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core import hardware
from trainer_core.captioning import (
    asking,
    captioners,
    dataset,
    endpoint,
    fetching,
    keys,
    taggers,
    tagging,
    templates,
    weights,
)
from trainer_core.captioning.captioners import Captioner
from trainer_core.captioning.taggers import Tagger
from trainer_core.errors import EaselError
from trainer_core.install import tool_environments
from trainer_core.problems import Fix, Problem, Task
from trainer_core.text import printable

GIB = 1 << 30


def before_tagging(settings: tagging.Settings) -> tuple[Problem, ...]:
    """What is wrong with a tagging that is to be started; errors prevent it."""
    found = list(_images(settings.dataset, settings.images))
    try:
        row = taggers.get(settings.model)
    except EaselError as error:
        return (*found, _problem("model", error))
    return (*found, *_files(row, settings.folder), *_environment(row, settings.folder))


def before_captioning(settings: asking.Settings, *, reaches: bool = True) -> tuple[Problem, ...]:
    """What is wrong with a captioning that is to be started. With `reaches` the endpoint is asked for its models."""
    found = list(_images(settings.dataset, settings.images))
    try:
        templates.get(settings.template, settings.text)
    except EaselError as error:
        return (*found, _problem("text" if settings.text else "template", error))
    if settings.endpoint:
        return (*found, *_endpoint(settings, reaches=reaches))
    try:
        row = captioners.get(settings.model)
    except EaselError as error:
        return (*found, _problem("model", error))
    return (*found, *_files(row, settings.folder), *_environment(row, settings.folder), *_memory(row))


def models_of(address: str, variable: str = keys.VARIABLE) -> list[str]:
    """The models that an endpoint offers; no image is sent.

    Raises:
        DownloadError: it is no endpoint, or does not answer.
    """
    host = endpoint.parse(address)
    client = endpoint.Client(host, keys.find(host.host, variable), endpoint.CONNECT_S)
    try:
        return client.models()
    finally:
        client.close()


def _problem(path: str, error: EaselError) -> Problem:
    return Problem(path, "error", error.message, Fix(error.hint) if error.hint else None)


def _images(folder: str, wanted: tuple[str, ...]) -> Iterator[Problem]:
    try:
        found = dataset.images(dataset.root_of(folder), wanted)
    except EaselError as error:
        yield _problem("dataset", error)
        return
    if not found:
        yield Problem(
            "dataset", "error", f"There are no images in {printable(folder, 200)}.", Fix("Choose a folder with images.")
        )


def _files(row: Tagger | Captioner, folder: str) -> Iterator[Problem]:
    if weights.look(row.id, row.files, folder) is not None:
        return
    if folder:
        named = ", ".join(name for name in row.files if "*" not in name)
        yield Problem(
            "folder",
            "error",
            f"{row.title} is not in {printable(folder, 200)}.",
            Fix(f"Choose a folder that has {named}."),
        )
        return
    told = f"{row.title} is not on this machine yet: {row.size_gib:.1f} GiB from {row.repository}."
    yield Problem("model", "error", f"{told} {row.terms}".strip(), _fetch(row, ""))


def _environment(row: Tagger | Captioner, folder: str) -> Iterator[Problem]:
    name = fetching.environment_of(row)
    title = tool_environments.get(name).title
    if tool_environments.installed(name) is None:
        yield Problem("model", "error", f"The environment of {title} is not installed.", _fetch(row, folder))
    elif not tool_environments.is_current(name):
        yield Problem(
            "model", "info", f"The environment of {title} is of another version of Easel.", _fetch(row, folder)
        )


def _fetch(row: Tagger | Captioner, folder: str) -> Fix:
    arguments = {"model": row.id, **({"folder": folder} if folder else {})}
    return Fix(
        f"Fetch {row.title}" if not folder else "Install the environment", task=Task(fetching.KIND, arguments, "")
    )


def _memory(row: Captioner) -> Iterator[Problem]:
    device = hardware.accelerators()[0]
    if device.kind == "cuda":
        has = device.vram_bytes / GIB
        if has and has < row.memory_gib:
            yield Problem(
                "model",
                "warning",
                f"{row.title} needs about {row.memory_gib:.0f} GiB, and {device.name} has {has:.0f} GiB.",
                Fix("Choose a smaller captioner, or a server."),
            )
        return
    has = hardware.memory_bytes()[0] / GIB
    # On the CPU each weight takes 32 bits.
    if has < 2 * row.memory_gib:
        yield Problem(
            "model",
            "error",
            f"Without a GPU, {row.title} needs about {2 * row.memory_gib:.0f} GiB of RAM, and there are {has:.0f}.",
            Fix("Choose a smaller captioner, or a server."),
        )
    else:
        yield Problem(
            "model",
            "warning",
            f"{row.title} runs on the CPU here: expect many seconds to minutes an image.",
            Fix("Use a server, or a machine with a GPU."),
        )


def _endpoint(settings: asking.Settings, *, reaches: bool) -> Iterator[Problem]:
    try:
        asking.checked(settings)
        host = endpoint.parse(settings.endpoint)
        endpoint.Client(host, keys.find(host.host, settings.key_variable)).close()
    except EaselError as error:
        yield _problem("endpoint" if settings.model.strip() else "model", error)
        return
    if not host.is_safe:
        yield Problem(
            "endpoint", "warning", f"What is sent to {host.host} is not encrypted.", Fix("Use an address with https.")
        )
    if not reaches:
        return
    try:
        names = models_of(settings.endpoint, settings.key_variable)
    except EaselError as error:
        yield _problem("endpoint", error)
        return
    if names and settings.model not in names:
        shown = ", ".join(names[:8])
        yield Problem(
            "model",
            "warning",
            f"{host.host} does not list {printable(settings.model, 100)}.",
            Fix(f"It lists: {shown}."),
        )
