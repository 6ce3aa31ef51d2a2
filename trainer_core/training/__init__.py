"""Training jobs: their folders, metrics and artefacts, and the acceptance and delivery of results; not their preparation."""
