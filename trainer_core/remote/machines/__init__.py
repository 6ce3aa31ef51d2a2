"""Machines that ssh reaches: what they have, and what they lack. Not: running jobs there (`jobs/hosts/ssh`)."""
