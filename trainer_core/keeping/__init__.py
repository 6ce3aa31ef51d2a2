"""The user's files in the folders that Easel works with: brought in, listed, moved, deleted into a trash, and taken out. Not: what is in them."""
