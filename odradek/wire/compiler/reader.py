"""Makes readers: from a buffer to objects, with every length checked before it is used."""

from __future__ import annotations

import struct
from typing import cast

from odradek.wire import primitives
from odradek.wire.compiler.plan import COUNTED, Plan, element_min_size, is_compact, is_nullable
from odradek.wire.compiler.source import Block, Source, default_expression
from odradek.wire.schema import Field, FieldType, Reader, Struct


def compile_reader(cls: type[Struct], version: int) -> Reader:
    """`read(buffer, position, end, objects_left) -> (value, position, objects_left)`."""
    generator = _ReaderGenerator(cls.__name__, version)
    variable = generator.struct(cls, cls.__name__)
    generator.source.add(f"return {variable}, p, left")
    return cast("Reader", generator.source.function("def read(d, p, end, left):"))


class _ReaderGenerator:
    """Emits reads at `d[p]`; `end` is the length of `d`, `left` the objects that may still be created."""

    def __init__(self, message: str, version: int) -> None:
        self.source = Source()
        self.version = version
        self.message = message
        self._format = ""
        self._targets: list[str] = []

    def _fixed(self, format: str, target: str) -> None:  # noqa: A002 - the struct module's word
        """Read `target` together with its neighbours, in the next `_flush`."""
        self._format += format
        self._targets.append(target)

    def _flush(self) -> None:
        if not self._targets:
            return
        add = self.source.add
        size = struct.calcsize(">" + self._format)
        if self._format == "B":
            add(f"{self._targets[0]} = d[p]")
        elif len(self._targets) == 1:
            add(f"({self._targets[0]},) = {self.source.packer('unpack_from', self._format)}(d, p)")
        else:
            add(f"{', '.join(self._targets)} = {self.source.packer('unpack_from', self._format)}(d, p)")
        add(f"p += {size}")
        self._format = ""
        self._targets = []

    def _uvarint(self, target: str) -> None:
        self._fixed("B", target)
        self._flush()
        with Block(self.source, f"if {target} > 127:"):
            self.source.add(f"{target}, p = more(d, p, {target})")

    def _fail(self, where: str, what: str) -> None:
        self.source.add(f"raise malformed({where!r}, {what})")

    def struct(self, cls: type[Struct], where: str) -> str:
        """Emit the reads of one `cls`; returns the variable that holds it."""
        plan = Plan(cls, self.version)
        source = self.source
        variable = source.name("o")
        source.add(f"{variable} = new({source.constant('Class', cls)})")
        source.add(f"{variable}.unknown_tags = ()")
        for declared in (*plan.absent, *plan.tagged):
            source.add(f"{variable}.{declared.name} = {default_expression(source, declared)}")
        for declared in plan.plain:
            self._field(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}")
        if plan.flexible:
            self._tags(cls, plan, variable, where)
        else:
            self._flush()
        return variable

    def _field(self, cls: type[Struct], declared: Field, target: str, where: str) -> None:
        kind = declared.type
        nullable = is_nullable(cls, declared, self.version)
        if kind.struct is not None:
            self._struct_field(kind.struct, target, where, nullable, declared.tag is not None)
        elif kind.kind == "array":
            self._array(cast("FieldType[object]", kind.element), target, where, nullable, self._compact(cls, declared))
        else:
            self._value(kind, target, where, nullable, self._compact(cls, declared))

    def _compact(self, cls: type[Struct], declared: Field) -> bool:
        return is_compact(cls, declared, self.version)

    def _struct_field(self, cls: type[Struct], target: str, where: str, nullable: bool, tagged: bool) -> None:
        if not nullable:
            self._flush()
            self.source.add(f"{target} = {self.struct(cls, where)}")
            return
        present = self.source.name("n")
        if tagged:  # absence is varint 0 here, and a byte below 0 elsewhere
            self._uvarint(present)
        else:
            self._fixed("b", present)
            self._flush()
        with Block(self.source, f"if {present} < {1 if tagged else 0}:"):
            self.source.add(f"{target} = None")
        with Block(self.source, "else:"):
            self.source.add(f"{target} = {self.struct(cls, where)}")

    def _value(self, kind: FieldType[object], target: str, where: str, nullable: bool, compact: bool) -> None:
        if kind.format:
            self._fixed(kind.format, target)
            return
        length = self._length(kind, where, compact)
        source = self.source
        with Block(source, f"if {length} < 0:"):
            if nullable:
                source.add(f"{target} = None")
            else:
                self._fail(where, "'is null'")
        with Block(source, "else:"):
            source.add(f"q = p + {length}")
            with Block(source, "if q > end:"):
                self._fail(where, f"f'{{{length}}} bytes, but {{end - p}} are left'")
            if kind.kind == "string":
                source.add(f'{target} = str(d[p:q], "utf-8", "replace")')
            elif kind.kind == "bytes":
                source.add(f"{target} = bytes(d[p:q])")
            else:
                source.add(f"{target} = memoryview(d)[p:q]")
            source.add("p = q")

    def _length(self, kind: FieldType[object], where: str, compact: bool) -> str:
        """Emit the read of a length or count; returns its variable, which is below 0 for null."""
        length = self.source.name("n")
        if not compact:
            self._fixed("h" if kind.kind == "string" else "i", length)
            self._flush()
            return length
        self._uvarint(length)
        if kind.kind == "string":
            with Block(self.source, f"if {length} > {primitives.MAX_STRING_BYTES + 1}:"):
                self._fail(where, f"f'a string of {{{length} - 1}} bytes is too long'")
        self.source.add(f"{length} -= 1")
        return length

    def _array(self, element: FieldType[object], target: str, where: str, nullable: bool, compact: bool) -> None:
        source = self.source
        count = self._length(COUNTED, where, compact)
        with Block(source, f"if {count} < 0:"):
            if nullable:
                source.add(f"{target} = None")
            else:
                self._fail(where, "'is null'")
        with Block(source, "else:"):
            least = max(1, element_min_size(element, self.version, compact))
            with Block(source, f"if {count} * {least} > end - p:" if least > 1 else f"if {count} > end - p:"):
                self._fail(where, f"f'{{{count}}} elements, but {{end - p}} bytes are left'")
            source.add(f"left -= {count}")
            with Block(source, "if left < 0:"):
                self._fail(where, f"f'{{{count}}} elements exceed the budget of objects'")
            self._elements(element, target, where, count, compact)

    def _elements(self, element: FieldType[object], target: str, where: str, count: str, compact: bool) -> None:
        source = self.source
        if element.format:
            with Block(source, f"if {count} == 1:"):
                source.add(f"{target} = [{source.packer('unpack_from', element.format)}(d, p)[0]]")
                source.add(f"p += {element.size}")
            with Block(source, "else:"):
                source.add(f"q = p + {count} * {element.size}")
                source.add(f"{target} = [x for x, in {source.packer('iter_unpack', element.format)}(d[p:q])]")
                source.add("p = q")
            return
        elements = source.name("l")
        source.add(f"{target} = {elements} = []")
        with Block(source, f"for _ in range({count}):"):
            if element.struct is not None:
                source.add(f"{elements}.append({self.struct(element.struct, where + '[]')})")
            else:
                value = source.name("x")
                self._value(element, value, where + "[]", False, compact)
                source.add(f"{elements}.append({value})")

    def _tags(self, cls: type[Struct], plan: Plan, variable: str, where: str) -> None:
        source = self.source
        count = source.name("n")
        self._uvarint(count)
        with Block(source, f"if {count}:"):
            with Block(source, f"if {count} * 2 > end - p:"):
                self._fail(where, f"f'{{{count}}} tagged fields, but {{end - p}} bytes are left'")
            source.add(f"left -= {count}")
            with Block(source, "if left < 0:"):
                self._fail(where, f"f'{{{count}}} tagged fields exceed the budget of objects'")
            unknown = source.name("u")
            source.add(f"{unknown} = []")
            with Block(source, f"for _ in range({count}):"):
                self._tag(cls, plan, variable, where, unknown)
            with Block(source, f"if {unknown}:"):
                source.add(f"{variable}.unknown_tags = tuple(sorted({unknown}))")

    def _tag(self, cls: type[Struct], plan: Plan, variable: str, where: str, unknown: str) -> None:
        source = self.source
        tag, stop = source.name("t"), source.name("q")
        source.add(f"{tag}, p = read_uvarint(d, p)")
        source.add(f"{stop}, p = read_uvarint(d, p)")
        source.add(f"{stop} += p")
        with Block(source, f"if {stop} > end:"):
            self._fail(where, f"f'tag {{{tag}}} has {{{stop} - p}} bytes, but {{end - p}} are left'")
        branch = "if"
        for declared in plan.tagged:
            with Block(source, f"{branch} {tag} == {declared.tag}:"):
                self._field(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}")
                self._flush()
                with Block(source, f"if p != {stop}:"):
                    self._fail(f"{where}.{declared.name}", "'does not fill its tagged field'")
            branch = "elif"
        if plan.foreign_tags:
            with Block(source, f"{branch} {tag} in {tuple(plan.foreign_tags)!r}:"):
                self._fail(where, f"f'tag {{{tag}}} is not one of version {self.version}'")
            branch = "elif"
        with Block(source, "if True:" if branch == "if" else "else:"):
            source.add(f"{unknown}.append(({tag}, bytes(d[p:{stop}])))")
            source.add(f"p = {stop}")
