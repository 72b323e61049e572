"""The ports that a node hands to its parts."""

from __future__ import annotations

from typing import NamedTuple

from odradek.ports import Clock, Executor, FileSystem, Random, Scheduler


class Ports(NamedTuple):
    """The real ones come from `odradek.net`; simulations bring their own."""

    clock: Clock
    scheduler: Scheduler
    executor: Executor
    random: Random
    files: FileSystem
