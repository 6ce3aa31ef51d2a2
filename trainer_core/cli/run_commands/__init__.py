"""The commands of `easel runs` that only runs have: one module each, with a click command called `command`. Not: those of all jobs."""
