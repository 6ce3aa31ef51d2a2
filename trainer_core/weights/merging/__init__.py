"""Merges checkpoints tensor by tensor: the methods and blocks as tables, which tensors match, the arithmetic. Not: the job that does it.

Only `arithmetic`, `sparse` and `entries` import numpy.
"""
