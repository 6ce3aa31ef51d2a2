"""The commands of `easel remote s3`: one module each, with a click command called `command`. Not: what they do."""
