"""A reader of pickles that only builds plain values: no class is looked up and nothing is called, whatever a pickle asks for.

It knows the opcodes that torch.save writes; all others, and every name that is not on the list, end the reading. Python's own
Unpickler is not used even with its names restricted: docs/decisions/0009-pickles.md.
Source: Python, Lib/pickletools.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer_core.errors import HeaderError
from trainer_core.header.cursor import Cursor
from trainer_core.header.pickle_names import Name, Storage, Thing, UnfitError, call, may_name, storage
from trainer_core.text import printable

MOST_STEPS = 500_000
"""Opcodes of one file. A checkpoint of 2,500 tensors takes about 110,000."""
LONGEST_TEXT_BYTES = 1_000_000
LONGEST_NAME_BYTES = 200
LONGEST_INTEGER_BYTES = 64
DEEPEST_MARK = 1000
STOP = b"."
Step = Callable[["PickleReader"], object]


class PickleReader:
    """Reads one pickle after another from a stream. `storages` are those its tensors lie in, by key.

    A dictionary keeps only its items under text or a whole number, as text: nothing else is hashed.
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
            HeaderError: it is damaged or too large, or asks for what a model does not need.
        """
        self._begin()
        take = self.cursor.take
        try:
            while (code := take(1)) != STOP:
                self._steps_left -= 1
                if self._steps_left < 0:
                    raise UnfitError("it holds more than any model does")
                STEPS[code](self)
            return self.stack.pop()
        except UnfitError as error:
            raise self.damaged(str(error)) from None
        except (IndexError, KeyError) as error:
            raise self.damaged("it is no pickle that torch.save writes") from error

    def damaged(self, reason: str) -> HeaderError:
        """The error for a pickle that does not hold what it should."""
        return HeaderError(f"{self.cursor.name} is damaged: {reason}.", "Download it again, best as safetensors.")

    # What an opcode does, for `STEPS`.

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
        """The values since the last mark, taken from the stack."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def text(self, length: int, encoding: str = "utf-8") -> str:
        """The next bytes as text."""
        return self.bytes(length).decode(encoding, "replace")

    def bytes(self, length: int) -> bytes:
        """The next bytes."""
        if length > LONGEST_TEXT_BYTES:
            raise UnfitError(f"a text in it claims {length} bytes")
        return self.cursor.take(length)

    def integer(self, length: int) -> int:
        """The next bytes as a whole number, little end first."""
        if length > LONGEST_INTEGER_BYTES:
            raise UnfitError(f"a number in it claims {length} bytes")
        return int.from_bytes(self.cursor.take(length), "little", signed=True)

    def count(self, width: int) -> int:
        """The next `width` bytes as a length."""
        return int.from_bytes(self.cursor.take(width), "little")

    def remember(self, index: int) -> None:
        """Notes the value on top under a number."""
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Puts the value noted under a number on the stack."""
        self.stack.append(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        """Puts a name on the stack that a model may ask for; every other ends the reading."""
        if type(module) is not str or type(name) is not str:
            raise UnfitError("it asks for a name that is no text")
        if not may_name(module, name):
            wanted = printable(f"{module}.{name}", 120)
            message = f"{self.cursor.name} asks for {wanted}, which no model needs: it may run code when it is opened."
            raise HeaderError(message, "Nothing of it was run. Choose the model as safetensors.")
        self.push(Name(module, name))

    def line_name(self) -> None:
        """A name written as two lines."""
        module, name = self.cursor.line(LONGEST_NAME_BYTES), self.cursor.line(LONGEST_NAME_BYTES)
        self.name(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))

    def stack_name(self) -> None:
        """A name whose two parts are on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def refer(self) -> None:
        """A reference to something outside the pickle: a storage."""
        found = storage(self.stack.pop())
        if self.storages.setdefault(found.key, found) != found:
            raise UnfitError("it refers to a storage in two ways")
        self.push(found)

    def called(self) -> None:
        """What stands for the result of a call."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is tuple and arguments and type(arguments[0]) is list:
            # What is copied counts: one long list may be handed over again and again.
            self._steps_left -= len(arguments[0])
        self.push(call(function, arguments))

    def called_with_names(self) -> None:
        """As `called`, with arguments by name, which are dropped."""
        self.stack.pop()
        self.called()

    def build(self) -> None:
        """Gives the state of an object: kept for a `Thing`, dropped for dictionaries and tensors, which need none."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Thing:
            target.state.append(state)

    def append(self, values: list[Any]) -> None:
        """Adds values to the list on top."""
        if type(self.stack[-1]) is not list:
            raise UnfitError("it adds to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Sets items of the dictionary on top from keys and values in turn; a `Thing` needs none."""
        target = self.stack[-1]
        if type(target) not in (dict, Thing) or len(values) % 2:
            raise UnfitError("it sets items of what is no dictionary")
        if type(target) is dict:
            for key, value in zip(values[::2], values[1::2], strict=True):
                if type(key) in (str, int):
                    target[str(key)] = value

    def dictionary(self) -> None:
        """A dictionary of the marked keys and values."""
        values = self.marked()
        self.push({})
        self.set_items(values)

    def pop_tuple(self, length: int) -> None:
        """A tuple of the last values."""
        if len(self.stack) < length:
            raise UnfitError("it is no pickle that torch.save writes")
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def pop_two(self) -> list[Any]:
        """The last two values, taken from the stack."""
        value, key = self.stack.pop(), self.stack.pop()
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
    b"J": lambda r: r.push(r.integer(4)),
    b"K": lambda r: r.push(r.count(1)),
    b"M": lambda r: r.push(r.count(2)),
    b"\x8a": lambda r: r.push(r.integer(r.count(1))),
    b"\x8b": lambda r: r.push(r.integer(r.count(4))),
    b"G": lambda r: r.push(r.cursor.f64()),
    b"X": lambda r: r.push(r.text(r.count(4))),
    b"\x8c": lambda r: r.push(r.text(r.count(1))),
    b"\x8d": lambda r: r.push(r.text(r.count(8))),
    b"T": lambda r: r.push(r.text(r.count(4), "latin-1")),  # Python 2's str
    b"U": lambda r: r.push(r.text(r.count(1), "latin-1")),
    b"B": lambda r: r.push(r.bytes(r.count(4))),
    b"C": lambda r: r.push(r.bytes(r.count(1))),
    b"\x8e": lambda r: r.push(r.bytes(r.count(8))),
    b"\x96": lambda r: r.push(r.bytes(r.count(8))),  # BYTEARRAY8
    b"]": lambda r: r.push([]),
    b"l": lambda r: r.push(r.marked()),
    b")": lambda r: r.push(()),
    b"t": lambda r: r.push(tuple(r.marked())),
    b"\x85": lambda r: r.pop_tuple(1),
    b"\x86": lambda r: r.pop_tuple(2),
    b"\x87": lambda r: r.pop_tuple(3),
    b"}": lambda r: r.push({}),
    b"d": PickleReader.dictionary,
    b"\x8f": lambda r: r.push([]),  # EMPTY_SET
    b"\x91": lambda r: r.push(r.marked()),  # FROZENSET
    b"a": lambda r: r.append([r.stack.pop()]),
    b"e": lambda r: r.append(r.marked()),
    b"\x90": lambda r: r.append(r.marked()),  # ADDITEMS
    b"s": lambda r: r.set_items(r.pop_two()),
    b"u": lambda r: r.set_items(r.marked()),
    b"q": lambda r: r.remember(r.count(1)),
    b"r": lambda r: r.remember(r.count(4)),
    b"\x94": lambda r: r.remember(len(r.memo)),  # MEMOIZE
    b"h": lambda r: r.recall(r.count(1)),
    b"j": lambda r: r.recall(r.count(4)),
    b"c": PickleReader.line_name,
    b"\x93": PickleReader.stack_name,
    b"Q": PickleReader.refer,
    b"R": PickleReader.called,
    b"\x81": PickleReader.called,  # NEWOBJ
    b"\x92": PickleReader.called_with_names,  # NEWOBJ_EX
    b"b": PickleReader.build,
}
"""What each known opcode does. Without one: EXT1 to EXT4, INST, OBJ, PERSID, buffers, and the text opcodes of protocol 0."""
