"""Programs that engines of one author share. Run by an engine's own Python, never by Easel's."""
