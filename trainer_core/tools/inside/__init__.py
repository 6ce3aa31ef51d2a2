"""Programs that an engine's own Python runs for a tool. Not: anything that the kernel or the command line imports."""
