"""The demo: what it draws and makes, and the way through it."""
