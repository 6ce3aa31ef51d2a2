"""Easel's own host passes the contract test that is provided for all hosts."""

from trainer_core.jobs.hosts.contract import check_host_contract
from trainer_core.jobs.hosts.local import LocalHost


def test_this_machine_passes_the_host_contract(tmp_path):
    check_host_contract(LocalHost(), tmp_path)
