"""A reader of pickles that builds only plain values. It never imports a class and never calls a function from a pickle.

It knows the opcodes that torch.save writes. Any other opcode, and any name that is not on the list, raises an error.
docs/decisions/0009-pickles.md explains why Python's own Unpickler is not used, even with restricted names.
Source: Python, Lib/pickletools.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer_core.errors import HeaderError
from trainer_core.models.header.cursor import Cursor
from trainer_core.models.header.pickle_names import Name, Storage, Thing, UnfitError, call, may_name, storage
from trainer_core.text import printable

MOST_STEPS = 500_000
"""How many opcodes one file may have. A checkpoint of 2,500 tensors has about 110,000."""
LONGEST_TEXT_BYTES = 1_000_000
LONGEST_NAME_BYTES = 200
LONGEST_INTEGER_BYTES = 64
DEEPEST_MARK = 1000
STOP = b"."
Step = Callable[["PickleReader"], object]


class PickleReader:
    """Reads one pickle after another from a stream. `storages` are the storages of its tensors, by key.

    A dictionary keeps only the items whose key is text or a whole number, and stores the key as text: nothing else is
    hashed.
    """

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.storages: dict[str, Storage] = {}
        self._steps_left = MOST_STEPS
        self._begin()

    def _begin(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        """The value of the next pickle.

        Raises:
            HeaderError: it is damaged, too large, or uses a name that no model needs.
        """
        self._begin()
        take = self.cursor.take
        try:
            while (code := take(1)) != STOP:
                self._steps_left -= 1
                if self._steps_left < 0:
                    raise UnfitError("it contains more than any model does")
                STEPS[code](self)
            return self.stack.pop()
        except UnfitError as error:
            raise self.damaged(str(error)) from None
        except (IndexError, KeyError) as error:
            raise self.damaged("it is not a pickle that torch.save writes") from error

    def damaged(self, reason: str) -> HeaderError:
        """The error for a damaged pickle."""
        return HeaderError(f"{self.cursor.name} is damaged: {reason}.", "Download it again, preferably as safetensors.")

    # The action of each opcode, for `STEPS`.

    def push(self, value: Any) -> None:
        """Puts a value on the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Begins a list of values."""
        if len(self.marks) >= DEEPEST_MARK:
            raise UnfitError("it is nested too deep")
        self.marks.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """Removes the values since the last mark from the stack and returns them."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def remember(self, index: int) -> None:
        """Stores the top value in the memo under a number."""
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Puts the value that the memo has under a number on the stack."""
        self.stack.append(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        """Puts a name on the stack. A name that no model needs raises an error."""
        if type(module) is not str or type(name) is not str:
            raise UnfitError("it uses a name that is not text")
        if not may_name(module, name):
            wanted = printable(f"{module}.{name}", 120)
            message = (
                f"{self.cursor.name} uses {wanted}, which no model needs: it may run code when a program opens it."
            )
            raise HeaderError(message, "Easel did not run any of it. Choose the model as safetensors.")
        self.push(Name(module, name))

    def refer(self) -> None:
        """Replaces a reference to an object outside the pickle by its storage."""
        found = storage(self.stack.pop())
        if self.storages.setdefault(found.key, found) != found:
            raise UnfitError("it describes one storage in two ways")
        self.push(found)

    def called(self) -> None:
        """Replaces a call by the value that stands for its result."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is tuple and arguments and type(arguments[0]) is list:
            # Copied values count as steps: a pickle may pass one long list again and again.
            self._steps_left -= len(arguments[0])
        self.push(call(function, arguments))

    def build(self) -> None:
        """Sets the state of an object. A `Thing` keeps it; dictionaries and tensors need none and drop it."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Thing:
            target.state.append(state)

    def append(self, values: list[Any]) -> None:
        """Adds values to the list on top."""
        if type(self.stack[-1]) is not list:
            raise UnfitError("it appends to a value that is not a list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Sets items of the dictionary on top from alternating keys and values; a `Thing` drops them."""
        target = self.stack[-1]
        if type(target) not in (dict, Thing) or len(values) % 2:
            raise UnfitError("it sets items of a value that is not a dictionary")
        if type(target) is dict:
            for key, value in zip(values[::2], values[1::2], strict=True):
                if type(key) in (str, int):
                    target[str(key)] = value

    def pop_tuple(self, length: int) -> None:
        """Replaces the last values by a tuple."""
        if len(self.stack) < length:
            raise UnfitError("it is not a pickle that torch.save writes")
        self.stack[-length:] = [tuple(self.stack[-length:])]


def _bytes(cursor: Cursor, length: int) -> bytes:
    """The next bytes."""
    if length > LONGEST_TEXT_BYTES:
        raise UnfitError(f"the length of a text in it is {length} bytes")
    return cursor.take(length)


def _text(cursor: Cursor, length: int, encoding: str = "utf-8") -> str:
    """The next bytes as text."""
    return _bytes(cursor, length).decode(encoding, "replace")


def _integer(cursor: Cursor, length: int) -> int:
    """The next bytes as a little-endian whole number."""
    if length > LONGEST_INTEGER_BYTES:
        raise UnfitError(f"the length of a number in it is {length} bytes")
    return int.from_bytes(cursor.take(length), "little", signed=True)


def _count(cursor: Cursor, width: int) -> int:
    """The next `width` bytes as a length."""
    return int.from_bytes(cursor.take(width), "little")


def _line_name(reader: PickleReader) -> None:
    """Reads a name that is written as two lines."""
    module, name = reader.cursor.line(LONGEST_NAME_BYTES), reader.cursor.line(LONGEST_NAME_BYTES)
    reader.name(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))


def _stack_name(reader: PickleReader) -> None:
    """Reads a name whose two parts are on the stack."""
    name, module = reader.stack.pop(), reader.stack.pop()
    reader.name(module, name)


def _called_with_names(reader: PickleReader) -> None:
    """Like `called`, for a call with keyword arguments, which are dropped."""
    reader.stack.pop()
    reader.called()


def _dictionary(reader: PickleReader) -> None:
    """Replaces the marked keys and values by a dictionary."""
    values = reader.marked()
    reader.push({})
    reader.set_items(values)


def _pop_two(reader: PickleReader) -> list[Any]:
    """Removes the last two values from the stack and returns them."""
    value, key = reader.stack.pop(), reader.stack.pop()
    return [key, value]


STEPS: dict[bytes, Step] = {
    b"\x80": lambda r: r.cursor.skip(1),  # PROTO
    b"\x95": lambda r: r.cursor.skip(8),  # FRAME
    b"(": PickleReader.mark,
    b"0": lambda r: r.stack.pop(),
    b"1": lambda r: r.marked(),
    b"2": lambda r: r.push(r.stack[-1]),
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"J": lambda r: r.push(_integer(r.cursor, 4)),
    b"K": lambda r: r.push(_count(r.cursor, 1)),
    b"M": lambda r: r.push(_count(r.cursor, 2)),
    b"\x8a": lambda r: r.push(_integer(r.cursor, _count(r.cursor, 1))),
    b"\x8b": lambda r: r.push(_integer(r.cursor, _count(r.cursor, 4))),
    b"G": lambda r: r.push(r.cursor.f64()),
    b"X": lambda r: r.push(_text(r.cursor, _count(r.cursor, 4))),
    b"\x8c": lambda r: r.push(_text(r.cursor, _count(r.cursor, 1))),
    b"\x8d": lambda r: r.push(_text(r.cursor, _count(r.cursor, 8))),
    b"T": lambda r: r.push(_text(r.cursor, _count(r.cursor, 4), "latin-1")),  # Python 2's str
    b"U": lambda r: r.push(_text(r.cursor, _count(r.cursor, 1), "latin-1")),
    b"B": lambda r: r.push(_bytes(r.cursor, _count(r.cursor, 4))),
    b"C": lambda r: r.push(_bytes(r.cursor, _count(r.cursor, 1))),
    b"\x8e": lambda r: r.push(_bytes(r.cursor, _count(r.cursor, 8))),
    b"\x96": lambda r: r.push(_bytes(r.cursor, _count(r.cursor, 8))),  # BYTEARRAY8
    b"]": lambda r: r.push([]),
    b"l": lambda r: r.push(r.marked()),
    b")": lambda r: r.push(()),
    b"t": lambda r: r.push(tuple(r.marked())),
    b"\x85": lambda r: r.pop_tuple(1),
    b"\x86": lambda r: r.pop_tuple(2),
    b"\x87": lambda r: r.pop_tuple(3),
    b"}": lambda r: r.push({}),
    b"d": _dictionary,
    b"\x8f": lambda r: r.push([]),  # EMPTY_SET
    b"\x91": lambda r: r.push(r.marked()),  # FROZENSET
    b"a": lambda r: r.append([r.stack.pop()]),
    b"e": lambda r: r.append(r.marked()),
    b"\x90": lambda r: r.append(r.marked()),  # ADDITEMS
    b"s": lambda r: r.set_items(_pop_two(r)),
    b"u": lambda r: r.set_items(r.marked()),
    b"q": lambda r: r.remember(_count(r.cursor, 1)),
    b"r": lambda r: r.remember(_count(r.cursor, 4)),
    b"\x94": lambda r: r.remember(len(r.memo)),  # MEMOIZE
    b"h": lambda r: r.recall(_count(r.cursor, 1)),
    b"j": lambda r: r.recall(_count(r.cursor, 4)),
    b"c": _line_name,
    b"\x93": _stack_name,
    b"Q": PickleReader.refer,
    b"R": PickleReader.called,
    b"\x81": PickleReader.called,  # NEWOBJ
    b"\x92": _called_with_names,  # NEWOBJ_EX
    b"b": PickleReader.build,
}
"""The action of each known opcode. Not supported: EXT1 to EXT4, INST, OBJ, PERSID, buffers, the text opcodes of protocol 0."""
