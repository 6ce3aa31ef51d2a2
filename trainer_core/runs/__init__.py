"""Runs: a folder with the whole truth about one training, and the runner that watches it."""

from trainer_core.runs.state import FINAL_STATES, RunState

__all__ = ["FINAL_STATES", "RunState"]
