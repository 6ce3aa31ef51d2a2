"""The widgets of Easel's notebooks: the only place that imports ipywidgets."""
