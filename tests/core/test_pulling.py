"""Moving a checkout forward: only where nothing of the user's can be lost. Real git, with repositories on this disk."""

import json
import subprocess

import pytest

from trainer_core.errors import InstallError
from trainer_core.install import pulling


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def notebook(source, shown=""):
    cell = {"cell_type": "code", "source": [source], "outputs": [shown] if shown else []}
    return json.dumps({"cells": [cell], "metadata": {"shown": bool(shown)}})


@pytest.fixture
def ours(tmp_path):
    """A clone that is one commit behind; the commit changes a notebook and a pin."""
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    (theirs / "requirements").mkdir(parents=True)
    git(theirs, "init", "--quiet", "--initial-branch", "main")
    (theirs / "requirements/suite.txt").write_text("a==1\n")
    (theirs / "app.py").write_text("1\n")
    (theirs / "App.ipynb").write_text(notebook("one"))
    (theirs / "Other.ipynb").write_text(notebook("other"))
    git(theirs, "add", ".")
    git(theirs, "commit", "--quiet", "-m", "one")
    git(tmp_path, "clone", "--quiet", str(theirs), str(mine))
    (theirs / "requirements/suite.txt").write_text("a==2\n")
    (theirs / "App.ipynb").write_text(notebook("two"))
    git(theirs, "commit", "--quiet", "-am", "two")
    return mine


def test_a_clean_checkout_is_moved_forward(ours):
    news = pulling.look(ours)
    assert (news.upstream, news.commits, news.pins) == ("origin/main", 1, ("requirements/suite.txt",))
    assert git(ours, "rev-parse", "--short", "HEAD") == news.here, "looking changes nothing"
    pulling.pull(ours)
    assert git(ours, "rev-parse", "--short", "HEAD") == news.there
    assert pulling.look(ours).commits == 0


def test_what_a_notebook_has_shown_is_no_change_of_the_user(ours):
    """JupyterLab saves the output of a cell into the notebook, so everybody's notebooks differ from what was committed."""
    for name, source in (("App.ipynb", "one"), ("Other.ipynb", "other")):
        (ours / name).write_text(notebook(source, "an app"))
    pulling.look(ours)
    pulling.pull(ours)
    assert (ours / "App.ipynb").read_text() == notebook("two")
    assert (ours / "Other.ipynb").read_text() == notebook("other", "an app"), "the commit does not change this one"


def changed_file(ours):
    (ours / "app.py").write_text("mine\n")


def changed_cell(ours):
    (ours / "App.ipynb").write_text(notebook("mine", "an app"))


def on_no_branch(ours):
    git(ours, "switch", "--quiet", "--detach")


def no_upstream(ours):
    git(ours, "branch", "--unset-upstream")


def own_commit(ours):
    git(ours, "commit", "--quiet", "--allow-empty", "-m", "mine")


def upstream_is_gone(ours):
    git(ours, "remote", "set-url", "origin", "/nowhere")


def no_repository(ours):
    (ours / ".git").rename(ours / "elsewhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_file, r"were changed here: app\.py\."),
        (changed_cell, r"were changed here: App\.ipynb\."),
        (on_no_branch, "at a commit, not on a branch"),
        (no_upstream, "main follows no branch"),
        (own_commit, r"has 1 commit\(s\) that origin/main does not have"),
        (upstream_is_gone, "git fetch failed: fatal: '/nowhere'"),
        (no_repository, "not made by git clone"),
    ],
)
def test_what_cannot_simply_be_moved_forward_is_refused_with_the_way_out(ours, change, said):
    change(ours)
    with pytest.raises(InstallError, match=said) as caught:
        pulling.look(ours)
    assert "update --here" in caught.value.hint


@pytest.mark.parametrize("mine", ["notes.txt", "deep/er/notes.txt", "deep", ".env"])
def test_a_file_that_the_newer_easel_also_has_is_kept_and_named(ours, mine):
    theirs = ours.parent / "theirs"
    (theirs / "deep/er").mkdir(parents=True)
    for name in ("notes.txt", "deep/er/notes.txt", ".env"):
        (theirs / name).write_text("theirs")
    git(theirs, "add", ".")
    git(theirs, "commit", "--quiet", "-m", "three")
    (ours / ".git/info/exclude").write_text(".env\n")
    (ours / "App.ipynb").write_text(notebook("one", "an app"))
    (ours / mine).parent.mkdir(parents=True, exist_ok=True)
    (ours / mine).write_text("mine")
    with pytest.raises(InstallError, match=f"has files where this folder has other ones: {mine}\\."):
        pulling.look(ours)
    assert (ours / mine).read_text() == "mine"
    assert (ours / "App.ipynb").read_text() == notebook("one", "an app")


def test_a_file_in_place_of_a_folder_that_the_newer_easel_removes_is_no_obstacle(ours):
    theirs = ours.parent / "theirs"
    git(theirs, "rm", "--quiet", "app.py")
    (theirs / "app.py").mkdir()
    (theirs / "app.py/part.py").touch()
    git(theirs, "add", ".")
    git(theirs, "commit", "--quiet", "-m", "three")
    pulling.look(ours)
    pulling.pull(ours)
    assert (ours / "app.py/part.py").exists()


def test_a_merge_that_fails_leaves_what_notebooks_have_shown(ours):
    theirs = ours.parent / "theirs"
    (theirs / "notes.txt").write_text("theirs")
    git(theirs, "add", ".")
    git(theirs, "commit", "--quiet", "-m", "three")
    (ours / "App.ipynb").write_text(notebook("one", "an app"))
    pulling.look(ours)
    (ours / "notes.txt").write_text("since then")
    with pytest.raises(InstallError, match="git merge failed"):
        pulling.pull(ours)
    assert (ours / "App.ipynb").read_text() == notebook("one", "an app")
    assert not (ours / ".git/easel-outputs").exists()


def test_what_notebooks_have_shown_comes_back_after_a_kill(ours):
    """Killed between `restore` and `merge`: the outputs are only in git's own folder."""
    kept = ours / ".git/easel-outputs" / git(ours, "rev-parse", "HEAD")
    kept.mkdir(parents=True)
    for name in ("App", "Other"):
        (kept / f"{name}.ipynb").write_text(notebook({"App": "one", "Other": "other"}[name], "an app"))
    newer = notebook("other", "shown since then")
    (ours / "Other.ipynb").write_text(newer)
    pulling.look(ours)
    assert (ours / "App.ipynb").read_text() == notebook("one", "an app")
    assert (ours / "Other.ipynb").read_text() == newer
    assert not kept.parent.exists()


def test_the_password_of_an_upstream_is_not_said(ours):
    git(ours, "remote", "set-url", "origin", "https://bob:s3cr@tpw@127.0.0.1:9/e.git?private=qrysecret")
    with pytest.raises(InstallError, match="git fetch failed") as caught:
        pulling.look(ours)
    assert "127.0.0.1:9/e.git" in str(caught.value)
    assert "tpw" not in str(caught.value)
    assert "qrysecret" not in str(caught.value)


def test_files_that_git_does_not_know_are_no_obstacle(ours):
    (ours / "workspace").mkdir()
    (ours / "workspace/mine.txt").touch()
    assert pulling.look(ours).commits == 1
