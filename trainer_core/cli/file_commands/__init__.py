"""The commands of `easel files`, one module each."""
