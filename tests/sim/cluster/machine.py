"""A machine: a disk that outlives processes, and the node that runs on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from odradek.config import BrokerConfig
from odradek.node.node import Endpoints, Node
from odradek.node.ports import Ports
from odradek.node.start_error import StartError
from odradek.ports import Promise, spawn
from odradek.ports.network import ConnectionInfo, FrameHandler, Reply
from tests.sim.cluster.channel import SimPeers
from tests.sim.cluster.kernel import Kernel
from tests.sim.cluster.network import Network
from tests.sim.cluster.process import Process
from tests.sim.cluster.versions import EARLIER, NONE, Limits, limited
from tests.sim.cluster.votes import VOTE_KEY, read_vote
from tests.sim.storage.crash_disk import CrashDisk

BROKER_PORT = 9092
CONTROLLER_PORT = 9093
DATA_DIR = "/data"
SECOND_DIR = "/second"
"""Where nodes with two log directories have half of their replicas, and nothing else."""
DIRS = (DATA_DIR, SECOND_DIR)
_UPGRADED = 0.4
"""How likely a node of an earlier version is upgraded when it starts again."""


class Machine:
    """Boots one node after the other."""

    def __init__(self, kernel: Kernel, network: Network, node_id: int, settings: Mapping[str, str]) -> None:
        self.node_id = node_id
        self.host = f"node{node_id}"
        self.disk = CrashDisk(kernel.random(f"disk/{node_id}").getrandbits(64))
        for directory in DIRS:
            self.disk.mkdir(directory)
        self.disk.sync_dir("")
        self.process: Process | None = None
        self.node: Node | None = None
        self.is_started = False
        """Clients may come."""
        self.boots = 0
        self.has_lost_data = False
        """Its power was cut, and not all that was lost has been copied from others again."""
        self.is_stopping = False
        """Its node stops by itself, and dies then."""
        self.has_bad_disk = False
        """The disk fails, or has failed this node."""
        self.loses_power = False
        """Whether the halt that the disk brings about takes the page cache along."""
        self.on_boot: Callable[[Machine], None] | None = None
        """Called with each new node, before it starts."""
        self.on_vote: Callable[[Machine, int, int, bool], None] | None = None
        """Called with a candidate and its epoch for each vote that it asks this machine for, and whether it gets it."""
        self.limits: Limits = NONE
        """Which versions its nodes know."""
        self.failures: list[str] = []
        """Why nodes gave up by themselves."""
        self._kernel = kernel
        self._network = network
        self._settings = settings
        self._chance = kernel.random(f"machine/{node_id}")
        network.is_on[self.host] = True

    def be_earlier(self) -> None:
        """Run nodes of an earlier version until one is upgraded."""
        self.limits = EARLIER

    @property
    def is_broker(self) -> bool:
        """Whether its nodes have data and clients."""
        return "broker" in self._settings["process.roles"]

    @property
    def has_two_dirs(self) -> bool:
        """Whether its nodes have replicas on a second disk, and go on where that fails (KIP-112)."""
        return SECOND_DIR in self._settings["log.dirs"]

    @property
    def is_voter(self) -> bool:
        """Whether its nodes are controllers."""
        return "controller" in self._settings["process.roles"]

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.is_alive

    def boot(self) -> None:
        """Start a node, on whatever the disk holds."""
        assert not self.is_running
        self.boots += 1
        if self.limits and self.boots > 1 and self._chance.random() < _UPGRADED:
            self.limits = NONE
        self._kernel.note(f"{self.host} boots{' in an earlier version' if self.limits else ''}")
        self._network.is_on[self.host] = True
        self.process = Process(self._kernel, self.host, f"{self.host}/{self.boots}")
        self._kernel.at(0, self.process, self._start)

    def kill(self) -> None:
        """As SIGKILL: what was written stays."""
        self._end(has_machine=True)

    def lose_power(self) -> None:
        """What was not synced may be gone."""
        self._end(has_machine=False)
        self.disk.lose_power()
        self.has_lost_data = True

    def stop(self) -> None:
        """Let the node stop by itself, as SIGTERM does."""
        process, node = self.process, self.node
        if process is None or node is None or not self.is_started:
            return
        self._kernel.note(f"{self.host} stops")
        self.is_stopping = True

        def stopped(outcome: Promise[None]) -> None:
            if self.process is process and process.is_alive:
                if outcome.error is not None:
                    self._failed(process, outcome.error)
                self.kill()

        spawn(node.stop()).on_done(stopped)

    def halt_after(self, steps: int, *, loses_power: bool) -> None:
        """Die at one of the next steps of the disk."""
        self.loses_power = loses_power
        self.disk.cut_power_after(steps)

    def halted(self) -> None:
        """The disk has ended the process."""
        if self.loses_power:
            self.lose_power()
        else:
            self.disk.go_on()
            self.kill()

    def _end(self, *, has_machine: bool) -> None:
        process = self.process
        if process is None or not process.is_alive:
            return
        self._kernel.note(f"{self.host} {'dies' if has_machine else 'loses power'}")
        process.has_machine = has_machine
        process.kill()
        self._network.is_on[self.host] = has_machine
        self._network.process_died(process)
        self.node = None
        self.is_started = self.is_stopping = False

    def _start(self) -> None:
        process = self.process
        assert process is not None
        config = BrokerConfig.load(self._settings)
        network = self._network
        ports = Ports(
            process, process, process, process, self.disk,
            new_peers=lambda _listener, client_id: SimPeers(network, process, client_id, self.limits),
        )  # fmt: skip

        def failed(error: BaseException) -> None:
            self._failed(process, error)

        ports_in_use = {"PLAINTEXT": BROKER_PORT} if self.is_broker else {}
        if self.is_voter:
            ports_in_use["CONTROLLER"] = CONTROLLER_PORT
        endpoints = Endpoints(ports_in_use)
        try:
            node = Node(config, ports, endpoints, failed, lambda _config: None)
        except (StartError, OSError) as error:
            failed(error)
            return
        self.node = node
        if self.is_broker and self.boots % 2:
            # Topics are small here; of large ones the executor makes the files.
            node.broker.replicas.catching_up.made_at_once = 0
        if self.on_boot is not None:
            self.on_boot(self)
        if self.is_voter:
            self._listen(process, node, "CONTROLLER", CONTROLLER_PORT)
        spawn(self._serve(process, node)).on_done(lambda started: self._started(process, node, started))

    def _failed(self, process: Process, error: BaseException) -> None:
        """A node gives up, which is its right where its disk fails."""
        if not self.has_bad_disk:
            self.failures.append(f"{self._kernel.now_ms:.0f} ms: {self.host}: {error!r}")
        self._kernel.note(f"{self.host} gives up: {error}")
        if process.is_alive:
            self.kill()

    def _started(self, process: Process, node: Node, started: Promise[None]) -> None:
        if self.process is not process or not process.is_alive:
            return
        if started.error is not None:
            self._failed(process, started.error)
            return
        self.is_started = True
        self._kernel.note(f"{self.host} is ready")

    def _listen(self, process: Process, node: Node, name: str, port: int) -> None:
        handler = self._watched(node.controller_frames) if name == "CONTROLLER" else node.broker_frames
        self._network.listen(process, name, port, limited(handler, self.limits))

    def _watched(self, handler: FrameHandler) -> FrameHandler:
        def handle(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
            reply = handler(info, frame)
            if frame[:2] == VOTE_KEY and self.on_vote is not None:
                vote = read_vote(frame, reply)
                if vote is not None:
                    self.on_vote(self, vote.candidate, vote.epoch, vote.is_granted)
            return reply

        return handle

    async def _serve(self, process: Process, node: Node) -> None:
        """As a process does, the broker's listener answers before the broker is unfenced."""
        await node.open()
        if self.is_broker and self.process is process and process.is_alive:
            self._listen(process, node, "PLAINTEXT", BROKER_PORT)
        await node.join()
