"""The apps of the notebooks, one module each. Not: what several apps share, which is in `app`, `job_session` and `panels`."""

# The cell of the LoRA trainer imports its function from here. The cell of a new notebook imports from its own module.
from trainer_ui.apps.lora_trainer import lora_trainer

__all__ = ["lora_trainer"]
