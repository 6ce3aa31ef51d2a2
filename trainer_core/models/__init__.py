"""Reading, recognising, listing and downloading models. What an engine does with a model is not in this package."""
