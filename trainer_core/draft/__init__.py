"""One training job being prepared: facts, layers of values, checks. Not: access to disk, clock or hardware."""
