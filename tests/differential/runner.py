"""Runs one sequence of requests on both nodes, up to the first difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from odradek.wire.apis import stable_versions
from odradek.wire.errors import ProtocolError
from odradek.wire.messages.api_versions import ApiVersionsRequest
from odradek.wire.messages.produce import ProduceRequest
from odradek.wire.schema import Message
from tests.differential.compare import Difference, differences
from tests.differential.ids import Ids
from tests.differential.known import is_known
from tests.differential.mutate import mutate
from tests.differential.nodes import Answer, Channel, Nodes
from tests.differential.operations import OPERATIONS
from tests.differential.operations.topics import first_topics, last_topics
from tests.differential.translate import translated
from tests.differential.world import Step, new_world

PARKED_AFTER_S = 0.05
MUTATED = 0.06
SHOWN = 8


@dataclass
class Finding:
    """A request whose answers part."""

    step: int
    request: Message
    version: int
    changed: str
    ours: Answer
    theirs: Answer
    differences: list[Difference]

    def __str__(self) -> str:
        name = f"{type(self.request).__name__} version {self.version}"
        lines = [f"step {self.step}, {name}: {self.request!r}"]
        lines += [f"made invalid: {self.changed}"] if self.changed else []
        lines += [f"  {difference}" for difference in self.differences[:SHOWN]]
        return "\n".join([*lines, f"Odradek:      {self.ours!r}", f"Apache Kafka: {self.theirs!r}"])


class _PartedOnPurpose(Exception):
    """A known difference: what the brokers hold may not be the same any more."""


@dataclass
class _Parked:
    step: Step
    number: int
    version: int
    changed: str


@dataclass
class Run:
    """One sequence: its world, what is known of ids, and its connections."""

    nodes: Nodes
    seed: str
    only: Sequence[str] = ()
    trace: Callable[[str], None] | None = None
    """Is told every request and Odradek's answer."""

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._world = new_world(f"{self.nodes.names}{self.seed}")
        self.ids = Ids(f"{self._world.prefix}-")
        self._channels: dict[str, Channel] = {}
        self._parked: dict[str, _Parked] = {}

    def run(self, steps: int) -> Finding | None:
        """Make up to ``steps`` requests; the first difference, or None."""
        try:
            return self._run(steps)
        except _PartedOnPurpose:
            return None
        finally:
            for channel in self._channels.values():
                channel.close()

    def _run(self, steps: int) -> Finding | None:
        random, world = self._random, self._world
        names = [name for name in OPERATIONS if not self.only or name in self.only]
        weights = [OPERATIONS[name].weight * random.choice((0, 1, 1, 3)) + 0.01 for name in names]
        queue = first_topics(random, world)
        for number in range(steps):
            step = queue.pop(0) if queue else None
            is_first = step is not None
            while step is None:
                made = OPERATIONS[random.choices(names, weights)[0]].make(random, world)
                queue += made[1:]
                step = made[0] if made else None
            found = self._perform(step, number, may_mutate=not is_first) or self._look_at_parked()
            if found is not None:
                return found
        for step in last_topics(world):
            found = self._perform(step, steps, may_mutate=False)
            if found is not None:
                return found
        return None

    def _perform(self, step: Step, number: int, *, may_mutate: bool) -> Finding | None:
        if step.channel in self._parked:
            return None
        version, changed = self._version(step, may_mutate=may_mutate)
        channel = self._channels.setdefault(step.channel, Channel(self.nodes))
        channel.send(step.request, translated(step.request, self.ids), version)
        if isinstance(step.request, ProduceRequest) and step.request.acks == 0:
            # It is not answered: what comes behind it tells whether the connection is still there.
            step = Step(ApiVersionsRequest(), channel=step.channel)
            version = 0
            channel.send(step.request, step.request, version)
        parked = _Parked(step, number, version, changed)
        if step.may_wait:
            self._parked[step.channel] = parked
            channel.answered(PARKED_AFTER_S)
            return None
        return self._finish(parked, self._receive(parked))

    def _look_at_parked(self) -> Finding | None:
        """Compare what has been answered since; that of a group's leader last, for it tells of all members."""
        answers = []
        for name, parked in list(self._parked.items()):
            if self._channels[name].answered():
                del self._parked[name]
                answers.append((parked, self._receive(parked)))
        for parked, pair in sorted(answers, key=lambda each: len(getattr(each[1][0], "members", ()))):
            found = self._finish(parked, pair)
            if found is not None:
                return found
        return None

    def _receive(self, parked: _Parked) -> tuple[Answer, Answer]:
        step = parked.step
        assert step.request.API_KEY is not None
        return self._channels[step.channel].receive(step.request.API_KEY, parked.version)

    def _finish(self, parked: _Parked, answers: tuple[Answer, Answer]) -> Finding | None:
        step = parked.step
        ours, theirs = answers
        if self.trace is not None:
            self.trace(
                f"{parked.number} {step.channel} v{parked.version} {step.request!r} {parked.changed}\n     {ours!r}"
            )
        if isinstance(ours, Message) and isinstance(theirs, Message):
            found = list(differences(ours, theirs, parked.version, self.ids))
        else:
            found = [] if ours == theirs else [Difference("(the answer)", ours, theirs)]
        unknown = [one for one in found if not is_known(step.request, ours, theirs, one, self._world)]
        if found and not unknown:
            raise _PartedOnPurpose
        if unknown:
            return Finding(parked.number, step.request, parked.version, parked.changed, ours, theirs, unknown)
        if isinstance(ours, Message) and step.then is not None:
            step.then(ours)
        if step.changes_metadata:
            self.nodes.settle()
        if step.ends_transaction is not None:
            self.nodes.end_transactions([step.ends_transaction])
        return None

    def _version(self, step: Step, *, may_mutate: bool) -> tuple[int, str]:
        """A version that can carry the request, and what was made invalid in it."""
        assert step.request.API_KEY is not None
        possible = list(stable_versions(step.request.API_KEY))
        first = step.version if step.version is not None else self._random.choice([*possible, possible[-1]])
        changed = ""
        if may_mutate and self._random.random() < MUTATED:
            changed = mutate(step.request, first, self._random, self._world.prefix)
        for version in (first, *reversed(possible)):
            try:
                step.request.encode(version)
            except ProtocolError:
                continue
            return version, changed
        raise ProtocolError(f"no version can carry {step.request!r}")
