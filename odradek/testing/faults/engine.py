"""The faults of one `Cluster`: makes the real thing of a description, and lifts it. Belongs to the loop's thread."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

from odradek.testing.faults.begun import End, Scene, nothing
from odradek.testing.faults.matching import api_key
from odradek.testing.faults.requests import ActiveRequestFault, RequestFaults
from odradek.testing.faults.specs import Fail, FaultSpec, RequestFault
from odradek.testing.faults.view import ClusterNode
from odradek.testing.interception import Interception, Interceptor
from odradek.wire.errors import ErrorCode

if TYPE_CHECKING:
    from odradek.testing.cluster import Cluster


class FaultEngine:
    """Faults by id. Ids are given in order: "1", "2", ..."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        """`seed` is for what faults leave to chance."""
        self._cluster = cluster
        self._seed = seed
        self._count = self._before = 0
        self._specs: dict[str, FaultSpec] = {}
        self._hits: dict[str, int] = {}
        """Also of those that are lifted."""
        self._ends: dict[str, End] = {}
        self._hit = asyncio.Event()
        self._requests = RequestFaults(asyncio.get_running_loop())
        self._interceptors: dict[int, Interceptor] = {}
        for node_id, interception in cluster.interceptions.items():
            self.add_node(node_id, interception)

    @property
    def active(self) -> dict[str, FaultSpec]:
        """Those that are not lifted, by id, oldest first."""
        return dict(self._specs)

    def add_node(self, node_id: int, interception: Interception) -> None:
        """A node is about to be started, or started again."""
        interceptor = self._requests.interceptor(ClusterNode(self._cluster, node_id))
        self._interceptors[node_id] = interceptor
        if not self._requests.is_idle:
            interception.add(interceptor)

    async def apply(self, spec: FaultSpec) -> str:
        """Have it act, and return its id; raises ValueError for what makes no sense."""
        self._count += 1
        fault_id = str(self._count)
        self._hits[fault_id] = 0
        if isinstance(spec, RequestFault):
            self._add_request_fault(fault_id, spec)
        else:
            self._ends[fault_id] = await self._begin(fault_id, spec)
        self._specs[fault_id] = spec
        return fault_id

    async def lift(self, fault_id: str) -> None:
        """End it, and undo what can be undone; one that is lifted already is fine."""
        spec = self._specs.pop(fault_id, None)
        if isinstance(spec, RequestFault):
            self._lift_request_fault(fault_id)
        elif spec is not None:
            await self._ends.pop(fault_id, nothing)()

    async def lift_all(self) -> None:
        """`lift` for all, the newest first."""
        for fault_id in reversed(list(self._specs)):
            await self.lift(fault_id)

    def close(self) -> None:
        """End all of them, for the nodes are to stop: what is held up is dropped. Chance begins anew."""
        self._requests.cut_off()
        self._remove_interceptors()
        self._specs.clear()
        self._ends.clear()
        self._before = self._count

    def hits(self, fault_id: str) -> int:
        """How often a fault has acted; LookupError for one that never was."""
        return self._hits[fault_id]

    async def wait(self, fault_id: str, hits: int, timeout_s: float) -> None:
        """Wait until it has acted so often; raises TimeoutError."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._hits[fault_id] < hits:
                    await self._hit.wait()
        except TimeoutError:
            raise TimeoutError(f"the fault was hit {self._hits[fault_id]} times in {timeout_s} s") from None

    async def _begin(self, fault_id: str, spec: FaultSpec) -> End:
        """Begin what is no fault of requests."""
        from odradek.testing.faults.kinds import begin_of

        loop = asyncio.get_running_loop()

        def hit() -> None:
            loop.call_soon_threadsafe(self._count_hit, fault_id)

        return await begin_of(spec)(Scene(self._cluster, fault_id, hit), spec)

    def _add_request_fault(self, fault_id: str, spec: RequestFault) -> None:
        random = Random(f"{self._seed}-{self._count - self._before}")
        fault = ActiveRequestFault(fault_id, spec, random, lambda: self._count_hit(fault_id))
        if spec.node is not None and spec.node not in self._interceptors:
            raise ValueError(f"there is no node {spec.node}")
        if isinstance(spec, Fail):
            self._check_error(spec)
        if self._requests.is_idle:
            for node_id, interceptor in self._interceptors.items():
                self._cluster.interceptions[node_id].add(interceptor)
        self._requests.add(fault)

    def _lift_request_fault(self, fault_id: str) -> None:
        self._requests.lift(fault_id)
        if self._requests.is_idle:
            self._remove_interceptors()

    def _remove_interceptors(self) -> None:
        for node_id, interceptor in self._interceptors.items():
            self._cluster.interceptions[node_id].remove(interceptor)

    def _check_error(self, spec: Fail) -> None:
        if spec.error not in ErrorCode.__members__ or spec.error == ErrorCode.NONE.name:
            raise ValueError(f"{spec.error!r} is none of Kafka's errors")
        key = api_key(spec.api)
        if key is None:
            return  # every API has a place for errors
        if self._cluster.nodes and not any(self._node(each).handler(key) for each in self._cluster.nodes):
            raise ValueError(f"{spec.api} is not served here")

    def _node(self, node_id: int) -> ClusterNode:
        return ClusterNode(self._cluster, node_id)

    def _count_hit(self, fault_id: str) -> None:
        self._hits[fault_id] = self._hits.get(fault_id, 0) + 1
        self._hit.set()
        self._hit = asyncio.Event()
