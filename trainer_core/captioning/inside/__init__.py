"""Programs that the Python of a tool's environment runs; they import nothing of Easel and are not imported by it."""
