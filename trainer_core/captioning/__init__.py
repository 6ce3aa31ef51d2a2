"""Tags and captions for the images of a dataset that models make, as jobs, and how they are applied. Not: edits by hand."""
