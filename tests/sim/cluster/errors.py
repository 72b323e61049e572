"""Whose mistake an exception is."""

from __future__ import annotations


def is_mistake_of_code(error: BaseException) -> bool:
    """Whether the code under test is to blame: it raised it, or did not expect what a port raised as it may.

    What is raised in a simulation's own parts, and in a mutant, says that these are broken, which proves nothing.
    """
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(str(trace.tb_frame.f_globals.get("__name__")))
        trace = trace.tb_next
    if not frames:
        return False
    if frames[-1].startswith("odradek."):
        return True
    is_from_port = isinstance(error, OSError) and any(name.startswith("odradek.") for name in frames)
    return is_from_port and not frames[-1].startswith("tests.sim.cluster.mutants")
