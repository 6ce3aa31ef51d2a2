"""The panels of the dataset app around one `DatasetSession`. Not: what is changed in a dataset, which trainer_core/curation does."""
