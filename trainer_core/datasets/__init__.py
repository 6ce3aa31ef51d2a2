"""Dataset folders: what an engine would make of one, and the run's own folder of links to it."""
