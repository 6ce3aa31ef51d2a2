"""The parts of the file uploader."""
