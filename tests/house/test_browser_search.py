"""The browser tests find an installed browser: in folders with the layouts of systems and of Playwright."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import browsers


def program(file: Path, status: int = 0) -> str:
    """A program that answers `--version` with this exit status."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nexit {status}\n")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def search(tmp_path):
    def run(playwrights: Path | None = None) -> str | None:
        named = str(playwrights) if playwrights else None
        return browsers.search(str(tmp_path / "bin"), tmp_path / "root", tmp_path / "home", named)

    return run


@pytest.mark.parametrize("name", browsers.COMMANDS)
def test_each_name_on_path_is_found(search, tmp_path, name):
    assert search() is None
    found = program(tmp_path / "bin" / name)
    assert search() == found


@pytest.mark.parametrize("place", browsers.PLACES)
def test_each_usual_place_is_found(search, tmp_path, place):
    found = program(tmp_path / "root" / place)
    assert search() == found


def test_a_browser_installed_for_one_user_on_macos_is_found(search, tmp_path):
    found = program(tmp_path / "home" / "Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    assert search() == found


@pytest.mark.parametrize(
    "place",
    [
        ".cache/ms-playwright/chromium-1200/chrome-linux64/chrome",
        ".cache/ms-playwright/chromium-1150/chrome-linux/chrome",
        "Library/Caches/ms-playwright/chromium-1200/chrome-mac-arm64/Chromium.app/Contents/MacOS/Chromium",
    ],
)
def test_the_browser_of_playwright_is_found(search, tmp_path, place):
    found = program(tmp_path / "home" / place)
    assert search() == found


def test_the_newest_browser_is_taken_from_the_folder_given_to_playwright(search, tmp_path):
    given = tmp_path / "browsers"
    program(tmp_path / "home/.cache/ms-playwright/chromium-1300/chrome-linux/chrome")
    program(given / "chromium-999/chrome-linux/chrome")
    newest = program(given / "chromium-1200/chrome-linux64/chrome")
    assert search(given) == newest


def test_a_browser_of_the_system_comes_before_the_one_of_playwright(search, tmp_path):
    program(tmp_path / "home/.cache/ms-playwright/chromium-1300/chrome-linux/chrome")
    found = program(tmp_path / "root" / "opt/google/chrome/chrome")
    assert search() == found


def test_a_script_that_only_names_the_package_to_install_is_skipped(search, tmp_path):
    program(tmp_path / "bin" / "chromium-browser", status=1)
    assert search() is None
    found = program(tmp_path / "root" / "snap/bin/chromium")
    assert search() == found


def test_a_file_that_cannot_be_run_is_skipped(search, tmp_path):
    file = Path(program(tmp_path / "root" / "opt/google/chrome/chrome"))
    file.chmod(0o644)
    (tmp_path / "root" / "snap/bin/chromium").mkdir(parents=True)
    assert search() is None


def test_the_reason_for_skipping_says_how_to_get_a_browser():
    assert ".venv/bin/playwright install" in browsers.ABSENT
    assert "apt install chromium" in browsers.ABSENT
    assert "WSL2" in browsers.ABSENT
