"""The demo: its dataset, its base models and its steps. Not: anything that real training needs."""
