"""The one place where the parts are put together: `serve` runs a node until it is told to stop."""

from odradek.node.data_dirs import StartError
from odradek.node.serve import serve

__all__ = ["StartError", "serve"]
