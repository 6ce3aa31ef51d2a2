"""The commands of `easel lora`: one module each, with a click command called `command`. Not: what they do."""
