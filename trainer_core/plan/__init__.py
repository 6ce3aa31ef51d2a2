"""The settings: declared once (`sections`), and as flat data (`fields`). Not: the source of values, or checks of several."""
