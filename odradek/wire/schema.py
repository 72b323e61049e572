"""How messages are declared: field types, versions, and the classes that carry them.

A message is a class whose attributes say what is on the wire:

    class Pair(Struct):
        key: str = field(STRING, "0+")
        value: str | None = field(STRING, "1+", nullable="1+", default=None)

    class Pairs(Message, kind="data", versions="0-2", flexible="2+"):
        pairs: list[Pair] = field(array(Pair), "0+")

Versions are written as in Kafka's own JSON: "0+", "2-5", "3". The classes are plain `__slots__` classes: neither
their constructors nor their readers and writers exist before they are used (`odradek.wire.compiler` makes them), so
that declaring hundreds of them costs little.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, Generic, Protocol, Self, TypeAlias, TypeVar, cast, dataclass_transform, overload

from odradek.wire.budget import DEFAULT_DECODE_OBJECTS, Budget
from odradek.wire.errors import ProtocolError
from odradek.wire.primitives import Buffer, flat
from odradek.wire.uuids import ZERO_UUID, Uuid

JOINED_AT_ONCE = 4096
"""Pieces of a few bytes, of which `encode_in_steps` makes a larger one from time to time."""


class RecordsSource(Protocol):
    """Records that are somewhere else, such as a range of a file; only their size is needed to frame them."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...


Records: TypeAlias = bytes | bytearray | memoryview | RecordsSource
Chunk: TypeAlias = bytes | bytearray | memoryview | RecordsSource

T = TypeVar("T")


class FieldType(Generic[T]):
    """What a field holds: `kind` is Kafka's name of the type ("int32", "array", "struct")."""

    __slots__ = ("element", "format", "kind", "size", "struct", "zero")

    def __init__(
        self,
        kind: str,
        zero: object,
        *,
        format: str = "",  # noqa: A002 - the struct module's word
        element: FieldType[object] | None = None,
        struct_class: type[Struct] | None = None,
    ) -> None:
        self.kind: Final = kind
        self.zero: Final = zero
        self.format: Final = format
        self.size: Final = struct.calcsize(">" + format)
        self.element: Final = element
        self.struct: Final = struct_class

    def __repr__(self) -> str:
        if self.element is not None:
            return f"[]{self.element!r}"
        return self.struct.__name__ if self.struct is not None else self.kind


BOOL: Final = FieldType[bool]("bool", False, format="?")
INT8: Final = FieldType[int]("int8", 0, format="b")
INT16: Final = FieldType[int]("int16", 0, format="h")
INT32: Final = FieldType[int]("int32", 0, format="i")
INT64: Final = FieldType[int]("int64", 0, format="q")
UINT16: Final = FieldType[int]("uint16", 0, format="H")
UINT32: Final = FieldType[int]("uint32", 0, format="I")
FLOAT64: Final = FieldType[float]("float64", 0.0, format="d")
UUID: Final = FieldType[Uuid]("uuid", ZERO_UUID, format="16s")
STRING: Final = FieldType[str]("string", "")
BYTES: Final = FieldType[bytes]("bytes", b"")
RECORDS: Final = FieldType[Records]("records", b"")


class _KafkaDefault:
    """The type's own default: 0, "", an empty list, a struct of defaults."""

    def __repr__(self) -> str:
        return "Kafka's default"


KAFKA_DEFAULT: Final = _KafkaDefault()


class Field:
    """One declared field. `None` for `nullable`, `tagged` or `flexible` means that the declaration says nothing."""

    __slots__ = (
        "default",
        "flexible",
        "ignorable",
        "kafka_name",
        "map_key",
        "name",
        "nullable",
        "tag",
        "tagged",
        "type",
        "versions",
    )

    def __init__(
        self,
        kind: FieldType[object],
        versions: str,
        *,
        nullable: str | None,
        default: object,
        tag: int | None,
        tagged: str | None,
        ignorable: bool,
        map_key: bool,
        flexible: str | None,
        kafka_name: str | None,
    ) -> None:
        self.type = kind
        self.versions = versions
        self.nullable = nullable
        if default is KAFKA_DEFAULT and kind.zero is not None:
            default = None if nullable and kind.kind == "records" else kind.zero
        self.default = default
        self.tag = tag
        self.tagged = tagged
        self.ignorable = ignorable
        self.map_key = map_key
        self.flexible = flexible
        self.kafka_name = kafka_name or ""
        self.name = ""

    def bind(self, name: str) -> None:
        """Take the attribute's name; Kafka's is the same words joined (`topic_id`, `TopicId`) unless given."""
        self.name = name
        if not self.kafka_name:
            self.kafka_name = "".join([word.capitalize() for word in name.split("_")])

    def new_default(self) -> object:
        """The value where none is given: an array or a struct is a new one each time."""
        if self.default is not KAFKA_DEFAULT:
            return self.default
        return [] if self.type.struct is None else self.type.struct()


@overload
def field(
    kind: FieldType[T],
    versions: str,
    *,
    nullable: None = None,
    default: T | _KafkaDefault = KAFKA_DEFAULT,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    map_key: bool = False,
    flexible: str | None = None,
    kafka_name: str | None = None,
) -> T: ...


@overload
def field(
    kind: FieldType[T],
    versions: str,
    *,
    nullable: str,
    default: T | _KafkaDefault | None = KAFKA_DEFAULT,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    map_key: bool = False,
    flexible: str | None = None,
    kafka_name: str | None = None,
) -> T | None: ...


def field(
    kind: FieldType[T],
    versions: str,
    *,
    nullable: str | None = None,
    default: object = KAFKA_DEFAULT,
    tag: int | None = None,
    tagged: str | None = None,
    ignorable: bool = False,
    map_key: bool = False,
    flexible: str | None = None,
    kafka_name: str | None = None,
) -> T | None:
    """Declare a field.

    `versions`, `nullable`, `flexible` are ranges of message versions; `tag` makes it a tagged field in the versions
    `tagged` (all of `versions` if not given); an `ignorable` value is dropped in silence where the version has no
    place for it; `map_key` marks what Kafka keys the enclosing array by.
    """
    declared = Field(
        cast("FieldType[object]", kind),
        versions,
        nullable=nullable,
        default=default,
        tag=tag,
        tagged=tagged,
        ignorable=ignorable,
        map_key=map_key,
        flexible=flexible,
        kafka_name=kafka_name,
    )
    return cast("T", declared)


S = TypeVar("S", bound="Struct")


def nested(struct_class: type[S]) -> FieldType[S]:
    """The type of a field that is a struct of its own."""
    return FieldType("struct", None, struct_class=struct_class)


@overload
def array(element: type[S]) -> FieldType[list[S]]: ...


@overload
def array(element: FieldType[T]) -> FieldType[list[T]]: ...


def array(element: type[S] | FieldType[T]) -> FieldType[list[S]] | FieldType[list[T]]:
    """The type of a list of structs or of primitive values."""
    if isinstance(element, FieldType):
        return FieldType("array", None, element=cast("FieldType[object]", element))
    return FieldType("array", None, element=cast("FieldType[object]", nested(element)))


def version_range(text: str | None, highest: int) -> range:
    """The versions up to `highest` that `text` ("2+", "1-4", "3", "none") stands for."""
    if text is None or text == "none":
        return range(0)
    if text.endswith("+"):
        return range(int(text[:-1]), highest + 1)
    first, _, last = text.partition("-")
    return range(int(first), min(int(last or first), highest) + 1)


Reader: TypeAlias = Callable[[bytes | memoryview, int, int, int], "tuple[Struct, int, int]"]
Writer: TypeAlias = Callable[["Struct", list[Chunk], list[int]], None]
StepWriter: TypeAlias = Callable[["Struct", list[Chunk], list[int]], Iterator[None]]


UNCOMPILED_CONSTRUCTIONS = 8
"""So many values of a class are made without a compiled constructor, which takes as long as thirty values: most classes
have no more, above all until a node is ready."""


@dataclass_transform(kw_only_default=True)
class StructMeta(type):
    """Turns the declared fields into slots; keeps them, in order, in `FIELDS`."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, object],
        *,
        kind: str = "",
        versions: str = "",
        flexible: str = "none",
        api_key: int | None = None,
        listeners: tuple[str, ...] = (),
        latest_unstable: bool = False,
    ) -> StructMeta:
        fields: list[Field] = []
        for attribute, value in namespace.items():
            if isinstance(value, Field):
                value.bind(attribute)
                fields.append(value)
        for declared in fields:
            del namespace[declared.name]
        if bases:  # of `Struct` itself the slot is written out, and the value here is only what type checkers see
            namespace["__slots__"] = tuple([declared.name for declared in fields])
        else:
            del namespace["unknown_tags"]
        cls = super().__new__(mcs, name, bases, namespace)
        struct_class = cast("type[Struct]", cls)
        struct_class.FIELDS = tuple(fields)
        struct_class._readers = {}
        struct_class._writers = {}
        struct_class._step_writers = {}
        if versions:
            first, _, last = versions.partition("-")
            message_class = cast("type[Message]", cls)
            message_class.NAME = name
            message_class.API_KEY = api_key
            message_class.KIND = kind
            message_class.LISTENERS = listeners
            message_class.LATEST_UNSTABLE = latest_unstable
            _set_versions(struct_class, int(first), int(last or first), flexible)
        return cls


def _set_versions(cls: type[Struct], first: int, last: int, flexible: str) -> None:
    """A struct has the versions of the message that it is part of."""
    cls.MIN_VERSION = first
    cls.MAX_VERSION = last
    cls.FLEXIBLE = version_range(flexible, last)
    for declared in cls.FIELDS:
        inner = declared.type.element or declared.type
        if inner.struct is not None:
            _set_versions(inner.struct, first, last, flexible)


class Struct(metaclass=StructMeta):
    """Part of a message, with its typed fields, and the tagged fields, by tag, that the schema does not know."""

    __slots__ = ("unknown_tags",)

    FIELDS: ClassVar[tuple[Field, ...]]
    MIN_VERSION: ClassVar[int]
    MAX_VERSION: ClassVar[int]
    FLEXIBLE: ClassVar[range]
    _readers: ClassVar[dict[int, Reader]]
    _writers: ClassVar[dict[int, Writer]]
    _step_writers: ClassVar[dict[int, StepWriter]]
    _constructed: ClassVar[int] = 0

    unknown_tags: tuple[tuple[int, bytes], ...] = ()

    def __init__(self, *, unknown_tags: tuple[tuple[int, bytes], ...] = (), **values: object) -> None:
        cls = type(self)
        cls._constructed += 1
        if cls._constructed > UNCOMPILED_CONSTRUCTIONS:
            from odradek.wire.compiler.constructor import compile_init

            cls.__init__ = compile_init(cls)  # type: ignore[method-assign]
            cls.__init__(self, unknown_tags=unknown_tags, **values)
            return
        for declared in cls.FIELDS:
            name = declared.name
            setattr(self, name, values.pop(name) if name in values else declared.new_default())
        if values:
            raise TypeError(f"{cls.__name__}.__init__() got an unexpected keyword argument '{next(iter(values))}'")
        self.unknown_tags = unknown_tags

    @classmethod
    def decode(cls, data: Buffer, version: int, *, budget: Budget | None = None) -> Self:
        """The value that `data` holds in `version`, all of it.

        Records fields are views of `data`. Raises `ProtocolError` if the bytes are malformed, too many or too few, if
        the version does not exist, or if more objects would be created than `budget` has left.
        """
        value, position = cls.decode_prefix(data, version, 0, budget)
        if position != len(data):
            raise ProtocolError(f"{cls.__name__} version {version}: {len(data) - position} bytes too many")
        return value

    @classmethod
    def decode_prefix(
        cls, data: Buffer, version: int, offset: int = 0, budget: Budget | None = None
    ) -> tuple[Self, int]:
        """Like `decode`, from `offset` on, for data that goes on after it; also returns the offset of the rest."""
        buffer = data if type(data) is bytes else flat(data)
        reader = cls._readers.get(version) or _compiled_reader(cls, version)
        left = DEFAULT_DECODE_OBJECTS if budget is None else budget.objects
        try:
            value, position, left = reader(buffer, offset, len(buffer), left)
        except (struct.error, IndexError):
            raise ProtocolError(f"{cls.__name__} version {version}: ends early, after {len(buffer)} bytes") from None
        if budget is not None:
            budget.objects = left
        return value, position  # type: ignore[return-value] # compiled for this class; a cast would cost a call

    def encode(self, version: int) -> bytes:
        """The bytes of this value in `version`.

        Raises `ProtocolError` if the version does not exist, or cannot carry a field that is set (and not ignorable),
        or if a value does not fit its type. Records that are a `RecordsSource` need `encode_chunks`.
        """
        out, marks = self._write(version)
        for mark in marks:
            if not isinstance(out[mark], (bytes, bytearray, memoryview)):
                raise TypeError(f"{type(self).__name__} holds records that are not in memory: use encode_chunks")
        return b"".join(out)  # type: ignore[arg-type] # bytes, as just seen

    def encode_chunks(self, version: int, prefix: bytes = b"") -> list[Chunk]:
        """Like `encode`, in pieces: records are handed on as they are, in place, between the bytes around them.

        `prefix` goes before all of it, into the first piece.
        """
        out, marks = self._write(version, prefix)
        return _joined(out, marks) if marks else [b"".join(out)]  # type: ignore[arg-type] # all are bytes

    def encode_in_steps(self, version: int, prefix: bytes, chunks: list[Chunk]) -> Iterator[None]:
        """`encode_chunks` for very large values: `chunks` has the pieces once the iterator has ended.

        Each step writes one struct of an array, so that a caller can do something else in between.
        """
        cls = type(self)
        writer = cls._step_writers.get(version) or _compiled_step_writer(cls, version)
        out: list[Chunk] = [prefix]
        marks: list[int] = []
        try:
            for _ in writer(self, out, marks):
                if len(out) > JOINED_AT_ONCE:
                    chunks += _joined(out, marks)
                    out.clear()
                    marks.clear()
                yield
        except (struct.error, UnicodeEncodeError) as error:
            raise _misfit(cls, version, error) from error
        chunks += _joined(out, marks)

    def _write(self, version: int, prefix: bytes = b"") -> tuple[list[Chunk], list[int]]:
        cls = type(self)
        writer = cls._writers.get(version) or _compiled_writer(cls, version)
        out: list[Chunk] = [prefix]
        marks: list[int] = []
        try:
            writer(self, out, marks)
        except (struct.error, UnicodeEncodeError) as error:
            raise _misfit(cls, version, error) from error
        return out, marks

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        for declared in self.FIELDS:
            if getattr(self, declared.name) != getattr(other, declared.name):
                return False
        return self.unknown_tags == other.unknown_tags

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [f"{declared.name}={_shown(getattr(self, declared.name))}" for declared in self.FIELDS]
        if self.unknown_tags:
            parts.append(f"unknown_tags={self.unknown_tags!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


class Message(Struct):
    """A struct that stands on its own: a request, a response, a header, a record or its key, or other data."""

    __slots__ = ()

    NAME: ClassVar[str]
    API_KEY: ClassVar[int | None]
    KIND: ClassVar[str]
    LISTENERS: ClassVar[tuple[str, ...]]
    LATEST_UNSTABLE: ClassVar[bool]


def _shown(value: object) -> str:
    return f"<{value.nbytes} bytes>" if isinstance(value, memoryview) else repr(value)


def _compiled_reader(cls: type[Struct], version: int) -> Reader:
    from odradek.wire.compiler.reader import compile_reader

    check_version(cls, version)
    reader = cls._readers[version] = compile_reader(cls, version)
    return reader


def _joined(out: list[Chunk], marks: list[int]) -> list[Chunk]:
    """The pieces, with all that is not marked joined with its neighbours."""
    chunks: list[Chunk] = []
    start = 0
    for mark in marks:
        chunks.append(b"".join(out[start:mark]))  # type: ignore[arg-type] # all but what is marked are bytes
        chunks.append(out[mark])
        start = mark + 1
    if start < len(out):
        chunks.append(b"".join(out[start:]))  # type: ignore[arg-type] # see above
    return chunks


def _misfit(cls: type[Struct], version: int, error: Exception) -> ProtocolError:
    return ProtocolError(f"{cls.__name__} version {version}: a value does not fit its type: {error}")


def _compiled_step_writer(cls: type[Struct], version: int) -> StepWriter:
    from odradek.wire.compiler.writer import compile_step_writer

    check_version(cls, version)
    writer = cls._step_writers[version] = compile_step_writer(cls, version)
    return writer


def _compiled_writer(cls: type[Struct], version: int) -> Writer:
    from odradek.wire.compiler.writer import compile_writer

    check_version(cls, version)
    writer = cls._writers[version] = compile_writer(cls, version)
    return writer


def check_version(cls: type[Struct], version: int) -> None:
    """Raise `ProtocolError` unless the message that `cls` is or belongs to has `version`."""
    if not cls.MIN_VERSION <= version <= cls.MAX_VERSION:
        raise ProtocolError(f"{cls.__name__} has no version {version}, only {cls.MIN_VERSION} to {cls.MAX_VERSION}")
