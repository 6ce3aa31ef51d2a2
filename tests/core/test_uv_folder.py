"""uv cannot be put where no folder can be: that is said, and not that the registry cannot be reached."""

import pytest

from trainer_core.errors import InstallError
from trainer_core.install import uv


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(uv, "find_uv", lambda: None)
    with pytest.raises(InstallError, match=r"uv cannot be put into .*file/tools/uv: Not a directory") as refused:
        uv.ensure_uv(lambda _: None)
    assert "EASEL_HOME" in str(refused.value)
