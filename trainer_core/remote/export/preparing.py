"""A plan as a task for another scheduler: checked for a machine with a GPU that fits, with its files and scripts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source
from trainer_core.engines import launcher
from trainer_core.errors import PlanError, RemoteError, wrong_use
from trainer_core.estimate import Estimate, against, estimate
from trainer_core.models import hub_repository
from trainer_core.plan import fields
from trainer_core.prepare import problems as job_problems
from trainer_core.prepare import provenance
from trainer_core.problems import blocking
from trainer_core.remote.export import gpus, mounts, scripts, source
from trainer_core.remote.export.gpus import GIB, Gpu
from trainer_core.remote.export.task import BUCKET_KEYS, BUCKET_SETTINGS, TOKEN, Change, Mount, Resources, Task, Wanted
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest
    from trainer_core.engines.seam import Backend
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.prepare.state import State
    from trainer_core.prepare.workbench import Workbench

EASEL_GIB, ENGINE_GIB, ROOM_GIB = 1, 12, 10
"""Disk space for Easel, for an engine with what it loads from the Hub, and what stays free."""
LEAST_RAM_GIB, RAM_ROOM = 8, 1.15
LONGEST_NAME = 36


def prepared(bench: Workbench, wanted: Wanted, given: Collection[str] = ()) -> Task:
    """The plan of a workbench as a task. The workbench then has the facts of the machine that the plan is for.

    `given` are the names of the variables that have a value here: settings of a bucket without one are left out.

    Raises:
        PlanError: there is a blocking Problem.
        RemoteError: a file is missing, no GPU fits, or an option cannot be used.
    """
    backend = bench.state.backend
    if backend is None:
        raise PlanError("No engine trains this model.", "Name an engine in the plan.", bench.problems)
    bucket = _bucket(wanted.bucket)
    if wanted.model_from:
        _check_link(wanted.model_from)
    count = launcher.processes(bench.state.draft.sketch().native.get(backend.manifest.id, {}).get(launcher.TABLE, {}))
    before = dict(bench.state.draft.values)
    fitting, seen = _fitting(bench, backend, wanted.gpu, count)
    _check(bench, backend)
    changes = _changes(before, bench.state)
    plan = job_problems.plan(bench.state, backend)
    tables, found = mounts.collected(plan, backend.manifest, wanted.model_from, is_shared=wanted.is_shared)
    if bucket:
        _check_upload(plan, found)
    origin = source.source(wanted.easel)
    engine = backend.manifest.id if backend.manifest.needs_installation else ""
    text = _plan_text(tables, backend.manifest)
    name = _name(plan, text)
    # A folder of its own for each plan: the names of their files there are the same.
    bucket = f"{bucket}{name}/" if bucket else ""
    model = str(mounts.downloaded(mounts.local(plan.model.path))) if wanted.model_from else ""
    sent = found if bucket else ()
    files = {
        scripts.PLAN: text.encode(),
        scripts.SETUP: scripts.setup(origin, engine, sent, bucket, wanted.model_from, model).encode(),
        scripts.TRAIN: scripts.train(origin, bucket).encode(),
        **({source.ARCHIVE: origin.archive} if origin.archive else {}),
    }
    secrets = (*((TOKEN,) if wanted.passes_token else ()), *(BUCKET_KEYS if bucket else ()))
    return Task(
        name=name,
        title=printable(plan.output_stem, 60),
        engine=backend.manifest.id,
        resources=_resources(fitting, count, seen, found, mounts.size_of(plan.model.path) if model else 0),
        files=files,
        mounts=() if bucket else found,
        uploads=sent,
        upload=scripts.upload(found, bucket) if bucket else "",
        bucket=bucket,
        secrets=secrets,
        settings=tuple(name for name in BUCKET_SETTINGS if name in given) if bucket else (),
        one_machine=_one_machine(backend.manifest),
        changes=changes,
        notes=(*(each.sentence for each in changes), *_notes(bench.state, plan, bool(fitting))),
    )


def _bucket(text: str) -> str:
    """The address of the folder in a bucket, as s3://bucket/folder/; "" for none."""
    if not text:
        return ""
    from trainer_core.remote import addresses

    found = addresses.parse(text)
    if not found.is_folder:
        raise wrong_use(RemoteError(f"{found.uri} is the address of one object.", 'End it with "/" for a folder.'))
    return found.uri


def _check_link(link: str) -> None:
    """Refuses what is no link, or has a secret in it.

    Raises:
        RemoteError: the machine could not download it, or everybody who sees the export could read the secret.
        DownloadError: Easel does not follow such links.
    """
    from trainer_core.models import downloads

    if downloads.parse(link) is None:
        message = f"{printable(link, 100)} is no link to a model."
        raise wrong_use(RemoteError(message, "Give a repository or a file of Hugging Face, or another address."))
    if downloads.shown(link) != link.strip():
        message = "The link to the model contains a password, a token or a signature, which everybody could read in the export."
        raise wrong_use(RemoteError(message, "Give a link without it; a token is passed on with --with-token."))


def _check_upload(plan: TrainingPlan, found: tuple[Mount, ...]) -> None:
    """Refuses what an upload to a bucket leaves out: links, and hidden files such as those with the selections.

    Raises:
        RemoteError: the plan needs one of them.
    """
    linked = next((each for each in found if each.links), None)
    if linked is not None:
        message = f"{printable(str(linked.source), 200)} contains links, which are not uploaded to a bucket."
        raise RemoteError(message, "Copy the folder first; for a dataset with: easel dataset export.", "content")
    if plan.dataset.selection or any(each.selection for each in plan.dataset.subsets):
        message = "The plan uses a selection of a dataset, which is not uploaded to a bucket."
        raise RemoteError(message, "Copy its images first, with: easel dataset export --selection NAME.", "content")


def _fitting(bench: Workbench, backend: Backend, name: str, count: int) -> tuple[tuple[Gpu, ...], Estimate | None]:
    """The GPUs that fit, the smallest first, and the estimate for that one, whose machine the workbench then has.

    Older GPUs without bf16 must be asked for by name: the plan gets its number format from the GPU.
    """
    if name.casefold() == gpus.NONE:
        if count > 1:
            raise wrong_use(RemoteError(f"The plan starts {count} processes, each on a GPU.", "Name a GPU."))
        return (), _seen(bench, backend, None, 1)
    if name:
        chosen = gpus.named(name)
        return (chosen,), _seen(bench, backend, chosen, count)
    offered = [each for each in gpus.known() if each.has_bf16]
    seen: Estimate | None = None
    for gpu in offered:
        seen = _seen(bench, backend, gpu, count)
        if seen is None:
            # The Problems say more.
            _check(bench, backend)
        if seen is None or seen.vram_gib[1] <= 0:
            message = "Easel cannot estimate how much GPU memory this plan needs."
            raise RemoteError(message, "Name a GPU with --gpu.", "size")
        if against(seen, bench.state.facts.machine).fits == "yes":
            return tuple(each for each in offered if each.memory >= gpu.memory), seen
    assert seen is not None
    low, high = seen.vram_gib
    raise RemoteError(
        f"The plan needs {low:.0f} to {high:.0f} GiB of GPU memory, and the largest known GPU, {offered[-1].name}, has {offered[-1].memory}.",
        "Make the plan need less, or name a GPU with --gpu to export it anyway.",
        "size",
    )


def _seen(bench: Workbench, backend: Backend, gpu: Gpu | None, count: int) -> Estimate | None:
    """The estimate on a machine with these GPUs, which the workbench then has; None if the plan is not complete.

    What this machine has installed says nothing about that one.
    """
    bench.use_machine(gpus.machine(gpu, count))
    bench.state = bench.state.with_facts(engines={}, hub=None)
    draft = bench.state.draft
    if draft.facts.detection is None or draft.value_problems():
        return None
    return estimate(draft.sketch(), draft.facts, (), backend.manifest)


def _check(bench: Workbench, backend: Backend) -> None:
    """Refuses a plan with a blocking Problem.

    Raises:
        PlanError: there is one.
    """
    stopping = blocking(bench.state.draft.problems(backend))
    if stopping:
        raise PlanError("The plan cannot be exported, because it could not be trained.", "Change it.", stopping)


def _resources(
    fitting: tuple[Gpu, ...], count: int, seen: Estimate | None, found: tuple[Mount, ...], fetched: int
) -> Resources:
    """What the machine needs; `fetched` are the bytes of what it downloads itself."""
    need = seen.vram_gib[1] if seen else 0
    # A named GPU may have less than the upper end of the estimate.
    gpu_gib = min(math.ceil(need), fitting[0].memory) if need else fitting[0].memory if fitting else 0
    ram = max(LEAST_RAM_GIB, math.ceil((seen.ram_gib if seen else 0) * RAM_ROOM))
    sent = sum(each.size_bytes for each in found)
    disk = (seen.disk_gib if seen else 0) + (sent + fetched) / GIB
    return Resources(
        fitting,
        count if fitting else 0,
        gpu_gib if fitting else 0,
        ram,
        math.ceil(disk) + EASEL_GIB + ENGINE_GIB + ROOM_GIB,
    )


def _plan_text(tables: Mapping[str, Any], manifest: BackendManifest) -> str:
    """The plan as a file that has every value, so that the machine there adds none."""
    import tomli_w

    top = {"schema_version": 1, "engine": manifest.id, "profile": "plain", "policy": "none"}
    rest = {name: value for name, value in tables.items() if name not in top}
    return "# Made by Easel. The paths begin in the folder of the task.\n" + tomli_w.dumps({**top, **_plain(rest)})


def _plain(value: Any) -> Any:
    """The value with lists instead of tuples, and without empty entries, which TOML has no word for."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _name(plan: TrainingPlan, text: str) -> str:
    """A name of small letters, digits and hyphens that is different for different plans."""
    bare = "".join(
        char if char.isascii() and char.isalnum() else "-" for char in mounts.safe_name(plan.output_stem).lower()
    )
    bare = "-".join(filter(None, bare.split("-")))[: LONGEST_NAME - 14].strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"easel-{bare}-{digest}" if bare else f"easel-{digest}"


def _one_machine(manifest: BackendManifest) -> str:
    """Why a training of this engine uses one machine, as a sentence."""
    reason = manifest.options.launch.refused.get("num_machines", "")
    return f"{manifest.title} trains on one machine" + (f": {reason}" if reason else ".")


def _changes(before: Mapping[str, Any], state: State) -> tuple[Change, ...]:
    """The values that are other ones than on the machine that the plan was made for."""
    name = state.facts.machine.accelerator.name
    return tuple(
        Change(path, before.get(path), value, provenance.of(state, path).reason, name)
        for path, value in state.draft.values.items()
        if path in fields.all_fields() and value != before.get(path)
    )


def _notes(state: State, plan: TrainingPlan, has_gpu: bool) -> list[str]:
    notes = []
    path = "memory.mixed_precision"
    if has_gpu and plan.memory.mixed_precision == "no" and state.draft.source_of(path) is Source.USER:
        notes.append(
            f"The plan sets {path} to no, so it computes in 32 bits: this needs more memory and time on a GPU. Remove it from the plan "
            "to have Easel choose for the GPU."
        )
    if plan.output.copy_to:
        notes.append(f"{printable(plan.output.copy_to, 100)} is a folder of this machine, so nothing is copied there.")
    if hub_repository.is_place(plan.output.mirror_to):
        notes.append(
            f"Nothing is mirrored to {printable(plan.output.mirror_to, 100)}: that needs a token, which is not sent along."
        )
    elif plan.output.mirror_to:
        notes.append(
            f"{printable(plan.output.mirror_to, 100)} is a folder of this machine, so nothing is mirrored there."
        )
    return notes
