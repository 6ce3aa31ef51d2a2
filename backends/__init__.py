"""Training engines, one package each, found by `trainer_core.engines.registry`. Not: a list of them, or what two of them share."""
