"""Programs that are copied into an export and run elsewhere, without Easel."""
