"""Dataset folders: checks what an engine will read of one, builds a run's own folder of links to it. Not: changes to the user's files."""
