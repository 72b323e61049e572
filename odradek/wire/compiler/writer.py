"""Makes writers: from objects to pieces of bytes."""

from __future__ import annotations

from typing import cast

from odradek.wire.compiler.plan import COUNTED, Plan, is_compact, is_nullable
from odradek.wire.compiler.source import Block, Source, default_expression
from odradek.wire.schema import KAFKA_DEFAULT, Field, FieldType, StepWriter, Struct, Writer


def compile_writer(cls: type[Struct], version: int) -> Writer:
    """`write(value, out, marks)`: appends to `out`; `marks` gets the indexes in `out` of records."""
    generator = _WriterGenerator(version)
    generator.source.add("a = out.append")
    generator.struct(cls, "value", cls.__name__)
    generator.flush()
    return cast("Writer", generator.source.function("def write(value, out, marks):"))


def compile_step_writer(cls: type[Struct], version: int) -> StepWriter:
    """`write(value, out, marks)` as above, but a generator that stops behind each struct in an array."""
    generator = _WriterGenerator(version, in_steps=True)
    generator.source.add("a = out.append")
    generator.struct(cls, "value", cls.__name__)
    generator.flush()
    generator.source.add("yield")
    return cast("StepWriter", generator.source.function("def write(value, out, marks):"))


class _WriterGenerator:
    """Emits appends of packed fields; `self._append` names the function that takes the bytes."""

    def __init__(self, version: int, *, in_steps: bool = False) -> None:
        self.source = Source()
        self.version = version
        self._in_steps = in_steps
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
        with Block(source, f"if {value} < 128:"):
            if waiting:
                self._pack(waiting + "B", [*values, value])
            else:
                source.add(f"{self._append}(ONE_BYTE[{value}])")
        with Block(source, "else:"):
            self.flush()
            source.add(f"{self._append}({long_form}({value}))")

    def _fail(self, where: str, what: str) -> None:
        self.source.add(f"raise malformed({where!r}, {what!r})")

    def struct(self, cls: type[Struct], variable: str, where: str) -> None:
        """Emit the writes of the `cls` in `variable`."""
        plan = Plan(cls, self.version)
        source = self.source
        for declared in plan.absent:
            if not declared.ignorable:
                with Block(source, f"if {self._differs(declared, f'{variable}.{declared.name}')}:"):
                    self._fail(f"{where}.{declared.name}", f"is set, but version {self.version} does not have it")
        for declared in plan.plain:
            self._field(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}")
        if plan.flexible:
            self._tags(cls, plan, variable, where)
        else:
            with Block(source, f"if {variable}.unknown_tags:"):
                self._fail(where, f"has unknown tagged fields, but version {self.version} cannot carry them")

    def _differs(self, declared: Field, value: str) -> str:
        """The condition under which `value` is not the field's default."""
        default = declared.default
        if default is None:
            return f"{value} is not None"
        if default is KAFKA_DEFAULT:
            if declared.type.struct is None:
                return f"{value} is None or {value}" if declared.nullable else value
            inner = [self._differs(part, f"{value}.{part.name}") for part in declared.type.struct.FIELDS]
            null = [f"{value} is None"] if declared.nullable else []
            return " or ".join([*null, *inner, f"{value}.unknown_tags"])
        if not default and declared.type.kind != "records" and not declared.nullable:
            return value
        return f"{value} != {default_expression(self.source, declared)}"

    def _field(self, cls: type[Struct], declared: Field, value: str, where: str) -> None:
        kind = declared.type
        nullable = is_nullable(cls, declared, self.version)
        compact = is_compact(cls, declared, self.version)
        if kind.format:
            self._fixed(kind.format, value)
            return
        source = self.source
        variable = source.name("v")
        source.add(f"{variable} = {value}")
        if not nullable and declared.nullable is not None:
            with Block(source, f"if {variable} is None:"):
                self._fail(where, f"is null, which version {self.version} does not allow")
        if kind.struct is not None:
            self._struct_field(kind.struct, variable, where, nullable, declared.tag is not None)
        elif kind.kind == "array":
            self._array(cast("FieldType[object]", kind.element), variable, where, nullable, compact)
        else:
            self._variable(kind, variable, nullable, compact)

    def _struct_field(self, cls: type[Struct], variable: str, where: str, nullable: bool, tagged: bool) -> None:
        self.flush()
        if not nullable:
            self.struct(cls, variable, where)
            self.flush()
            return
        with Block(self.source, f"if {variable} is None:"):
            null = r'b"\x00"' if tagged else r'b"\xff"'
            self.source.add(f"{self._append}({null})")
        with Block(self.source, "else:"):
            self.source.add(f"{self._append}(ONE_BYTE[1])")
            self.struct(cls, variable, where)
            self.flush()

    def _variable(self, kind: FieldType[object], variable: str, nullable: bool, compact: bool) -> None:
        """A string, bytes or records in `variable`."""
        source = self.source
        length = source.name("n")
        null = 0 if compact else -1
        if nullable:
            with Block(source, f"if {variable} is None:"):
                source.add(f'{variable} = b""')
                source.add(f"{length} = {null}")
            with Block(source, "else:"):
                self._measure(kind, variable, length, compact)
        else:
            self._measure(kind, variable, length, compact)
        self._length(kind, length, compact)
        if kind.kind == "records":
            if self._append != "a":
                raise TypeError("records in a tagged field")  # its size would have to be known before its bytes
            with Block(source, f"if {length} > {null + 1}:"):
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
            source.add(f"{count} = {0 if compact else -1} if {variable} is None else len({variable}){' + 1' * compact}")
        else:
            source.add(f"{count} = len({variable}){' + 1' * compact}")
        self._length(COUNTED, count, compact)
        item = source.name("i")
        items = f"{variable} or ()" if nullable else variable
        with Block(source, f"for {item} in {items}:"):
            if element.struct is not None:
                self.struct(element.struct, item, where + "[]")
            elif element.format:
                self._fixed(element.format, item)
            else:
                self._variable(element, item, False, compact)
            self.flush()
            if self._in_steps and element.struct is not None:
                source.add("yield")

    def _tags(self, cls: type[Struct], plan: Plan, variable: str, where: str) -> None:
        source = self.source
        conditions = [self._differs(declared, f"{variable}.{declared.name}") for declared in plan.tagged]
        waiting, values = self._format, self._values
        with Block(source, f"if {' or '.join([*conditions, f'{variable}.unknown_tags'])}:"):
            self.flush()
            known = source.name("k")
            source.add(f"{known} = []")
            for declared, condition in zip(plan.tagged, conditions, strict=True):
                with Block(source, f"if {condition}:"):
                    self._tag(cls, declared, f"{variable}.{declared.name}", f"{where}.{declared.name}", known)
            source.add(f"write_tags({self._append}, {known}, {variable}.unknown_tags)")
        with Block(source, "else:"):
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
