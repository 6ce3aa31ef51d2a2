"""Easel itself is not moved forward under a run that has started while its upstream was asked."""

import pytest

from trainer_core.errors import InstallError
from trainer_core.install import in_use, pulling, updating


def test_a_run_that_starts_while_the_upstream_is_asked_is_waited_for(monkeypatch):
    running, pulled = [], []

    def look():
        running.append("mika")
        return pulling.News("origin/main", 1, "a", "b", ())

    monkeypatch.setattr(pulling, "look", look)
    monkeypatch.setattr(pulling, "pull", lambda: pulled.append(True))
    monkeypatch.setattr(in_use, "users", lambda engine="": running)
    with pytest.raises(InstallError, match="mika"):
        updating.pull(lambda _: None)
    assert not pulled
