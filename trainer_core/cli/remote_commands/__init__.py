"""The commands of `easel remote`: one module each, with a click command called `command`. Not: what they do."""
