"""Where a job of the remote notebook trains: the trainers, the chosen one, its price, and what is being asked of it in threads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer_core.engines.status import NOT_KNOWN, EngineStatus
from trainer_core.errors import EaselError
from trainer_ui.boundary import attempt

if TYPE_CHECKING:
    from trainer_core.estimate import Estimate
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.remote.costs import Cost
    from trainer_core.remote.kept_settings import Kept
    from trainer_core.remote.outlook import Outlook
    from trainer_core.remote.runpod.style_training import Prepared
    from trainer_core.remote.trainers import Trainer
    from trainer_core.training.run import Run
    from trainer_ui.session import Session


STYLES_ELSEWHERE = "A style is trained on RunPod: its models are on the network volume of the endpoint. Choose RunPod under “Where to train”."
NO_STYLE, NO_PLAN = "the images of a style or an actor", "a plan in a file"
"""What a source lacks that was chosen and has given nothing to train yet."""
WORDS = {
    "Name the place with --at": "Enter it under “Where the styles are”",
    "with --easel": "under “Folder of Easel there”",
}
"""What stands on the page in place of an option of the command line that a sentence names."""


def _engines(known: Mapping[str, EngineStatus] | None) -> str:
    """Which engines a trainer has, as a sentence after another one."""
    from trainer_core.engines import registry

    if known is None:
        return " It does not say which engines it has."
    titles = [one.manifest.title for one in registry.available() if known.get(one.manifest.id, NOT_KNOWN).installed]
    return f" Installed there: {', '.join(titles)}." if titles else " No engine is installed there."


def machine_of(name: str) -> str:
    """The key of `RemoteDesk.doing` and `said` under which something is done on the machine with this name."""
    return f"machine {name}"


def check_of(on: str) -> str:
    """The key of `RemoteDesk.doing` and `said` under which this trainer is asked what it has."""
    return f"trainer {on}"


class RemoteDesk:
    """The trainers and what is known of the chosen one. What takes long is asked in a thread, each thing at most once at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.kept: Kept | None = None
        """What is kept of endpoint, bucket and prices; None before it was read."""
        self.trainers: tuple[Trainer, ...] = ()
        self.on = ""
        """The chosen trainer, as `easel train --on` names it; "" for this computer."""
        self.style: Prepared | None = None
        """The training of a style whose version the run becomes; None if something else is trained."""
        self.lacks = ""
        """What the chosen source still lacks; until it is there, what was prepared before is not started."""
        self.doing: dict[str, str] = {}
        """What is being asked now, by its key, as a sentence."""
        self.said: dict[str, tuple[str, str]] = {}
        """What came of what was asked last, by its key, as a sentence and its tone."""
        self._out_of_reach: set[str] = set()
        """The trainers that could not be reached when they were asked last."""
        self._seen: tuple[object, Outlook] | None = None

    # ---- trainers ----
    def look(self) -> None:
        """Reads the trainers and what is kept again."""
        from trainer_core.remote import credentials, kept_settings, trainers

        with self.session.lock:
            self.kept = kept_settings.read()
            self.trainers = trainers.known(credentials.settings())

    @property
    def trainer(self) -> Trainer:
        """The chosen trainer."""
        from trainer_core.remote import trainers

        return trainers.named(self.on, self.trainers)

    def choose(self, on: str) -> None:
        """Trains there from now on. What its machine has is asked in a thread."""
        from trainer_core.remote import kept_settings

        self.on = on
        self.kept = kept_settings.keep(on=on)
        self.prepare()

    def prepare(self) -> None:
        """Checks the job for the chosen trainer: for this computer, or for a machine of which not much is known yet."""
        from trainer_core.prepare import workbench

        bench = self.session.bench
        if not self.on:
            workbench.use_own_machine(bench)
            return
        workbench.for_trainer(bench, None)
        if check_of(self.on) not in self.doing:
            self.ask(check_of(self.on), f"Asking {self.trainer.title} what it has", partial(self._machine, self.on))

    def _machine(self, on: str) -> str:
        """Takes over what the chosen trainer has, and says it."""
        from trainer_core.prepare import workbench
        from trainer_core.remote.runs import carrier, target
        from trainer_core.text import size

        self._out_of_reach.discard(on)
        at = target.named(on)
        try:
            found, engines = carrier.look(carrier.get(str(at["kind"])), at)
        except EaselError as error:
            if carrier.is_passing(error):
                self._out_of_reach.add(on)
            raise
        with self.session.lock:
            if self.on != on:
                return ""
            workbench.for_trainer(self.session.bench, found, engines)
        if found is None and engines is not None:
            return "It has no Easel yet. The start installs Easel and the engine there first."
        if found is None:
            return "Which GPU trains is known only when it trains. Easel checks the plan for a large one; the trainer checks it again."
        card = found.accelerator
        gpu = f"{card.name}, {size(card.vram_bytes)}" if card.kind != "cpu" else "no GPU that Easel knows"
        return f"It has {gpu}, and {size(found.disk_bytes)} of free disk space.{_engines(engines)}"

    # ---- price ----
    @property
    def price(self) -> float | None:
        """What an hour costs at the chosen trainer; None if the user has not said it."""
        return self.kept.prices.get(self.trainer.price_key) if self.kept is not None else None

    def set_price(self, text: str) -> None:
        """Keeps what an hour costs at the chosen trainer.

        Raises:
            RemoteError: it is no price.
        """
        from trainer_core.remote import costs, kept_settings

        self.kept = kept_settings.keep_price(self.trainer.price_key, costs.parsed(text))

    def cost(self) -> Cost:
        """What the job probably costs there."""
        from trainer_core.remote import costs

        return costs.cost(self.estimate(), self.price, is_rented=bool(self.on))

    def estimate(self) -> Estimate | None:
        """What the job takes there: on the GPU that the user has named for the endpoint, else on what is known of the machine."""
        from trainer_core.remote import costs, trainers

        if self.trainer.kind == trainers.RUNPOD and self.kept is not None and self.kept.gpu:
            return costs.estimate_on(self.session.bench.state, self.kept.gpu)
        return self.session.forecast.estimate if self.session.forecast is not None else None

    def outlook(self) -> Outlook:
        """What a start sends; sizes are read again when images, model or trainer have changed."""
        from trainer_core.remote import outlook

        state, trainer = self.session.bench.state, self.trainer
        key = (
            trainer,
            state.facts.dataset,
            tuple(sorted(self.session.values.items(), key=lambda each: each[0])).__repr__(),
        )
        if self._seen is None or self._seen[0] != key:
            self._seen = key, outlook.look(state, trainer)
        return self._seen[1]

    # ---- start ----
    def obstacle(self) -> tuple[str, str, str] | None:
        """What of the chosen source or trainer prevents a start, as (tone, title, sentence); None if nothing does."""
        if self.lacks:
            return "", "Something is still missing", f"Still missing: {self.lacks}. It is chosen under “What to train”."
        if self.style is not None and self.trainer.kind != "runpod":
            return "", "This trainer trains no styles", STYLES_ELSEWHERE
        if not self.on:
            return None
        if doing := self.doing.get(check_of(self.on)):
            return "", doing, "Training can start when it has answered."
        sentence, tone = self.said.get(check_of(self.on), ("", ""))
        if tone != "danger":
            return None
        what = "cannot be reached" if self.on in self._out_of_reach else "cannot train"
        return tone, f"{self.trainer.title} {what}", f"{sentence} Then press “Ask again” under “Where to train”."

    def start(self) -> None:
        """Starts the job at the chosen trainer, in a thread."""
        session = self.session
        if not self.on and self.style is None and not self.lacks:
            session.start()
            return
        if session.starting:
            return
        session.asked = True
        if not self.lacks and (reason := session.stopped_by()):
            session.note(f"Not started. {reason}")
            return
        if obstacle := self.obstacle():
            session.note(f"Not started. {obstacle[1]}. {obstacle[2]}")
            return
        session.jobs.start(partial(self._started, copy.copy(session.bench), self.on))

    def _started(self, bench: Workbench, on: str) -> Run:
        from trainer_core.remote import credentials
        from trainer_core.remote.runpod import style_training
        from trainer_core.remote.runpod.target import RunPodTarget
        from trainer_core.remote.runs import carrier, starting, target

        at, style = target.named(on), self.style
        if at["kind"] == "runpod":
            # What the button and the outlook say is the question; pressing it is the answer.
            at = {**at, "sends_models": True}
            if self.kept is not None and self.kept.gpu:
                at = {**at, "gpu": self.kept.gpu}
        with credentials.lent(carrier.get(at["kind"]).variables):
            if style is None:
                return starting.start(bench, at)
            return style_training.start(style_training.renewed(replace(style, bench=bench)), RunPodTarget.of(at))

    def use_style(self, prepared: Prepared) -> None:
        """Prepares the training of a style from now on."""
        self.style, self.lacks = prepared, ""
        bench = self.session.bench
        bench.state = prepared.bench.state
        self.session.is_method_chosen = True
        self.prepare()

    # ---- threads ----
    def ask(self, key: str, doing: str, work: Callable[[], Any], *, shows: bool = True) -> None:
        """Does something slow in a thread; what `work` returns, or why it failed, is said under this key."""
        with self.session.lock:
            if key in self.doing:
                self.session.note(f"Wait until this is done: {self.doing[key]}.")
                return
            self.doing[key] = doing
            self.said.pop(key, None)
        threading.Thread(target=self._ask, args=(key, work, shows), name=f"easel-{key}"[:40], daemon=True).start()

    def _ask(self, key: str, work: Callable[[], Any], shows: bool) -> None:
        said: list[tuple[str, str]] = []

        def do() -> None:
            try:
                said.append((str(work() or ""), ""))
            except EaselError as error:
                said.append((str(error), "danger"))

        attempt(do, lambda sentence: said.append((sentence, "danger")))
        with self.session.lock:
            self.doing.pop(key, None)
            sentence, tone = said[0]
            for option, words in WORDS.items():
                sentence = sentence.replace(option, words)
            self.said[key] = sentence, tone
        if shows:
            self.session.show_unasked()

    def tell(self, key: str, sentence: str) -> None:
        """Says how far something slow is; called by its thread."""
        with self.session.lock:
            if key in self.doing:
                self.doing[key] = sentence
        self.session.show_unasked()
