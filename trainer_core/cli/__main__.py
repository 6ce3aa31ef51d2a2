"""`python -m trainer_core.cli` is `easel`."""

from trainer_core.cli import main

main()
