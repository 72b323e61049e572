"""A Kafka that lives as long as a `with` block."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from odradek.testing import group_inspection, inspection
from odradek.testing.clock import Clock
from odradek.testing.cluster import Cluster
from odradek.testing.groups import EmbeddedGroup
from odradek.testing.host import Host, ThreadHost
from odradek.testing.options import Options, PropertyValue, Topics
from odradek.testing.releases import MaxVersions
from odradek.testing.requests import Requests
from odradek.testing.topics import EmbeddedTopic
from odradek.testing.transactions import EmbeddedTransaction
from odradek.testing.waiting import TIMEOUT_S, Wait, block, give_way, now, until
from odradek.wire.schema import Message

if TYPE_CHECKING:
    from odradek.testing.faults.handles import Faults

T = TypeVar("T")

LOG_LINES = 1_000
"""How much of the nodes' log is kept."""
_NOT_STARTED = "EmbeddedKafka is not started: use it as a context manager, or call start()"


class EmbeddedKafka:
    """One Kafka node, or a cluster of several, for as long as a `with` or `async with` block.

    Any number of them can run at once. Each takes free ports of the loopback interface, and runs in a thread of its
    own: it changes nothing of this program's event loop, signals and logging. One that is not stopped ends with the
    program, as if it had crashed.
    """

    def __init__(
        self,
        nodes: int = 1,
        topics: Topics = (),
        config: Mapping[str, PropertyValue] | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        process: bool = False,
        kafka_defaults: bool = False,
        port: int = 0,
        cluster_id: str | None = None,
        seed: int = 0,
        max_versions: MaxVersions | None = None,
    ) -> None:
        """Nothing runs before `start`.

        `nodes` are brokers and controllers at the same time. `topics` are created, unless they exist. `config` has
        properties of all nodes, by Kafka's names. Data is kept in memory, or in `data_dir`, where another one goes on
        with it later. With `process` the nodes run in a process of their own. With `kafka_defaults` they have Kafka's
        defaults throughout, and not those of `TEST_DEFAULTS`. A node alone may be given its `port`; `cluster_id` is
        random unless it is given. `seed` is for what `faults` leave to chance: with the same one, the same requests
        fail. `max_versions` has clients find an older Kafka: a release ("2.8" to "3.9"), or the latest versions of some
        APIs ({"Fetch": 11}).

        Raises ValueError and ConfigError for what cannot be.
        """
        self._options = Options.of(
            nodes, topics, config, data_dir, kafka_defaults, port, cluster_id, seed, max_versions
        )
        self._process = process
        self._host: Host | None = None
        self._bootstrap_servers = ""
        self._log: deque[str] = deque(maxlen=LOG_LINES)

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT of every node, separated by commas; RuntimeError while nothing runs."""
        if not self._bootstrap_servers:
            raise RuntimeError(_NOT_STARTED)
        return self._bootstrap_servers

    @property
    def is_running(self) -> bool:
        """Whether it is started and not stopped."""
        return bool(self._bootstrap_servers)

    @property
    def log(self) -> list[str]:
        """What the nodes have logged, the newest last, since they were started or reset; at most `LOG_LINES` lines."""
        return list(self._log)

    def topics(self) -> dict[str, int]:
        """The topics and their numbers of partitions, but for internal ones."""
        return self._running().call(inspection.topics).result()

    def topic(self, name: str) -> EmbeddedTopic:
        """A topic: its records, partitions and properties, and waiting for records."""
        return EmbeddedTopic(self._running, name)

    def groups(self) -> dict[str, str]:
        """The groups and their states."""
        return self._running().call(group_inspection.groups).result()

    def group(self, group_id: str) -> EmbeddedGroup:
        """A group, classic or consumer: its state, members, offsets and lag, and waiting for them."""
        return EmbeddedGroup(self._running, group_id)

    def transactions(self) -> dict[str, str]:
        """The transactional ids and their states."""
        found = self._running().call(inspection.transactions).result()
        return {each.transactional_id: each.state for each in found}

    def transaction(self, transactional_id: str) -> EmbeddedTransaction:
        """A transactional id: its state, producer and partitions, and waiting for a state."""
        return EmbeddedTransaction(self._running, transactional_id)

    def wait_until(self, condition: Callable[[], T], *, timeout_s: float = TIMEOUT_S) -> T:
        """Wait until `condition` returns something true, and return that.

        It is asked whenever a node has answered a request, and many times a second besides. Raises WaitTimeoutError,
        which says what there is in the nodes, and what `condition` raises, unless that is the KafkaError of something
        that is not there yet, such as a topic.
        """
        return now(self._wait_until(block, condition, timeout_s))

    async def wait_until_async(self, condition: Callable[[], T], *, timeout_s: float = TIMEOUT_S) -> T:
        """As `wait_until`, while the caller's event loop goes on."""
        return await self._wait_until(give_way, condition, timeout_s)

    async def _wait_until(self, wait: Wait, condition: Callable[[], T], timeout_s: float) -> T:
        async def look() -> T:
            return condition()

        def told(found: T) -> str:
            return f"{getattr(condition, '__qualname__', condition)} returns {found!r}; there are {self._contents()}"

        return await until(self._running(), wait, look, bool, timeout_s=timeout_s, told=told)

    def _contents(self) -> str:
        return f"topics {self.topics()}, groups {self.groups()}, transactions {self.transactions()}"

    @property
    def requests(self) -> Requests[Message]:
        """What clients have sent since the nodes were started or reset: the last ones, by number and size.

        Requests among the nodes are not among them.
        """
        return Requests(self._running)

    @property
    def clock(self) -> Clock:
        """The time of the nodes, which can be moved."""
        return Clock(self._running)

    @property
    def faults(self) -> Faults:
        """What can be made to go wrong; each is there until it is lifted, the node is reset, or all is stopped."""
        from odradek.testing.faults.handles import Faults

        return Faults(self._running)

    def start(self) -> Self:
        """Start, and return once clients can connect.

        Raises ConfigError for properties that cannot be, StartError where a node cannot start, KafkaError for a topic
        that cannot be created, RuntimeError if this one runs already. Then nothing is left running.
        """
        host = self._begin()
        try:
            self._bootstrap_servers = host.ready.result()
        except BaseException:
            self._give_up(host)
            raise
        return self

    def stop(self) -> None:
        """Stop, and return once nothing is left: no thread, no socket, no open file. If nothing runs: do nothing.

        Raises StartError if a node could not go on meanwhile.
        """
        host = self._end()
        if host is not None:
            try:
                host.stopped.result()
            finally:
                host.join()

    def reset(self, *, keep_addresses: bool = True) -> None:
        """Empty all nodes, in a few milliseconds: only the topics and properties of the beginning are there again.

        Clients that are connected are cut off. With `keep_addresses` they find the new nodes, and what they do next is
        done to those; without, the nodes have other addresses. The log begins anew, too.

        Raises RuntimeError if nothing runs, or with `data_dir`. If StartError is raised, no node runs any more.
        """
        self._log.clear()
        self._bootstrap_servers = self._running().call(Cluster.reset, keep_addresses=keep_addresses).result()

    def _running(self) -> Host:
        if self._host is None:
            raise RuntimeError(_NOT_STARTED)
        return self._host

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        """As `start`, while the caller's event loop goes on."""
        host = self._begin()
        try:
            self._bootstrap_servers = await asyncio.wrap_future(host.ready)
        except BaseException:
            self._give_up(host)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `stop`, while the caller's event loop goes on."""
        host = self._end()
        if host is not None:
            try:
                await asyncio.wrap_future(host.stopped)
            finally:
                host.join()

    def __del__(self) -> None:
        host: Host | None = getattr(self, "_host", None)
        if host is not None and not sys.is_finalizing():
            host.request_stop()
            warnings.warn(f"{self!r} was not stopped", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<EmbeddedKafka {self._bootstrap_servers or 'that is not running'}>"

    def _begin(self) -> Host:
        if self._host is not None:
            raise RuntimeError("EmbeddedKafka runs already")
        self._log.clear()
        host = self._new_host()
        host.start()
        self._host = host
        return host

    def _new_host(self) -> Host:
        if not self._process:
            return ThreadHost(self._options, self._log.append)
        from odradek.testing.process import ProcessHost

        return ProcessHost(self._options, self._log.append)

    def _give_up(self, host: Host) -> None:
        self._host = None
        host.request_stop()
        host.join()

    def _end(self) -> Host | None:
        host, self._host = self._host, None
        self._bootstrap_servers = ""
        if host is not None:
            host.request_stop()
        return host
