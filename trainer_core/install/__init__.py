"""Creates, checks and finds the environments of the suite and of each engine. It does not define the interface to engines.

Standard library only.
"""
