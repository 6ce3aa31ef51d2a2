"""The user's own profiles: saving the present values as one, comparing two, sharing and removing them."""

from __future__ import annotations

import threading
from html import escape
from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_core.text import printable
from trainer_ui import recipes
from trainer_ui.boundary import attempt
from trainer_ui.components.exchange import Exchange
from trainer_ui.controls import value_text
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import HTML, Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer_core.profiles import Beside, Draft, Incoming, Profile
    from trainer_ui.session import Session

FEW = 6
"""How many values are named in a sentence about what is saved."""
NOT_CHOSEN = "Choose one"


class SaveProfile:
    """A name, a description, and what of the present values is saved."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.name = Text(description="Name of the profile", placeholder="My character")
        self.about = Text(description="What it is for", placeholder="For 20 to 40 drawings of one figure")
        self.what = Paragraph("", "muted", "small")
        self.save = Button(description="Save as my profile", classes=("easel-small",))
        self.replace = Button(description="Replace it", classes=("easel-small",))
        self.keep = Button(description="Keep the old one", classes=("easel-small", "easel-quiet"))
        self.question = Paragraph("", "small", "grow", role="status")
        self.save.on_click(session.handler(lambda _: self._ask()))
        self.replace.on_click(session.handler(lambda _: self._write()))
        self.keep.on_click(session.handler(lambda _: self._confirm("")))
        self.name.observe(session.handler(lambda _: self._confirm("")), "value")
        self.confirm = row(self.question, self.replace, self.keep)
        both = Box([self.name, self.about], classes=("easel-pair",))
        self.widget = VBox([both, self.what, row(self.save), self.confirm], classes=("easel-part",))
        show(self.confirm, False)

    def _made(self, title: str = "") -> Draft:
        """The profile that would be saved."""
        from trainer_core import profiles
        from trainer_core.profiles.exporting import plain_id

        state, title = self.session.bench.state, title or self.name.value.strip() or "Mine"
        return profiles.from_plan(
            state.draft.sketch().model_dump(),
            title=title,
            wanted_id=plain_id(title),
            based_on=state.profile.id if state.profile else "",
            family=state.family,
            explanation=self.about.value.strip(),
        )

    def _ask(self) -> None:
        from trainer_core import profiles

        if not self.name.value.strip():
            self.session.note("Give the profile a name.")
            return
        made = self._made().profile
        if made.id in profiles.own()[0]:
            self._confirm(f"You have a profile “{profiles.own()[0][made.id].title}” already.")
        else:
            self._write()

    def _write(self) -> None:
        from trainer_core import profiles

        made = self._made()
        profiles.save(made.profile)
        self._confirm("")
        self.session.bench.use_profile(made.profile.id)
        self.session.note(" ".join((f"Saved as “{made.profile.title}”.", *made.notes)))

    def _confirm(self, question: str) -> None:
        self.question.show_text(question)
        show(self.confirm, bool(question))

    def show(self) -> None:
        """Says what would be saved."""
        if not self.session.bench.state.family:
            self.what.show_text("Choose a model first: a profile is made for a family of models.")
            self.save.disabled = True
            return
        self.save.disabled = False
        made: list[Draft] = []
        attempt(lambda: made.append(self._made("Mine")), self.what.show_text)
        if made:
            settings = [(path, value) for path, value in made[0].profile.settings.items() if path != "model.method"]
            known = fields.all_fields()
            named = [f"{known[path].title} {value_text(path, value)}" for path, value in settings[:FEW]]
            more = f" and {len(settings) - FEW} more" if len(settings) > FEW else ""
            told = (
                f"Saves {len(settings)} values: {', '.join(named)}{more}." if settings else "Every value is a default."
            )
            self.what.show_text(f"{told} Paths, names and the trigger word are left out.")


class CompareProfiles:
    """Two profiles beside each other, with what differs first."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choices = [
            Dropdown(description=name, options=[(NOT_CHOSEN, "")]) for name in ("First profile", "Compared with")
        ]
        for one in self.choices:
            one.observe(session.handler(lambda _: None), "value")
        self.told = Paragraph("", "muted", "small", role="status")
        self.table = HTML(classes=("easel-beside",))
        self.widget = VBox([Box(self.choices, classes=("easel-pair",)), self.told, self.table], classes=("easel-part",))

    def show(self, known: list[Profile]) -> None:
        """Offers these profiles, and shows those that are chosen."""
        from trainer_core import profiles

        options = [(NOT_CHOSEN, ""), *recipes.named(known)]
        present = self.session.bench.state.profile
        for place, one in enumerate(self.choices):
            kept = one.value
            if tuple(one.options) != tuple(options):
                one.options = options
            offered = {id_ for _, id_ in options}
            first = present.id if not place and present and not kept else kept
            one.value = first if first in offered else ""
        chosen = [next((profile for profile in known if profile.id == one.value), None) for one in self.choices]
        if None in chosen or chosen[0] is chosen[1]:
            self.told.show_text("Choose two profiles." if chosen[0] is not chosen[1] or None in chosen else "")
            self.table.value = ""
            return
        rows = profiles.compare(*(profile for profile in chosen if profile))
        differ = sum(one.differs for one in rows)
        self.told.show_text(f"{differ} of {len(rows)} settings differ. A value in brackets is the default.")
        self.table.value = _table(rows, [profile.title for profile in chosen if profile])


def _table(rows: Iterable[Beside], titles: list[str]) -> str:
    """The table as markup, with every text escaped."""
    head = "".join(f'<th scope="col">{escape(printable(title, 60))}</th>' for title in ("Setting", *titles))
    body = "".join(
        f'<tr class="{"easel-differs" if one.differs else "easel-same"}"><th scope="row">{escape(one.title)}</th>'
        + "".join(
            f"<td>{escape(printable(text if is_set else f'({text})', 200))}</td>"
            for text, is_set in (
                (value_text(one.path, value), is_set)
                for value, is_set in zip((one.first, one.second), one.is_set, strict=True)
            )
        )
        + "</tr>"
        for one in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class ShareProfiles:
    """A profile as a file: downloaded, or taken from a file, a path or a link after it was looked at; and removal."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.found: Incoming | None = None
        self.removed = ""
        self.own = Dropdown(description="Your profiles", options=[(NOT_CHOSEN, "")])
        self.own.observe(session.handler(lambda _: None), "value")
        self.download = Button(description="Download it", classes=("easel-small",))
        self.remove = Button(description="Remove it", classes=("easel-small",))
        self.undo = Button(description="Put it back", classes=("easel-small",))
        self.origin = Text(
            description="Path or link of a profile", placeholder="/path/to/profile.toml", continuous_update=False
        )
        self.look = Button(description="Look at it", classes=("easel-small",))
        self.exchange = Exchange(
            "Upload a file", ".toml", session.handler(lambda sent: self._take(*sent)), session.handler(session.note)
        )
        self.told = Paragraph("", "small", role="status")
        self.accept = Button(description="Save it as mine", classes=("easel-small",))
        self.refuse = Button(description="Leave it", classes=("easel-small", "easel-quiet"))
        for button, action in (
            (self.download, self._download),
            (self.remove, self._remove),
            (self.undo, self._put_back),
            (self.look, self._look),
            (self.accept, self._accept),
            (self.refuse, self._forget),
        ):
            button.on_click(session.handler(lambda _, act=action: act()))
        self.decide = row(self.accept, self.refuse)
        self.widget = VBox(
            [
                self.own,
                row(self.download, self.remove, self.undo),
                helped(self.origin, "A file on this machine or a link. Nothing is saved before you have seen it."),
                row(self.look, self.exchange),
                self.told,
                self.decide,
            ],
            classes=("easel-part",),
        )

    def _download(self) -> None:
        from trainer_core import profiles

        profile = profiles.by_name(str(self.own.value))
        self.exchange.save(f"{profile.id}.toml", profiles.dumps(profile))

    def _remove(self) -> None:
        from trainer_core import profiles

        name = str(self.own.value)
        profiles.remove(name)
        self.removed = name
        if self.session.bench.state.profile is not None and self.session.bench.state.profile.id == name:
            self.session.bench.use_profile("")
        self.session.note(f"Removed the profile {name}. “Put it back” restores it.")

    def _put_back(self) -> None:
        from trainer_core import profiles

        profiles.put_back(self.removed)
        self.removed = ""

    def _look(self) -> None:
        """Reads the profile in a thread, because a link may take long."""
        text = self.origin.value.strip()
        if text:
            self.told.show_text("Reading the profile …")
            threading.Thread(target=lambda: self._read(text), name="easel-profile", daemon=True).start()

    def _read(self, text: str) -> None:
        from trainer_core import profiles

        found: list[Incoming] = []
        said: list[str] = []
        attempt(lambda: found.append(profiles.incoming(text)), said.append)
        with self.session.lock:
            self.found = found[0] if found else None
            self.told.show_text(said[0] if said else "")
        self.session.show_soon()

    def _take(self, raw: bytes, name: str) -> None:
        from trainer_core import profiles

        self.found = None
        self.told.show_text("")
        attempt(lambda: setattr(self, "found", profiles.uploaded(raw, name, f"the file {name}")), self.told.show_text)

    def _accept(self) -> None:
        from trainer_core import profiles

        assert self.found is not None  # the button is shown only then
        profiles.save(self.found.profile)
        self.session.note(f"“{printable(self.found.profile.title, 80)}” is now one of your profiles.")
        self._forget()

    def _forget(self) -> None:
        self.found = None
        self.told.show_text("")

    def show(self, mine: list[Profile]) -> None:
        """Offers the user's own profiles, and tells what a profile from outside would change."""
        options = [(NOT_CHOSEN, ""), *recipes.named(mine)]
        if tuple(self.own.options) != tuple(options):
            kept = self.own.value
            self.own.options = options
            self.own.value = kept if kept in {one.id for one in mine} else ""
        self.download.disabled = self.remove.disabled = not self.own.value
        show(self.undo, bool(self.removed))
        show(self.decide, self.found is not None)
        if self.found is not None:
            self.told.show_text(_about(self.found))


def _about(found: Incoming) -> str:
    """What a profile from outside is, and what it changes."""
    profile, known = found.profile, fields.all_fields()
    named_ = [f"{known[change.path].title} {value_text(change.path, change.after)}" for change in found.changes[:FEW]]
    more = f" and {len(found.changes) - FEW} more" if len(found.changes) > FEW else ""
    against = f"your profile “{found.present.title}”, which it replaces" if found.present else "the defaults"
    told = f"Compared with {against}, it changes {len(found.changes)} settings"
    listed = f": {', '.join(named_)}{more}." if named_ else "."
    by = f" by {profile.author}" if profile.author else ""
    return f"“{profile.title}”{by}, for {profile.family}: {profile.explanation} {told}{listed}"
