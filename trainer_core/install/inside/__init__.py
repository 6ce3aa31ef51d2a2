"""Programs run by an engine's own Python. They import nothing from Easel."""
