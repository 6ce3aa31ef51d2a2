"""The panels of the notebooks for model files: one place for each tool, made from a table of its fields."""
