"""The quorum's own state."""

from __future__ import annotations
