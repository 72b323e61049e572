"""The ports that a node hands to its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from odradek.ports import Clock, Executor, FileSystem, Random, Scheduler, Timing
from odradek.ports.jobs import JobProcess
from odradek.server.peers import Peers


class Ports(NamedTuple):
    """The real ones come from `odradek.net`; simulations bring their own."""

    clock: Clock
    scheduler: Scheduler
    executor: Executor
    random: Random
    files: FileSystem
    new_job_process: Callable[[], JobProcess] | None = None
    """None where long work is done on the state machines' thread, in slices."""
    new_peers: Callable[[str, str], Peers] | None = None
    """(name of the listeners to connect to, client id) -> connections to others; None for a node that has none."""
    between_nodes: Timing | None = None
    """By what nodes know that others live, copy from them and wait for them, and how long requests wait for records.

    None: by the same as everything else."""

    def for_cluster(self) -> Ports:
        """The ports of what has to do with other nodes."""
        if self.between_nodes is None:
            return self
        return self._replace(clock=self.between_nodes.clock, scheduler=self.between_nodes.scheduler)
