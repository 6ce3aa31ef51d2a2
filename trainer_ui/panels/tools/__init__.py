"""The panels of the notebooks for model files: forms, jobs and results of tools. Not: which tools there are, which `apps` say."""
