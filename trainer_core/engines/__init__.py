"""The interface to training engines, and what each engine declares. It does not install or run them."""
