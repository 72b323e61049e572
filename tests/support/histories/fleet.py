"""Random clients as processes, one in each slot: what ends, fenced, gets a successor."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.apache import ROOT
from tests.support.histories.recorder import DIE
from tests.support.program import Program

STOP_S = 15.0


class Part(NamedTuple):
    """What a slot's clients do; see `python -m tests.support.histories`."""

    role: str
    group: str = "readers"
    protocol: str = "classic"
    temper: str = "wild"


class Workplace(NamedTuple):
    """Where the clients work, and where what they do is written."""

    bootstrap: str
    topic: str
    partitions: int
    history: Path
    seed: int


class Fleet:
    """All clients that write one history."""

    def __init__(self, workplace: Workplace, parts: Mapping[str, Part], directory: Path) -> None:
        self.workplace = workplace
        self.parts = dict(parts)
        self.lives = dict.fromkeys(parts, 0)
        """How many clients each slot has had."""
        self.slots: dict[str, Program] = {}
        self._directory = directory
        self._zombies: list[Program] = []

    @property
    def transactional_ids(self) -> dict[str, str]:
        """Of the slots that have one."""
        topic = self.workplace.topic
        return {slot: f"{topic}-{slot}" for slot, part in self.parts.items() if part.role == "transactor"}

    @property
    def groups(self) -> dict[str, str]:
        """Of the slots whose clients belong to one."""
        topic = self.workplace.topic
        return {
            slot: f"{topic}-{part.group}" for slot, part in self.parts.items() if part.role in ("transactor", "member")
        }

    def start_all(self) -> None:
        for slot in self.parts:
            self.start(slot)

    def start(self, slot: str) -> None:
        """The next client of the slot."""
        self.lives[slot] += 1
        part, work = self.parts[slot], self.workplace
        name = f"{slot}.{self.lives[slot]}"
        command = [sys.executable, "-m", "tests.support.histories", part.role, name, str(work.seed), work.bootstrap]
        command += [str(work.history), work.topic, str(work.partitions), f"{work.topic}-{slot}"]
        command += [f"{work.topic}-{part.group}", part.protocol, part.temper]
        self.slots[slot] = Program(command, self._directory, name=name, env={"PYTHONPATH": str(ROOT)})
        self.slots[slot].start()

    def let_pass(self, duration_s: float) -> None:
        """Some time. Raises ProgramFailed for a client that ended with an error."""
        deadline = time.monotonic() + duration_s
        while time.monotonic() < deadline:
            time.sleep(0.1)
            self.revive()

    def revive(self) -> None:
        """Start a successor of each client that has ended. Raises ProgramFailed as above."""
        for slot, program in list(self.slots.items()):
            program.check()
            if not program.running:
                self.start(slot)

    def kill(self, slot: str) -> None:
        """Kill the client; the next one comes at once."""
        if self.slots[slot].running:
            self.slots[slot].end_with(DIE)
        self.start(slot)

    def pause(self, slot: str, duration_s: float) -> None:
        program = self.slots[slot]
        if program.running:
            program.pause()
            self.let_pass(duration_s)
            program.resume()

    def haunt(self, slot: str, duration_s: float) -> None:
        """Pause a client until its successor has come up, and others have gone on without it."""
        zombie = self.slots[slot]
        if zombie.running:
            zombie.pause()
            self._zombies.append(zombie)
            self.start(slot)
            self.let_pass(duration_s)
            zombie.resume()

    def stop(self) -> None:
        """Ask all to end, and wait until they have. Raises AssertionError for one that does not end well."""
        running = [program for program in (*self._zombies, *self.slots.values()) if program.running]
        for program in running:
            # librdkafka may take for ever to give its handles back after coordinators have moved.
            assert program.stop(STOP_S) in (0, -signal.SIGABRT), program.output

    def close(self) -> None:
        """End whatever runs."""
        for program in (*self._zombies, *self.slots.values()):
            program.close()
