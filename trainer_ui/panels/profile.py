"""Which profile, and which policy: what each is for, what it sets and why, and where its values come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import policies
from trainer_core.plan import fields
from trainer_core.text import printable
from trainer_ui.controls import choice_title, plain_number
from trainer_ui.panels.card import card, fold
from trainer_ui.widgets import Box, Button, Dropdown
from trainer_ui.words import Pairs, Words, hint, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trainer_core.profiles import Profile
    from trainer_ui.session import Session

NONE = "None: plain defaults"
NO_POLICY = "None: the values stay as they are"


class ProfilePanel:
    """The profile's dropdown with its explanation and values, and the policy that follows the number of pictures."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Profile", options=[(NONE, "")])
        self.choice.observe(session.handler(session.bench.use_profile), "value")
        self.explanation = Words()
        self.values, self.sources = Pairs(), Pairs()
        self.fold = fold(session, "What it sets, and why", lambda: [self.values, self.sources])
        self.policy = Dropdown(description="Steps and rates by the number of pictures", options=[(NO_POLICY, "")])
        hint(self.policy, "A policy goes over the profile and follows the dataset; what you set yourself stays.")
        self.policy.observe(session.handler(session.bench.use_policy), "value")
        self.told = Words("", "muted", "small")
        self.adjust, self.undo = Button(description="Auto-adjust"), Button(description="Undo")
        hint(self.adjust, "Takes back your own values where the policy decides, and says which.")
        self.adjust.on_click(session.handler(self._adjust))
        self.undo.on_click(session.handler(lambda _: session.bench.undo_adjust()))
        self.buttons = Box([self.adjust, self.undo], classes=("easel-row",))
        self.widget = card("Profile", self.choice, self.explanation, self.fold, self.policy, self.told, self.buttons)

    def _adjust(self, _: Button) -> None:
        self.session.bench.auto_adjust()

    def show(self) -> None:
        """Offers the profiles and policies of the family and shows the chosen ones."""
        self._show_profile()
        self._show_policy()

    def _show_profile(self) -> None:
        bench = self.session.bench
        profile, family, found = bench.profile, bench.family, bench.facts.detection
        guess = found.guess.id if found and found.guess else ""
        predicts = str(self.session.values["model.prediction"] or (found and found.prediction) or "")
        known = _offered(family, guess, predicts) if family else []
        if profile is not None and profile.id not in {one.id for one in known}:
            known = [*known, profile]
        titles = [one.title for one in known]
        named = ((one.title if titles.count(one.title) == 1 else f"{one.title} ({one.id})", one.id) for one in known)
        _offer(self.choice, [(NONE, ""), *((printable(name, 80), id_) for name, id_ in named)])
        self.choice.value = profile.id if profile else ""
        show(self.fold, profile is not None)
        if profile is None:
            self.explanation.say("" if family else "Profiles are offered once a model is chosen.", "muted")
            return
        self.explanation.say(f"{profile.explanation} {profile.tested}", "")
        self.values.say(_reasons(profile))
        self.sources.say((f"[{source.id}]", str(source)) for source in profile.sources)

    def _show_policy(self) -> None:
        bench, values = self.session.bench, self.session.values
        use = bench.profile.use if bench.profile else ""
        found = policies.for_family(bench.family, use, str(values["model.method"])) if bench.family else []
        if bench.policy is not None and bench.policy not in found:
            found = [*found, bench.policy]
        _offer(self.policy, [(NO_POLICY, ""), *((printable(one.title, 80), one.id) for one in found)])
        self.policy.value = bench.policy.id if bench.policy else ""
        show(self.policy, bool(found))
        # What was set follows the dataset; what was cleared stays true until it is undone.
        told = [bench.prefilled.message if bench.prefilled else ""]
        told.append(bench.adjusted.told_of_cleared if bench.adjusted else "")
        self.told.say(" ".join(filter(None, told)))
        show(self.buttons, bench.policy is not None)
        self.undo.disabled = bench.adjusted is None


def _offered(family: str, guess: str, predicts: str) -> list[Profile]:
    """The profiles for a model; imported and read once there is one, so that the start of a notebook need not wait."""
    from trainer_core import profiles

    return profiles.for_family(family, guess, predicts)


def _offer(choice: Dropdown, options: Iterable[tuple[str, str]]) -> None:
    """Has a dropdown offer these, and leaves it alone where it does."""
    wanted = tuple(options)
    if wanted != tuple(choice.options):
        choice.options = wanted


def _reasons(profile: Profile) -> Iterator[tuple[str, str]]:
    """What a profile sets, each value with its reason where it gives one."""
    known = fields.all_fields()
    for path, value in profile.settings.items():
        shown = ("on" if value else "off") if isinstance(value, bool) else value
        shown = plain_number(shown) if isinstance(shown, float) else choice_title(path, str(shown))
        yield f"{known[path].title} {shown}", profile.reasons.get(path, "")
