"""Lets SimpleTuner train without a GPU. Python runs this file at its start when its folder is on PYTHONPATH.

SimpleTuner pins every batch in memory for a faster copy to the GPU, and no option turns that off; without a GPU torch
raises an error, and the run ends. So `Tensor.pin_memory` returns the tensor unchanged if there is no CUDA device.

SimpleTuner also calls torch's cudagraph_mark_step_begin before each step, for which torch loads its whole compiler: a third
of the time of a short run. Without a CUDA device there are no CUDA graphs, so this file makes that call do nothing.

SimpleTuner itself is not changed. Easel puts this folder on PYTHONPATH only for machines without a GPU.

Source: simpletuner/helpers/training/collate.py, fetch_latent: latent.to("cpu").pin_memory(); dynamo.py in the same folder,
mark_cudagraph_step_begin, where the default "no" counts as a backend; torch/compiler, cudagraph_mark_step_begin.
"""

# The signatures are those of Python's import system.
# ruff: noqa: ANN001, ANN202, ARG002

import importlib.abc
import importlib.util
import sys


class _TorchWithoutCuda(importlib.abc.MetaPathFinder):
    """Patches torch when it is first imported, then removes itself from the finders."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_patch(module):
                load(module)
                if not module.cuda.is_available():
                    module.Tensor.pin_memory = lambda tensor, *_, **__: tensor
                    module.compiler.cudagraph_mark_step_begin = lambda: None

            spec.loader.exec_module = load_and_patch
        return spec


sys.meta_path.insert(0, _TorchWithoutCuda())
