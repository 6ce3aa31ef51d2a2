"""Lets SimpleTuner train without a GPU. Python runs this file at its start when its folder is on PYTHONPATH.

SimpleTuner pins every batch in memory for a faster copy to the GPU and has no option against it; without a GPU torch
refuses, and the run ends. So `Tensor.pin_memory` gives the tensor back as it is, and only where no CUDA device exists.
SimpleTuner itself is not changed. Easel puts this folder on PYTHONPATH only for machines without a GPU.

Source: simpletuner/helpers/training/collate.py, fetch_latent: latent.to("cpu").pin_memory().
"""

# Its shape is what Python's import system asks for.
# ruff: noqa: ANN001, ANN202, ARG002

import importlib.abc
import importlib.util
import sys


class _TorchWithoutPinning(importlib.abc.MetaPathFinder):
    """Waits for the first import of torch, then steps aside."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_mend(module):
                load(module)
                if not module.cuda.is_available():
                    module.Tensor.pin_memory = lambda tensor, *_, **__: tensor

            spec.loader.exec_module = load_and_mend
        return spec


sys.meta_path.insert(0, _TorchWithoutPinning())
