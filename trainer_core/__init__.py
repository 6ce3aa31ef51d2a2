"""Easel's core: recognise a model, check a plan, run an engine as a job. Not: widgets, or what one engine wants."""

__version__ = "0.1.0"
