"""axe-core's rules on every place of the LoRA trainer in JupyterLab, in every theme, and on what only the finetuning trainer has."""

import re

from tests.support.axe import READY, look
from tests.support.page import prepare
from tests.support.pages import go, unfold


def test_axe_finds_nothing_when_the_app_is_first_opened(notebook, page, with_axe):
    notebook().run()
    page.wait_for_selector(READY)
    with_axe()
    assert look(page, "first") == []


def test_axe_finds_nothing_in_any_place_with_a_finished_run(notebook, page, home, with_axe):
    notebook(prepare(home, steps=200, steps_per_second=100), "sd15-character").run()
    page.wait_for_selector(READY)
    with_axe()
    unfold(page, "Model", "Output", "Samples", "Memory")
    for group in page.locator(".easel-fold:visible").all():
        group.click()
    page.wait_for_timeout(1000)
    found = look(page, "prepare")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_selector(".easel-monitor[data-state=COMPLETED]", state="attached")
    found += look(page, "watch")
    for place in ("Results", "History"):
        go(page, place)
        page.wait_for_timeout(1000)
        found += look(page, place)
    assert found == []


def test_axe_finds_nothing_in_the_finetuning_trainer_and_its_guide(notebook, page, home, with_axe):
    two = ("Light", "Dark")
    notebook(prepare(home) | {"network.rank": 8}, shipped="Finetuning_Trainer").run()
    page.wait_for_selector(READY)
    with_axe()
    found = look(page, "finetuning, first", two)
    page.get_by_role("button", name=re.compile("^DreamBooth")).click()
    unfold(page, "Model", "Dataset", "Output", "Samples", "Memory")
    for group in page.locator(".easel-fold:visible").all():
        group.click()
    page.get_by_role("button", name="Change the folder").click()
    page.get_by_role("button", name="Choose a folder").first.click()
    page.locator(".easel-picker-path").get_by_text("/").wait_for()
    page.wait_for_timeout(700)
    found += look(page, "finetuning, prepared", two)
    page.get_by_role("button", name="Guide", exact=True).click()
    page.locator(".easel-guide-body").wait_for()
    found += look(page, "finetuning, guide", two)
    page.keyboard.press("Escape")
    for place in ("Watch", "Results", "History"):
        go(page, place)
        page.wait_for_timeout(500)
        found += look(page, f"finetuning, {place}", two)
    assert found == []
