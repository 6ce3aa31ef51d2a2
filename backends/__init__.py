"""Training engines, one sub-package each. `trainer_core.registry` finds them; nothing lists them."""
