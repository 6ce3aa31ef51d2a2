"""The commands of `easel dataset`: one module each, with a click command called `command`. Not: what they do."""
