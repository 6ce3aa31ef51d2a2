"""What the user has set comes back when the app is opened again: it is kept in a file, and one line says so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from trainer_core.prepare import kept_form
from trainer_core.prepare.kept_form import Form
from trainer_ui.boundary import attempt
from trainer_ui.formatting import Paragraph, show
from trainer_ui.keeper import Keeper, when
from trainer_ui.pasts import name_of
from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from trainer_core.training.run import Run
    from trainer_ui.session import Session

BEFORE = "before"
"""The name of the form that was put away last: see `KeptForm.start_afresh`."""
FRESH, BACK, UNDO = "Start afresh", "Bring them back", "Undo"


class KeptForm:
    """The form of an app: brought back when the app is opened, and kept while the user changes it.

    A form with which a run was started belongs to this run: as long as the run is in progress the app shows the settings of
    the run. `begun_with` are the arguments that the app was opened with; a form that was begun with others is not brought back,
    and can be brought back by a button.
    """

    def __init__(self, session: Session, app: str, begun_with: tuple[Mapping[str, Any], str, str]) -> None:
        self.session, self.app = session, app
        self._begun_with = begun_with
        self._arguments = json.dumps(begun_with, sort_keys=True, default=str) if any(begun_with) else ""
        self._keeper = Keeper(kept_form.kept_in(app), session.show_soon, kept_form.keep)
        self._last: Form | None = None
        self._asked: Form | None = None
        """The form whose images are being checked, to be started."""
        self._started = session.started
        engine = session.bench.state.engine
        self._engine = engine.manifest.id if engine else ""
        """The engine that the app was opened with; "" if Easel chooses."""
        self.says = Paragraph("", "grow", role="status")
        self.button = Button(description=FRESH, classes=("easel-small",))
        self.button.on_click(session.handler(lambda _: self._turn()))
        self.widget = Box([self.says, self.button], classes=("easel-message", "easel-kept"))
        show(self.widget, False)

    def restore(self) -> bool:
        """Brings the kept form back if there is one that was not started yet; returns whether it did."""
        path = kept_form.kept_in(self.app)
        found: list[kept_form.Kept | None] = [None]
        attempt(lambda: found.__setitem__(0, kept_form.read(path)), self._say)
        kept, run = found[0], self.session.run
        if kept is None or kept.form.is_empty or (run is not None and kept.form.run == run.name):
            return False
        if kept.form.begun_with != self._arguments:
            attempt(lambda: self._put_away(kept.form), self.session.note)
            self._tell(
                f"This notebook was opened with other arguments. Your settings of {when(kept.saved)} are kept.", BACK
            )
            return False
        return self._bring_back(kept)

    def remember(self) -> None:
        """Takes what the app has now as known, so that only what the user changes from now on is kept."""
        self._last = self._form()
        self.session.before_taking = self._before_taking

    def show(self) -> None:
        """Keeps the form if it has changed."""
        session, form = self.session, self._form()
        run = session.started
        if run is not None and run is not self._started:
            self._started = run
            is_of_run = self._asked is not None and form.is_same(self._asked)
            self._keep(replace(form, run=run.name) if is_of_run else form)
            show(self.widget, False)
        elif self._last is not None and not form.is_same(self._last):
            self._keep(form)
        if not session.starting:
            self._asked = None
        elif self._asked is None:
            self._asked = form

    def close(self) -> None:
        """Writes what was not written yet."""
        self._keeper.close()

    def _keep(self, form: Form) -> None:
        self._last = form
        self._keeper.keep(form)

    def _form(self) -> Form:
        session = self.session
        recalled = session.memory.recalled
        values = session.bench.state.draft.values
        # They come back with their subject.
        without = [path for path, value in recalled.items() if values.get(path) == value]
        return kept_form.form_of(
            session.bench,
            without,
            wish=session.wish,
            knows_method=session.is_method_chosen,
            begun_with=self._arguments,
        )

    def _bring_back(self, kept: kept_form.Kept) -> bool:
        session, said = self.session, list(kept.said)

        def use() -> None:
            kept_form.clear(session.bench)
            said.extend(kept_form.use(session.bench, kept.form))
            session.is_method_chosen |= kept.form.knows_method
            if kept.form.wish:
                session.wish_for(kept.form.wish)
            attempt(session.memory.follow, said.append)

        if not attempt(use, said.append):
            said.append(f"They are kept in {kept_form.kept_in(self.app, BEFORE)}.")
            attempt(lambda: self._put_away(kept.form), said.append)
        self._tell(" ".join([f"Your settings of {when(kept.saved)} are here again.", *said]), FRESH)
        return True

    def _turn(self) -> None:
        """Starts afresh, or brings back what was put away."""
        if self.button.description == FRESH:
            self.start_afresh()
            return
        kept = kept_form.read(kept_form.kept_in(self.app, BEFORE))
        if kept is not None:
            # What was put away names its own engine, or lets Easel choose.
            self.session.bench.use_engine("")
            self._bring_back(kept)

    def start_afresh(self) -> None:
        """Empties the form, and keeps what was in it in a second file, from which it can be brought back.

        Raises:
            OSError: that file cannot be written; the form is not changed.
        """
        session = self.session
        self._put_away(self._form())
        settings, profile, preset = self._begun_with
        kept_form.clear(session.bench)
        session.bench.use_engine(self._engine)
        session.wish, session.asked = "", False
        session.is_method_chosen = False
        session.memory.recalled = {}
        session.bench.set({kept_form.METHOD: session.methods[0]})
        session.change(settings)
        session.bench.use_profile(profile)
        session.bench.use_preset(preset)
        for forget in session.forgetting:
            forget()
        self._tell("The form is empty again. Your settings are kept.", BACK)

    def _before_taking(self, run: Run) -> None:
        """Keeps the form, which the settings of a run replace, and says whose settings are here.

        Raises:
            OSError: the form cannot be kept; it is not replaced then.
        """
        form, sentence = self._form(), f"Settings of {name_of(run)} are here."
        if form.is_empty:
            self._tell(sentence, FRESH)
            return
        self._put_away(form)
        self._tell(f"{sentence} Those that you had are kept.", UNDO)

    def _put_away(self, form: Form) -> None:
        kept_form.keep(kept_form.kept_in(self.app, BEFORE), form)

    def _say(self, sentence: str) -> None:
        self._tell(sentence, "")

    def _tell(self, sentence: str, action: str) -> None:
        self.says.show_text(sentence)
        self.button.description = action
        show(self.button, bool(action))
        show(self.widget, True)
