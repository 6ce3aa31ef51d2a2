"""Every host of Easel's passes the contract test that is provided for all hosts."""

from pathlib import Path

import pytest

from tests.support import sshd
from trainer_core.jobs.hosts.contract import check_host_contract
from trainer_core.jobs.hosts.local import LocalHost
from trainer_core.jobs.hosts.ssh import SshHost


@pytest.fixture(scope="module")
def there():
    with sshd.machine() as made:
        yield made


def test_this_machine_passes_the_host_contract(tmp_path):
    check_host_contract(LocalHost(), tmp_path)


def test_a_machine_that_ssh_reaches_passes_the_host_contract(tmp_path, monkeypatch, there):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    with SshHost(there.machine(), tmp_path, "jobs") as host:
        check_host_contract(host, tmp_path, there.python, there.home)
    assert not list(tmp_path.rglob("runner.json")), "everything happened there"
    assert Path(there.home, "jobs").stat().st_uid == there.uid
