"""Supervised processes, each with a folder for its state, events, log and result. This code does not depend on the kind of work."""
