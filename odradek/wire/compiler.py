"""Makes the Python code that reads, writes or constructs a struct, one version at a time, on first use.

A reader is one function for the whole message: nested structs are inlined, and neighbouring fields of fixed width,
together with the first byte of the length or count that follows them, are one `struct.unpack_from`. A writer mirrors
that. The source comes from the declarations alone; nothing that was received is ever compiled.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from odradek.wire import primitives
from odradek.wire.errors import ProtocolError
from odradek.wire.schema import KAFKA_DEFAULT, Field, FieldType, Reader, Struct, Writer, version_range

if TYPE_CHECKING:
    from collections.abc import Callable


class _Source:
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


class _Block:
    """`with _Block(source, "if x:"):` indents what is added inside."""

    def __init__(self, source: _Source, head: str) -> None:
        self._source = source
        self._head = head

    def __enter__(self) -> None:
        self._source.add(self._head)
        self._source.depth += 1

    def __exit__(self, *_: object) -> None:
        self._source.depth -= 1


class _Plan:
    """What one version of one struct has on the wire."""

    def __init__(self, cls: type[Struct], version: int) -> None:
        self.flexible = version in cls.FLEXIBLE
        self.plain: list[Field] = []
        self.tagged: list[Field] = []
        self.absent: list[Field] = []
        highest = cls.MAX_VERSION
        for declared in cls.FIELDS:
            if version not in version_range(declared.versions, highest):
                self.absent.append(declared)
            elif declared.tag is not None and version in version_range(declared.tagged or declared.versions, highest):
                self.tagged.append(declared)
            else:
                self.plain.append(declared)
        self.tagged.sort(key=lambda declared: declared.tag or 0)


def _is_nullable(cls: type[Struct], declared: Field, version: int) -> bool:
    return version in version_range(declared.nullable, cls.MAX_VERSION)


def _is_compact(cls: type[Struct], declared: Field, version: int) -> bool:
    if declared.flexible is not None:
        return version in version_range(declared.flexible, cls.MAX_VERSION)
    return version in cls.FLEXIBLE


def _min_size(cls: type[Struct], version: int) -> int:
    """The fewest bytes that a value of `cls` can have."""
    plan = _Plan(cls, version)
    size = 1 if plan.flexible else 0
    for declared in plan.plain:
        kind = declared.type
        if kind.struct is not None:
            size += 1 if _is_nullable(cls, declared, version) else _min_size(kind.struct, version)
        elif kind.size:
            size += kind.size
        else:
            size += _prefix_size(kind, _is_compact(cls, declared, version))
    return size


def _prefix_size(kind: FieldType[object], compact: bool) -> int:
    if compact:
        return 1
    return 2 if kind.kind == "string" else 4


def _element_min_size(element: FieldType[object], version: int, compact: bool) -> int:
    if element.struct is not None:
        return _min_size(element.struct, version)
    return element.size or _prefix_size(element, compact)


def _default_expression(source: _Source, declared: Field) -> str:
    if declared.default is KAFKA_DEFAULT:
        struct_class = declared.type.struct
        return "[]" if struct_class is None else f"{source.constant('Class', struct_class)}()"
    if isinstance(declared.default, (bytes, float)):
        return source.constant("DEFAULT", declared.default)
    return repr(declared.default)


def compile_init(cls: type[Struct]) -> Callable[..., None]:
    """The constructor: keyword arguments, each with its default."""
    source = _Source()
    parameters = ["unknown_tags=()"]
    for declared in cls.FIELDS:
        if declared.default is KAFKA_DEFAULT:
            parameters.append(f"{declared.name}=MISSING")
            made = _default_expression(source, declared)
            source.add(f"self.{declared.name} = {made} if {declared.name} is MISSING else {declared.name}")
        else:
            parameters.append(f"{declared.name}={_default_expression(source, declared)}")
            source.add(f"self.{declared.name} = {declared.name}")
    source.constants["MISSING"] = KAFKA_DEFAULT
    source.add("self.unknown_tags = unknown_tags")
    return cast("Callable[..., None]", source.function(f"def __init__(self, *, {', '.join(parameters)}):"))


def compile_reader(cls: type[Struct], version: int) -> Reader:
    """`read(buffer, position, end, objects_left) -> (value, position, objects_left)`."""
    generator = _ReaderGenerator(cls.__name__, version)
    variable = generator.struct(cls, cls.__name__)
    generator.source.add(f"return {variable}, p, left")
    return cast("Reader", generator.source.function("def read(d, p, end, left):"))


class _ReaderGenerator:
    """Emits reads at `d[p]`; `end` is the length of `d`, `left` the objects that may still be created."""

    def __init__(self, message: str, version: int) -> None:
        self.source = _Source()
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
        with _Block(self.source, f"if {target} > 127:"):
            self.source.add(f"{target}, p = more(d, p, {target})")

    def _fail(self, where: str, what: str) -> None:
        self.source.add(f"raise malformed({where!r}, {what})")

    def struct(self, cls: type[Struct], where: str) -> str:
        """Emit the reads of one `cls`; returns the variable that holds it."""
        plan = _Plan(cls, self.version)
        source = self.source
        variable = source.name("o")
        source.add(f"{variable} = new({source.constant('Class', cls)})")
        source.add(f"{variable}.unknown_tags = ()")
        for declared in (*plan.absent, *plan.tagged):
            source.add(f"{variable}.{declared.name} = {_default_expression(source, declared)}")
        for declared in plan.plain:
            self._field(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}")
        if plan.flexible:
            self._tags(cls, plan, variable, where)
        else:
            self._flush()
        return variable

    def _field(self, cls: type[Struct], declared: Field, target: str, where: str) -> None:
        kind = declared.type
        nullable = _is_nullable(cls, declared, self.version)
        if kind.struct is not None:
            self._struct_field(kind.struct, target, where, nullable)
        elif kind.kind == "array":
            self._array(
                cast("FieldType[object]", kind.element), target, where, nullable, self._compact(cls, declared)
            )
        else:
            self._value(kind, target, where, nullable, self._compact(cls, declared))

    def _compact(self, cls: type[Struct], declared: Field) -> bool:
        return _is_compact(cls, declared, self.version)

    def _struct_field(self, cls: type[Struct], target: str, where: str, nullable: bool) -> None:
        if not nullable:
            self._flush()
            self.source.add(f"{target} = {self.struct(cls, where)}")
            return
        present = self.source.name("n")
        self._fixed("b", present)
        self._flush()
        with _Block(self.source, f"if {present} < 0:"):
            self.source.add(f"{target} = None")
        with _Block(self.source, "else:"):
            self.source.add(f"{target} = {self.struct(cls, where)}")

    def _value(self, kind: FieldType[object], target: str, where: str, nullable: bool, compact: bool) -> None:
        if kind.format:
            self._fixed(kind.format, target)
            return
        length = self._length(kind, where, compact)
        source = self.source
        with _Block(source, f"if {length} < 0:"):
            if nullable:
                source.add(f"{target} = None")
            else:
                self._fail(where, "'is null'")
        with _Block(source, "else:"):
            source.add(f"q = p + {length}")
            with _Block(source, "if q > end:"):
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
            with _Block(self.source, f"if {length} > {primitives.MAX_STRING_BYTES + 1}:"):
                self._fail(where, f"f'a string of {{{length} - 1}} bytes is too long'")
        self.source.add(f"{length} -= 1")
        return length

    def _array(self, element: FieldType[object], target: str, where: str, nullable: bool, compact: bool) -> None:
        source = self.source
        count = self._length(_COUNTED, where, compact)
        with _Block(source, f"if {count} < 0:"):
            if nullable:
                source.add(f"{target} = None")
            else:
                self._fail(where, "'is null'")
        with _Block(source, "else:"):
            least = max(1, _element_min_size(element, self.version, compact))
            with _Block(source, f"if {count} * {least} > end - p:" if least > 1 else f"if {count} > end - p:"):
                self._fail(where, f"f'{{{count}}} elements, but {{end - p}} bytes are left'")
            source.add(f"left -= {count}")
            with _Block(source, "if left < 0:"):
                self._fail(where, f"f'{{{count}}} elements exceed the budget of objects'")
            self._elements(element, target, where, count, compact)

    def _elements(self, element: FieldType[object], target: str, where: str, count: str, compact: bool) -> None:
        source = self.source
        if element.format:
            with _Block(source, f"if {count} == 1:"):
                source.add(f"{target} = [{source.packer('unpack_from', element.format)}(d, p)[0]]")
                source.add(f"p += {element.size}")
            with _Block(source, "else:"):
                source.add(f"q = p + {count} * {element.size}")
                source.add(f"{target} = [x for x, in {source.packer('iter_unpack', element.format)}(d[p:q])]")
                source.add("p = q")
            return
        elements = source.name("l")
        source.add(f"{target} = {elements} = []")
        with _Block(source, f"for _ in range({count}):"):
            if element.struct is not None:
                source.add(f"{elements}.append({self.struct(element.struct, where + '[]')})")
            else:
                value = source.name("x")
                self._value(element, value, where + "[]", False, compact)
                source.add(f"{elements}.append({value})")

    def _tags(self, cls: type[Struct], plan: _Plan, variable: str, where: str) -> None:
        source = self.source
        count = source.name("n")
        self._uvarint(count)
        with _Block(source, f"if {count}:"):
            with _Block(source, f"if {count} * 2 > end - p:"):
                self._fail(where, f"f'{{{count}}} tagged fields, but {{end - p}} bytes are left'")
            source.add(f"left -= {count}")
            with _Block(source, "if left < 0:"):
                self._fail(where, f"f'{{{count}}} tagged fields exceed the budget of objects'")
            unknown = source.name("u")
            source.add(f"{unknown} = []")
            with _Block(source, f"for _ in range({count}):"):
                self._tag(cls, plan, variable, where, unknown)
            with _Block(source, f"if {unknown}:"):
                source.add(f"{variable}.unknown_tags = tuple({unknown})")

    def _tag(self, cls: type[Struct], plan: _Plan, variable: str, where: str, unknown: str) -> None:
        source = self.source
        tag, stop = source.name("t"), source.name("q")
        source.add(f"{tag}, p = read_uvarint(d, p)")
        source.add(f"{stop}, p = read_uvarint(d, p)")
        source.add(f"{stop} += p")
        with _Block(source, f"if {stop} > end:"):
            self._fail(where, f"f'tag {{{tag}}} has {{{stop} - p}} bytes, but {{end - p}} are left'")
        branch = "if"
        for declared in plan.tagged:
            with _Block(source, f"{branch} {tag} == {declared.tag}:"):
                self._field(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}")
                self._flush()
                with _Block(source, f"if p != {stop}:"):
                    self._fail(f"{where}.{declared.name}", "'does not fill its tagged field'")
            branch = "elif"
        with _Block(source, "else:" if plan.tagged else "if True:"):
            source.add(f"{unknown}.append(({tag}, bytes(d[p:{stop}])))")
            source.add(f"p = {stop}")


_COUNTED: FieldType[object] = FieldType("array", None)


def compile_writer(cls: type[Struct], version: int) -> Writer:
    """`write(value, out, marks)`: appends to `out`; `marks` gets the indexes in `out` of records."""
    generator = _WriterGenerator(version)
    generator.source.add("a = out.append")
    generator.struct(cls, "value", cls.__name__)
    generator.flush()
    return cast("Writer", generator.source.function("def write(value, out, marks):"))


class _WriterGenerator:
    """Emits appends of packed fields; `self._append` names the function that takes the bytes."""

    def __init__(self, version: int) -> None:
        self.source = _Source()
        self.version = version
        self._append = "a"
        self._format = ""
        self._values: list[str] = []

    def _fixed(self, format: str, value: str) -> None:  # noqa: A002 - the struct module's word
        self._format += format
        self._values.append(value)

    def flush(self) -> None:
        """Emit the fixed-width fields that wait for their neighbours."""
        if self._format:
            self._pack(self._format, self._values)
        self._format = ""
        self._values = []

    def _pack(self, format: str, values: list[str]) -> None:  # noqa: A002 - the struct module's word
        if format == "x":
            self.source.add(f"{self._append}(ONE_BYTE[0])")
        else:
            self.source.add(f"{self._append}({self.source.packer('pack', format)}({', '.join(values)}))")

    def _uvarint(self, value: str, long_form: str) -> None:
        """Append the varint in variable `value`; the usual single byte goes with the fields before it."""
        source = self.source
        waiting, values = self._format, self._values
        with _Block(source, f"if {value} < 128:"):
            if waiting:
                self._pack(waiting + "B", [*values, value])
            else:
                source.add(f"{self._append}(ONE_BYTE[{value}])")
        with _Block(source, "else:"):
            self.flush()
            source.add(f"{self._append}({long_form}({value}))")

    def _fail(self, where: str, what: str) -> None:
        self.source.add(f"raise malformed({where!r}, {what!r})")

    def struct(self, cls: type[Struct], variable: str, where: str) -> None:
        """Emit the writes of the `cls` in `variable`."""
        plan = _Plan(cls, self.version)
        source = self.source
        for declared in plan.absent:
            if not declared.ignorable:
                with _Block(source, f"if {self._differs(declared, f'{variable}.{declared.name}')}:"):
                    self._fail(f"{where}.{declared.name}", f"is set, but version {self.version} does not have it")
        for declared in plan.plain:
            self._field(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}")
        if plan.flexible:
            self._tags(cls, plan, variable, where)
        else:
            with _Block(source, f"if {variable}.unknown_tags:"):
                self._fail(where, f"has unknown tagged fields, but version {self.version} cannot carry them")

    def _differs(self, declared: Field, value: str) -> str:
        """The condition under which `value` is not the field's default."""
        default = declared.default
        if default is None:
            return f"{value} is not None"
        if default is KAFKA_DEFAULT:
            if declared.type.struct is None:
                return f"{value} is None or {value}" if declared.nullable else value
            return f"{value} != {self.source.constant('DEFAULT', declared.type.struct())}"
        if not default and declared.type.kind != "records" and not declared.nullable:
            return value
        return f"{value} != {_default_expression(self.source, declared)}"

    def _field(self, cls: type[Struct], declared: Field, value: str, where: str) -> None:
        kind = declared.type
        nullable = _is_nullable(cls, declared, self.version)
        compact = _is_compact(cls, declared, self.version)
        if kind.format:
            self._fixed(kind.format, value)
            return
        source = self.source
        variable = source.name("v")
        source.add(f"{variable} = {value}")
        if not nullable and declared.nullable is not None:
            with _Block(source, f"if {variable} is None:"):
                self._fail(where, f"is null, which version {self.version} does not allow")
        if kind.struct is not None:
            self._struct_field(kind.struct, variable, where, nullable)
        elif kind.kind == "array":
            self._array(cast("FieldType[object]", kind.element), variable, where, nullable, compact)
        else:
            self._variable(kind, variable, nullable, compact)

    def _struct_field(self, cls: type[Struct], variable: str, where: str, nullable: bool) -> None:
        self.flush()
        if not nullable:
            self.struct(cls, variable, where)
            self.flush()
            return
        with _Block(self.source, f"if {variable} is None:"):
            self.source.add(f'{self._append}(b"\\xff")')
        with _Block(self.source, "else:"):
            self.source.add(f"{self._append}(ONE_BYTE[1])")
            self.struct(cls, variable, where)
            self.flush()

    def _variable(self, kind: FieldType[object], variable: str, nullable: bool, compact: bool) -> None:
        """A string, bytes or records in `variable`."""
        source = self.source
        length = source.name("n")
        null = 0 if compact else -1
        if nullable:
            with _Block(source, f"if {variable} is None:"):
                source.add(f'{variable} = b""')
                source.add(f"{length} = {null}")
            with _Block(source, "else:"):
                self._measure(kind, variable, length, compact)
        else:
            self._measure(kind, variable, length, compact)
        self._length(kind, length, compact)
        if kind.kind == "records":
            with _Block(source, f"if {length} > {null + 1}:"):
                source.add("marks.append(len(out))")
                source.add(f"{self._append}({variable})")
        else:
            source.add(f"{self._append}({variable})")

    def _measure(self, kind: FieldType[object], variable: str, length: str, compact: bool) -> None:
        source = self.source
        extra = " + 1" if compact else ""
        if kind.kind == "string":
            source.add(f"{variable} = {variable}.encode()")
        if kind.kind == "records":
            size = f"len({variable}) if isinstance({variable}, (bytes, bytearray)) else "
            size += f"{variable}.nbytes if isinstance({variable}, memoryview) else {variable}.size"
            source.add(f"{length} = ({size}){extra}")
        else:
            source.add(f"{length} = len({variable}){extra}")

    def _length(self, kind: FieldType[object], length: str, compact: bool) -> None:
        if compact:
            self._uvarint(length, "string_prefix" if kind.kind == "string" else "uvarint")
        else:
            self._fixed("h" if kind.kind == "string" else "i", length)
            self.flush()

    def _array(self, element: FieldType[object], variable: str, where: str, nullable: bool, compact: bool) -> None:
        source = self.source
        count = source.name("n")
        if nullable:
            source.add(
                f"{count} = {0 if compact else -1} if {variable} is None else len({variable}){' + 1' * compact}"
            )
        else:
            source.add(f"{count} = len({variable}){' + 1' * compact}")
        self._length(_COUNTED, count, compact)
        item = source.name("i")
        items = f"{variable} or ()" if nullable else variable
        with _Block(source, f"for {item} in {items}:"):
            if element.struct is not None:
                self.struct(element.struct, item, where + "[]")
            elif element.format:
                self._fixed(element.format, item)
            else:
                self._variable(element, item, False, compact)
            self.flush()

    def _tags(self, cls: type[Struct], plan: _Plan, variable: str, where: str) -> None:
        source = self.source
        conditions = [self._differs(declared, f"{variable}.{declared.name}") for declared in plan.tagged]
        waiting, values = self._format, self._values
        with _Block(source, f"if {' or '.join([*conditions, f'{variable}.unknown_tags'])}:"):
            self.flush()
            known = source.name("k")
            source.add(f"{known} = []")
            for declared, condition in zip(plan.tagged, conditions, strict=True):
                with _Block(source, f"if {condition}:"):
                    self._tag(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}", known)
            source.add(f"write_tags({self._append}, {known}, {variable}.unknown_tags)")
        with _Block(source, "else:"):
            self._pack(waiting + "x", values)

    def _tag(self, cls: type[Struct], declared: Field, value: str, where: str, known: str) -> None:
        source = self.source
        parts = source.name("b")
        enclosing, self._append = self._append, f"{parts}.append"
        source.add(f"{parts} = []")
        self._field(cls, declared, value, where)
        self.flush()
        source.add(f'{known}.append(({declared.tag}, b"".join({parts})))')
        self._append = enclosing
