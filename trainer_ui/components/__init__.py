"""Components with a face of their own: an anywidget each, its assets beside it."""
