"""Reads, computes and writes the weights of model files, tensor by tensor. Not: which model a file is, and which job does the work.

The arithmetic is numpy's, in float32, in a process of the suite's own Python (decision 0031): neither an engine nor a GPU is needed, and a
notebook's kernel imports none of it. A tensor that does not change is copied by the system, byte for byte.
"""
