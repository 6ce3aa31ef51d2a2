"""The queue: which prepared jobs wait for which GPU, and the process that starts them in turn. It does not prepare jobs."""
