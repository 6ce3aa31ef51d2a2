"""The platforms that Easel knows: which one this machine is, what survives a session there, and where its secrets are.

Standard library only: `places` asks it for Easel's home before anything is installed. Nothing here was seen on a live platform;
each row names the source that it was written from.
"""
