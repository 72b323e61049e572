"""The one place where the parts are put together: `serve` runs a node until it is told to stop."""

from odradek.node.serve import serve
from odradek.node.start_error import StartError

__all__ = ["StartError", "serve"]
