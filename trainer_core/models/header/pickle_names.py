"""The names that a pickled model may use, and the inert values that replace them.

Nothing here imports, calls or builds a class that a pickle names.

Source: torch/_utils.py, torch/_weights_only_unpickler.py, torch/serialization.py; for the checkpoints of Stable Diffusion
also PyTorch Lightning's callbacks and NumPy's scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainer_core.models.header.tensors import BLOCKS, LARGEST_SIZE, MOST_DIMENSIONS, TensorInfo

DTYPES = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL", "complex64": "C64",
    "complex128": "C128", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
STORAGES = {
    "FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64",
    "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
    "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128", "UntypedStorage": "U8", "_UntypedStorage": "U8",
}  # fmt: skip
STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")


class UnfitError(Exception):
    """A value in a pickle that no model needs. The message is the end of a sentence; the reader adds the file's name."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name that a pickle may use."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """The numbers that tensors refer to: their dtype, their key among the storages of the file, and their count."""

    dtype: str
    key: str
    count: int

    @property
    def size_bytes(self) -> int:
        """The size of the storage in bytes."""
        numbers, size_bytes = BLOCKS[self.dtype]
        return self.count * size_bytes // numbers


class Strided(NamedTuple):
    """A tensor in a storage: the number at which it starts, and how many numbers further the next one of each dimension is."""

    info: TensorInfo
    storage: Storage
    offset: int
    strides: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether its numbers follow one another in the storage, the last dimension first."""
        step = 1
        for size, stride in zip(reversed(self.info.shape), reversed(self.strides), strict=True):
            if size > 1 and stride != step:
                return False
            step *= size
        return True


@dataclass(slots=True)
class Thing:
    """An object in a pickle that a header does not need: the name of its class, and its state. It is never built."""

    kind: Name
    state: list[Any] = field(default_factory=list)


def storage(persistent_id: Any) -> Storage:
    """The storage that a persistent id of torch identifies: ("storage", class, key, device, count, ...).

    Raises:
        UnfitError: it is not such an id.
    """
    if type(persistent_id) is not tuple or len(persistent_id) < 5 or persistent_id[0] != "storage":
        raise UnfitError("it refers to an external object that is not a storage")
    _, kind, key, _, count = persistent_id[:5]
    if type(kind) is not Name or kind.module not in STORAGE_MODULES or kind.name not in STORAGES:
        raise UnfitError("it refers to a storage of an unknown type")
    if type(key) is not str or len(key) > 100 or not _is_size(count):
        raise UnfitError("it refers to a storage without a valid key or size")
    return Storage(STORAGES[kind.name], key, count)


def call(function: Any, arguments: Any) -> Any:
    """The value that replaces the result of a call in a pickle. The function is not called.

    Raises:
        UnfitError: no model needs the function, or its arguments do not match it.
    """
    if type(function) is not Name or type(arguments) is not tuple:
        raise UnfitError("it calls something that is not a function")
    known = CALLS.get((function.module, function.name))
    if known is not None:
        return known(arguments)
    if (function.module, function.name) not in THINGS:
        raise UnfitError(f"it calls {function.module}.{function.name}, which is not a function")
    return Thing(function)


def may_name(module: str, name: str) -> bool:
    """Whether a pickled model may use this name."""
    pair = (module, name)
    is_storage = module in STORAGE_MODULES and name in STORAGES
    return is_storage or pair in CALLS or pair in THINGS or (module == "torch" and name in DTYPES)


def _tensor(arguments: Sequence[Any]) -> Strided:
    """_rebuild_tensor_v2(storage, offset, size, stride, ...)."""
    held = arguments[0] if arguments else None
    if type(held) is not Storage:
        raise UnfitError("a tensor in it has no storage")
    return _in_storage(held, held.dtype, arguments)


def _tensor_v3(arguments: Sequence[Any]) -> Strided:
    """_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, ...)."""
    held = arguments[0] if arguments else None
    dtype = arguments[6] if len(arguments) > 6 else None
    if type(held) is not Storage or type(dtype) is not Name or dtype.name not in DTYPES:
        raise UnfitError("a tensor in it has no storage or no dtype")
    return _in_storage(held, DTYPES[dtype.name], arguments)


def _in_storage(held: Storage, dtype: str, arguments: Sequence[Any]) -> Strided:
    """The tensor, after a check that it fits into its storage."""
    if len(arguments) < 4:
        raise UnfitError("a tensor in it has no shape")
    offset, sizes, strides = arguments[1:4]
    if not (_is_size(offset) and _are_sizes(sizes) and _are_sizes(strides) and len(sizes) == len(strides)):
        raise UnfitError("a tensor in it has a shape that is not a list of sizes")
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    numbers, size_bytes = BLOCKS[dtype]
    if 0 not in sizes and (last + 1) * size_bytes // numbers > held.size_bytes:
        raise UnfitError("a tensor in it is larger than its storage")
    return Strided(TensorInfo(dtype, tuple(sizes)), held, offset, tuple(strides))


def _first(arguments: Sequence[Any]) -> Any:
    """The wrapped value: the first argument of _rebuild_parameter(data, ...) and Size(sizes)."""
    if not arguments:
        raise UnfitError("it calls a function without arguments")
    return arguments[0]


def _subclass(arguments: Sequence[Any]) -> Any:
    """_rebuild_from_type_v2(function, type, arguments, state), around a function that rebuilds a tensor."""
    function = arguments[0] if len(arguments) > 2 else None
    if type(function) is not Name or function.module != "torch._utils":
        raise UnfitError("a tensor in it has an unknown type")
    return call(function, arguments[2])


def _ordered(arguments: Sequence[Any]) -> dict[str, Any]:
    """OrderedDict(), or OrderedDict(pairs) as Python 2 wrote it."""
    pairs = arguments[0] if arguments and type(arguments[0]) is list else []
    return {pair[0]: pair[1] for pair in pairs if type(pair) is list and len(pair) == 2 and type(pair[0]) is str}


def _nothing(_: Sequence[Any]) -> list[Any]:
    return []


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_SIZE


def _are_sizes(value: Any) -> bool:
    return type(value) in (tuple, list) and len(value) <= MOST_DIMENSIONS and all(map(_is_size, value))


CALLS: dict[tuple[str, str], Callable[[Sequence[Any]], Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    ("torch", "Size"): _first,
    ("__builtin__", "set"): _nothing,
    ("builtins", "set"): _nothing,
}
"""The functions that a pickle calls to rebuild a state dict, and the function that makes the replacement value."""

THINGS: frozenset[tuple[str, str]] = frozenset(
    {
        ("torch", "device"), ("torch", "Tensor"), ("torch.nn.parameter", "Parameter"),
        ("torch.nn.parameter", "Buffer"), ("torch.nn.modules.container", "ParameterDict"),
        ("_codecs", "encode"), ("numpy", "dtype"), ("numpy", "ndarray"),
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        *((f"{package}.callbacks.{module}", name)
          for package in ("pytorch_lightning", "lightning.pytorch")
          for module, name in (("model_checkpoint", "ModelCheckpoint"), ("early_stopping", "EarlyStopping"))),
    }
)  # fmt: skip
"""The other classes and functions that a checkpoint may use; each object becomes a `Thing`."""
