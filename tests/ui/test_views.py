"""Views that are shown again when something happens elsewhere."""

from __future__ import annotations

import threading

from tests.support.page import wait_for
from trainer_ui.views import Views


def test_one_thread_at_most_waits_to_show_what_many_events_ask_for():
    def waiting() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "easel-show"]

    views = Views()
    with views.lock:
        for number in range(50):
            views.show_soon(f"sentence {number}")
        views.show_soon()
        assert len(waiting()) == 1
    wait_for(lambda: not waiting())
    assert views.message == "sentence 49", "the last one that says something"
    views.show_soon("later")
    wait_for(lambda: views.message == "later")
