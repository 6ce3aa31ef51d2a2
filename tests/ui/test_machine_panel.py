"""The step of the machine: what the doctor finds, checked in a thread when it is first opened."""

from tests.support.page import button, click, markup, unfold, wait_for


def test_the_machine_is_checked_when_it_is_opened(open_app, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    app = open_app()
    panel = app.machine
    assert "open it to check" in panel.step.button.description
    assert not panel.found, "nothing is checked before somebody wants to know"
    unfold(panel.step)
    # The last group that is filled.
    wait_for(lambda: "In order" in markup(panel.widget))
    assert "No engine is installed yet." in panel.step.button.description
    assert "has a problem" in panel.step.button.description
    said = markup(panel.widget)
    assert "python installer.py backend install kohya" in said
    assert "Worth knowing" in said
    assert "It is switched off by HF_HUB_OFFLINE" in said
    before = panel.found
    click(button(panel.widget, "Check again"))
    wait_for(lambda: panel.found is not before and not panel.again.disabled)
