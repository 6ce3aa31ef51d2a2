"""Easel's core: recognise a model, check a plan, launch an engine, watch the run. Imports nothing by itself."""

__version__ = "0.1.0"
