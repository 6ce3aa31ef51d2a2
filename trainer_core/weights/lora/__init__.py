"""What is computed from one or several LoRAs: their sum, a smaller rank, other names, what is in them. Not: their effect on a checkpoint.

`listing`, `blocks`, `naming`, `ranks`, `report` and `training` need no numpy, so a notebook can ask them what a tool will do.
"""
