"""The parts of the file uploader. Not: what is done with a file."""
