"""The error of data that is larger than it may be."""

from __future__ import annotations

from odradek.wire.errors import ProtocolError


class OutputLimitError(ProtocolError):
    """The data would decompress to more bytes than allowed."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"decompresses to more than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes
