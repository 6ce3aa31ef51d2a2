"""Components with JavaScript of their own: each is an anywidget with its assets in this folder. Not: reading jobs or models."""
