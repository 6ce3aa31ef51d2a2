"""The widgets of Easel's notebooks: the only package that imports ipywidgets. It contains no rules and no facts about training."""
