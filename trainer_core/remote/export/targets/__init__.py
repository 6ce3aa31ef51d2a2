"""The schedulers that a plan can be exported for, one module each with an `exporter`. Not: what every export has."""
