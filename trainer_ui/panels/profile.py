"""The profile and the policy: what each is for, what it sets and why, and the sources of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trainer_core.plan import fields
from trainer_core.prepare.workbench import NO_POLICY, PLAIN
from trainer_core.text import printable
from trainer_ui import recipes
from trainer_ui.controls import value_text
from trainer_ui.explaining import helped
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import fold, row
from trainer_ui.widgets import Box, Button, Dropdown, Widget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trainer_core.policies import Policy
    from trainer_core.profiles import Profile
    from trainer_ui.panels.own_profiles import CompareProfiles, SaveProfile, ShareProfiles
    from trainer_ui.panels.pasted import PasteCommand
    from trainer_ui.session import Session

NONE = "None: recommended values"
PLAIN_DEFAULTS = "None: plain defaults"
NOTHING_SET = "None: the values stay as they are"
PASTE = "Paste a command or a config of an engine"
CHOICE_HELP = "Values for one use, with their reasons. Your own values stay when you change it."
POLICY_HELP = "A policy overrides the profile and depends on the dataset. Your own values stay."
ADJUST_HELP = "Removes your own values of the settings that the policy sets, and lists them."


class Choice(Protocol):
    """The buttons with which the recipe begins, and the question they answer."""

    question: str

    @property
    def widget(self) -> Widget:
        """The buttons on the page."""
        ...

    def show(self) -> None:
        """Marks the chosen one."""
        ...


class ProfilePanel:
    """Buttons for what it should learn or make, a choice of profile with its explanation and values, and a choice of policy, which depends on the number of images."""

    def __init__(self, session: Session, choice: Choice) -> None:
        self.session, self.uses = session, choice
        self.choice = Dropdown(description="Profile", options=[(NONE, ""), (PLAIN_DEFAULTS, PLAIN)])
        self.choice.observe(session.handler(self._choose), "value")
        self.explanation = Paragraph("", "small")
        self.values, self.sources = Pairs(), Pairs()
        self.fold = fold(session, "What it sets, and why", lambda: [self.values, self.sources])
        self.compare: CompareProfiles | None = None
        self.save: SaveProfile | None = None
        self.share: ShareProfiles | None = None
        self.comparing = fold(session, "Compare two profiles", self._compare)
        self.saving = fold(session, "Save as my profile", self._save)
        self.sharing = fold(session, "Import and export", self._share)
        self.paste: PasteCommand | None = None
        self.pasting = fold(session, PASTE, self._paste)
        self.policy = Dropdown(
            description="Steps and rates by the number of images", options=[(NOTHING_SET, NO_POLICY)]
        )
        self.policy.observe(session.handler(session.bench.use_policy), "value")
        self.told = Paragraph("", "muted", "small", "grow")
        self.adjust = Button(description="Auto-adjust", tooltip=ADJUST_HELP, classes=("easel-small",))
        self.undo = Button(description="Undo", tooltip="Restores your own values.", classes=("easel-small",))
        self.adjust.on_click(session.handler(self._adjust))
        self.undo.on_click(session.handler(lambda _: session.bench.undo_adjust()))
        self.buttons = row(self.told, self.adjust, self.undo)
        self.rule = helped(self.policy, POLICY_HELP)
        choices = Box([helped(self.choice, CHOICE_HELP), self.rule], classes=("easel-halves",))
        more = Box([self.fold, self.comparing, self.saving, self.sharing, self.pasting], classes=("easel-groups",))
        self.content = (self.uses.widget, choices, self.explanation, self.buttons, more)
        """The widgets, in order."""

    def _compare(self) -> list[Widget]:
        from trainer_ui.panels.own_profiles import CompareProfiles

        self.compare = CompareProfiles(self.session)
        return [self.compare.widget]

    def _save(self) -> list[Widget]:
        from trainer_ui.panels.own_profiles import SaveProfile

        self.save = SaveProfile(self.session)
        return [self.save.widget]

    def _share(self) -> list[Widget]:
        from trainer_ui.panels.own_profiles import ShareProfiles

        self.share = ShareProfiles(self.session)
        return [self.share.widget]

    def _paste(self) -> list[Widget]:
        from trainer_ui.panels.pasted import PasteCommand

        self.paste = PasteCommand(self.session)
        return [self.paste.widget]

    def _choose(self, name: str) -> None:
        self.session.wish = ""
        self.session.bench.use_profile(name)

    def _adjust(self, _: Button) -> None:
        """Takes the values of the policy, and says in one message what was set, why, and what can be undone."""
        told = self.session.bench.auto_adjust()
        adjusted = self.session.bench.state.adjusted
        more = "“Undo” restores it." if adjusted and adjusted.cleared else "None of your own values had to be removed."
        self.session.note(f"{told} {more}")

    def show(self) -> None:
        """Offers the profiles and policies of the family and shows the chosen ones."""
        self.uses.show()
        self._show_profile()
        self._show_policy()
        known = recipes.offered(self.session.bench.state)
        if self.compare is not None:
            self.compare.show(known)
        if self.save is not None:
            self.save.show()
        if self.share is not None:
            self.share.show(recipes.own())
        if self.paste is not None:
            self.paste.show()

    def _show_profile(self) -> None:
        state = self.session.bench.state
        profile, family = state.profile, state.family
        known = recipes.offered(state)
        if profile is not None and profile.id not in {one.id for one in known}:
            known = [*known, profile]
        _offer(self.choice, [(NONE, ""), (PLAIN_DEFAULTS, PLAIN), *recipes.named(known)])
        self.choice.value = profile.id if profile else PLAIN if state.plain else ""
        show(self.fold, profile is not None)
        if profile is None:
            self.explanation.show_text("" if family else self._waits(), "muted")
            return
        self.explanation.show_text(f"{profile.explanation} {profile.tested}", "")
        self.values.show_pairs(_reasons(profile))
        self.sources.show_pairs((f"[{source.id}]", str(source)) for source in profile.sources)

    def _waits(self) -> str:
        """What is shown as long as there is no model."""
        if not self.session.wish:
            return "This sets steps, rates and sizes for your model and your images. You can change every value."
        return f"The profile “{recipes.title(self.session.wish)}” is used once you choose a model."

    def _show_policy(self) -> None:
        state, values = self.session.bench.state, self.session.values
        use = state.profile.use if state.profile else ""
        found = _policies(state.family, use, str(values["model.method"])) if state.family else []
        if state.policy is not None and state.policy not in found:
            found = [*found, state.policy]
        _offer(self.policy, [(NOTHING_SET, NO_POLICY), *((printable(one.title, 80), one.id) for one in found)])
        self.policy.value = state.policy.id if state.policy else NO_POLICY
        show(self.rule, bool(found))
        # The values that were set depend on the dataset; the list of cleared values stays until Undo.
        told = [state.prefilled.message if state.prefilled else ""]
        told.append(state.adjusted.told_of_cleared if state.adjusted else "")
        self.told.show_text(" ".join(filter(None, told)))
        show(self.buttons, state.policy is not None)
        self.undo.disabled = state.adjusted is None


def _policies(family: str, use: str, method: str) -> list[Policy]:
    """The policies for a model; imported here for the same reason as the profiles."""
    from trainer_core import policies

    return policies.for_family(family, use, method)


def _offer(choice: Dropdown, options: Iterable[tuple[str, str]]) -> None:
    """Sets the options of a dropdown, unless it has them already."""
    wanted = tuple(options)
    if wanted != tuple(choice.options):
        choice.options = wanted


def _reasons(profile: Profile) -> Iterator[tuple[str, str]]:
    """What a profile sets: each value with its reason, if the profile gives one."""
    known = fields.all_fields()
    for path, value in profile.settings.items():
        yield f"{known[path].title} {value_text(path, value)}", profile.reasons.get(path, "")
