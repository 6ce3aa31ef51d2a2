"""Prepares a job: its draft from files, profiles and policies, and its forecast. Not: widgets or output."""
