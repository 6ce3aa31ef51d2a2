"""The platforms that Easel knows: which one this is, what survives there, where secrets are. Not: how Easel is set up there.

Standard library only: `places` asks it for Easel's home before anything is installed. Nothing here was seen on a live platform;
each row names the source that it was written from.
"""
