"""CRC-32C, the checksum of record batches from magic 2 on."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Protocol, TypeAlias, cast

Buffer: TypeAlias = bytes | bytearray | memoryview


class Crc(Protocol):
    """The CRC-32C of `data`, continuing from `value`; an unsigned 32-bit number."""

    def __call__(self, data: Buffer, value: int = 0, /) -> int: ...


def _portable() -> Crc:
    """The implementation for platforms without the crc32c package: the same values, many times slower."""
    from crcmod.predefined import mkPredefinedCrcFun  # type: ignore[import-untyped]  # ships no types

    function: Callable[[bytes, int], int] = mkPredefinedCrcFun("crc-32c")

    def crc32c(data: Buffer, value: int = 0, /) -> int:
        # crcmod takes no memoryview
        return function(bytes(data), value)

    return crc32c


def _extension() -> Crc | None:
    """The crc32c package's compiled function; None if it is not where we look.

    Importing the package itself reads its own metadata, which takes longer than all of our start-up should.
    """
    package = PathFinder.find_spec("crc32c")
    if package is None:
        return None
    spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Crc | None", getattr(module, "crc32c", None))


def _implementation() -> Crc:
    extension = _extension()
    if extension is not None:
        return extension
    try:
        from crc32c import crc32c as packaged
    except ImportError:
        return _portable()
    return packaged


crc32c = _implementation()
"""See `Crc`."""
