"""The front end's side of widgets, without a browser: what a page sends when somebody types, chooses or clicks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.support import recorded_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipywidgets import Widget


def enter(widget: Any, value: Any) -> None:
    """What the page sends when a value was entered; for a dropdown, which sends a place in its list, the value chosen."""
    if widget.has_trait("_options_labels"):
        values = [option[1] if isinstance(option, tuple) else option for option in widget.options]
        widget.set_state({"index": values.index(value)})
    else:
        widget.set_state({"value": value})


def click(button: Widget) -> None:
    """What the page sends when a button was clicked."""
    button._handle_custom_msg({"event": "click"}, [])


def hear(widget: Widget, message: object) -> None:
    """What a component with JavaScript of its own gets when the page sends this."""
    widget._handle_custom_msg(message, [])


def sent_by(widget: Any) -> list[tuple[Any, Any]]:
    """What a widget sends to its page, as it is sent: (message, buffers)."""
    sent: list[tuple[Any, Any]] = []
    widget.send = lambda message, buffers=None: sent.append((message, buffers))
    return sent


def act(app: Any, action: str, **more: Any) -> None:
    """What the page sends when an action in the bar of Watch was chosen, and confirmed if it asks."""
    app.watch_bar.bar._handle_custom_msg({"kind": "act", "id": action, **more}, [])


def inside(widget: Any) -> Iterator[Any]:
    """A widget and everything in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def unfold(*steps: Any) -> None:
    """What the page sends when folded steps are clicked; an open one stays open."""
    for step in steps:
        if step.is_folded:
            click(step.button)


def go(app: Any, place: str) -> None:
    """What the page sends when a tab is clicked."""
    app.places.set_state({"chosen": place})


def on_page(widget: Any) -> bool:
    """Whether a setting or group is in the page; what it lies in may be folded."""
    return "easel-away" not in widget._dom_classes


def button(root: Widget, description: str) -> Widget:
    """The one button in `root` that says this."""
    fitting = [one for one in inside(root) if getattr(one, "description", "") == description and one.has_trait("icon")]
    assert len(fitting) == 1, f"{len(fitting)} buttons say {description!r}"
    return fitting[0]


def markup(root: Any) -> str:
    """All HTML that widgets in `root` put into the page."""
    return "\n".join(one.value for one in inside(root) if _is_html(one))


def _is_html(widget: Any) -> bool:
    return widget._view_name in {"HTMLView", "HTMLMathView"}


def wait_for(condition: Callable[[], Any], unless: Callable[[], str] = lambda: "") -> Any:
    """What `condition` gives as soon as that is true; the limit is longer than any slow machine takes.

    It ends at once if `unless` has a reason why it will not happen.
    """
    end = time.monotonic() + 200
    while time.monotonic() < end:
        # Before the condition, which may come true meanwhile.
        reason = unless()
        if found := condition():
            return found
        assert not reason, reason
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def wait_for_fetch(fetch: Any, state: str) -> None:
    """Waits until a link was inspected or downloaded and the panel has this state; any other state ends the wait."""

    def other() -> str:
        return "" if fetch.is_busy else f"it is {fetch.state}: {fetch.says.value}"

    wait_for(lambda: fetch.state == state, other)


def settle() -> None:
    """Waits for what an app looks for when it is opened, and shows then."""
    wait_for(lambda: not {"easel-known", "easel-show"} & {one.name for one in threading.enumerate()})


def draw_images(folder: Path, captions: list[str]) -> Path:
    """A folder with an image for each caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, caption in enumerate(captions):
        Image.effect_noise((128, 128), 40 + number).convert("RGB").save(folder / f"image{number}.png")
        (folder / f"image{number}.txt").write_text(caption)
    return folder


def prepare(home: Path, steps: int = 40, **rehearsal: Any) -> dict[str, Any]:
    """Settings of a job that can be started: an SD1.5 layout without weights, six images, and how the rehearsal goes."""
    models = home / "models"
    models.mkdir(parents=True, exist_ok=True)
    model = models / "sd15.safetensors"
    if not model.exists():
        recorded_headers.write("sd15", models)
    images = draw_images(home / "images", [f"ohwx, image {number}" for number in range(6)])
    return {
        "model.path": str(model),
        "dataset.path": str(images),
        "dataset.trigger": "ohwx",
        "output.name": "trial",
        "schedule.steps": steps,
        "sampling.every_steps": max(1, steps // 4),
        "native": {"rehearsal": rehearsal} if rehearsal else {},
    }
