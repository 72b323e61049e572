"""What a state machine may need from the world, as protocols; the real ones live in `odradek.net`."""

from odradek.ports.clock import Clock, Recurring, Scheduler, TimerHandle, Timing
from odradek.ports.executor import Executor
from odradek.ports.files import File, FileSystem, MappedFile
from odradek.ports.promise import Promise, flatten, gather, spawn
from odradek.ports.random import Random
from odradek.ports.turns import Slices, Turns

__all__ = [
    "Clock",
    "Recurring",
    "Scheduler",
    "TimerHandle",
    "Timing",
    "Executor",
    "File",
    "FileSystem",
    "MappedFile",
    "Promise",
    "flatten",
    "gather",
    "spawn",
    "Random",
    "Slices",
    "Turns",
]
