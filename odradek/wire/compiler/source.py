"""Python source under construction, and the constants that it refers to."""

from __future__ import annotations

import struct

from odradek.wire import primitives
from odradek.wire.errors import ProtocolError
from odradek.wire.schema import KAFKA_DEFAULT, Field


class Source:
    """Lines of a function under construction, and the constants that they refer to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.constants: dict[str, object] = {
            "ProtocolError": ProtocolError,
            "malformed": primitives.malformed,
            "more": primitives.continue_uvarint,
            "read_uvarint": primitives.read_uvarint,
            "string_prefix": primitives.string_prefix,
            "uvarint": primitives.uvarint,
            "write_tags": primitives.write_tags,
            "ONE_BYTE": primitives.ONE_BYTE,
            "new": object.__new__,
        }
        self._names = 0

    def add(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def name(self, prefix: str) -> str:
        """A variable name that is not in use yet."""
        self._names += 1
        return f"{prefix}{self._names}"

    def constant(self, prefix: str, value: object) -> str:
        """The name under which the function sees `value`."""
        for name, known in self.constants.items():
            if known is value:
                return name
        name = self.name(prefix)
        self.constants[name] = value
        return name

    def packer(self, method: str, format: str) -> str:  # noqa: A002 - the struct module's word
        """The name of `pack`, `unpack_from` or `iter_unpack` of a compiled big-endian format."""
        name = f"{method}_{format.replace('?', 'z')}"
        if name not in self.constants:
            self.constants[name] = getattr(struct.Struct(">" + format), method)
        return name

    def function(self, head: str) -> object:
        text = "\n".join([head, *self.lines])
        exec(compile(text, f"<odradek.wire {head}>", "exec"), self.constants)
        return self.constants[head.split("(")[0].removeprefix("def ")]


class Block:
    """`with Block(source, "if x:"):` indents what is added inside."""

    def __init__(self, source: Source, head: str) -> None:
        self._source = source
        self._head = head

    def __enter__(self) -> None:
        self._source.add(self._head)
        self._source.depth += 1

    def __exit__(self, *_: object) -> None:
        self._source.depth -= 1


def default_expression(source: Source, declared: Field) -> str:
    if declared.default is KAFKA_DEFAULT:
        struct_class = declared.type.struct
        return "[]" if struct_class is None else f"{source.constant('Class', struct_class)}()"
    if isinstance(declared.default, (bytes, float)):
        return source.constant("DEFAULT", declared.default)
    return repr(declared.default)
