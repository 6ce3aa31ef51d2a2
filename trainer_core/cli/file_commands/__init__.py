"""The commands of `easel files`, one module each. Not: what is done with a file."""
