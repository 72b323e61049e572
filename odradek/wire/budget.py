"""The bound on what decoding one message may create."""

from __future__ import annotations

DEFAULT_DECODE_OBJECTS = 1_000_000
"""Objects that one decode may create when the caller passes no budget."""


class Budget:
    """How many objects (array elements and tagged fields) may still be created.

    The length of every array is checked against the bytes that are left, too; the budget is what keeps a large frame
    of tiny elements from becoming many times its size in memory. One budget may span several decodes.
    """

    __slots__ = ("objects",)

    def __init__(self, objects: int = DEFAULT_DECODE_OBJECTS) -> None:
        self.objects = objects

    def __repr__(self) -> str:
        return f"Budget(objects={self.objects})"
