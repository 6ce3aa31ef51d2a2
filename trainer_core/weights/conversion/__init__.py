"""Plans and makes other forms of a model file: dtypes, parts, shards, folders in the diffusers layout. Not: the job that does it.

`planning` needs only headers, and no numpy; `making` computes and writes.
"""
