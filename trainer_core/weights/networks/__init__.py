"""What a network does to the weights of a model: its modules, the change of each, the tensors that it changes. Not: writing a model.

No module here imports numpy before it computes, so that a notebook's kernel can read what a network contains.
"""
