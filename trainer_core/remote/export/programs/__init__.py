"""Programs that are copied into an export and run elsewhere. Not: anything that needs Easel to run."""
