"""Several of our nodes as processes that form one cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.network import Network
from tests.support.odradek import ROOT, await_ready
from tests.support.process import HOST, BrokerProcess, free_port

CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
DIRECTORY_IDS = ("RANDOMdirectoryAAAAAAQ", "RANDOMdirectoryAAAAAAg", "RANDOMdirectoryAAAAAAw")
COMBINED = "broker,controller"
FORMAT_TIMEOUT_S = 30.0


class Node(BrokerProcess):
    """One node over a ``server.properties`` of its own; keeps its ports across restarts."""

    name = "node"

    def __init__(self, directory: Path, node_id: int, properties: Mapping[str, str]) -> None:
        super().__init__(directory, {})
        directory.mkdir(parents=True, exist_ok=True)
        self.node_id = node_id
        self.controller_port = 0
        self.config = directory / "server.properties"
        lines = {"node.id": str(node_id), "log.dirs": str(self.data_dir), **properties}
        self.config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def format(self, *options: str) -> None:
        """Give the directories to this node."""
        argv = [
            sys.executable,
            "-m",
            "odradek",
            "storage",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
            str(self.config),
            *options,
        ]
        subprocess.run(
            argv, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=FORMAT_TIMEOUT_S, capture_output=True
        )

    def launch(self) -> None:
        """Start the process, which may have to wait for others."""
        argv = [sys.executable, "-m", "odradek", "serve", "--config", str(self.config)]
        self._spawn(argv, pipe_stdout=True, env={"PYTHONPATH": str(ROOT)})

    def await_ready(self) -> None:
        """Wait for the line that says that clients can connect. Raises BrokerFailed."""
        await_ready(self)

    def start(self) -> None:
        self.launch()
        self.await_ready()


class Ways:
    """The ports by which a node is reached, and those that it shows to other nodes."""

    def __init__(self, node_id: int, role: str, network: Network | None) -> None:
        self.node_id = node_id
        self.client_port = free_port() if "broker" in role else 0
        self.broker_port = free_port() if "broker" in role and network is not None else 0
        self.controller_port = free_port() if "controller" in role else 0
        self.shown_broker_port, self.shown_controller_port = self.broker_port, self.controller_port
        if network is not None and self.broker_port:
            self.shown_broker_port = network.open_way_to(node_id, self.broker_port)
        if network is not None and self.controller_port:
            self.shown_controller_port = network.open_way_to(node_id, self.controller_port)

    def properties(self) -> dict[str, str]:
        """All that is about listeners."""
        own = {"PLAINTEXT": self.client_port, "NODES": self.broker_port, "CONTROLLER": self.controller_port}
        shown = {**own, "NODES": self.shown_broker_port, "CONTROLLER": self.shown_controller_port}
        found = {
            "listeners": _listeners(own),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,NODES:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        if shown != own:
            found["advertised.listeners"] = _listeners(shown)
        if self.broker_port:
            found["inter.broker.listener.name"] = "NODES"
        return found


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items() if port)


class Cluster:
    """Nodes with the ids from 1 on. Roles of each are `broker,controller` unless given; controllers are the voters.

    `settings` are properties of all nodes, `of_each` of single ones.
    """

    def __init__(
        self,
        directory: Path,
        roles: Mapping[int, str] | int = 3,
        settings: Mapping[str, str] | None = None,
        kind: type[Node] = Node,
        of_each: Mapping[int, Mapping[str, str]] | None = None,
        *,
        network: Network | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        """With a `network` nodes reach each other by that, and clients reach them as always."""
        by_id = dict.fromkeys(range(1, roles + 1), COMBINED) if isinstance(roles, int) else dict(roles)
        ways = {node_id: Ways(node_id, role, network) for node_id, role in by_id.items()}
        controllers = [way for way in ways.values() if way.controller_port]
        self.controllers = servers = ",".join(f"{HOST}:{way.shown_controller_port}" for way in controllers)
        voters = ",".join(
            f"{way.node_id}@{HOST}:{way.shown_controller_port}:{uuid}"
            for way, uuid in zip(controllers, DIRECTORY_IDS, strict=False)
        )
        self.nodes: dict[int, Node] = {}
        for node_id, way in ways.items():
            each = kind(
                directory / f"node-{node_id}",
                node_id,
                {
                    "process.roles": by_id[node_id],
                    **way.properties(),
                    "controller.listener.names": "CONTROLLER",
                    "controller.quorum.bootstrap.servers": servers,
                    "group.initial.rebalance.delay.ms": "0",
                    **(settings or {}),
                    **(of_each or {}).get(node_id, {}),
                },
            )
            each.port = way.client_port or way.controller_port
            each.controller_port = way.controller_port
            each.format(*(("--initial-controllers", voters) if way.controller_port else ()), *format_options)
            self.nodes[node_id] = each
        if network is not None:
            network.attach(self._pids)

    def _pids(self) -> dict[int, int]:
        return {node_id: node.pid for node_id, node in self.nodes.items() if node.running}

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.address for node in self.nodes.values())

    def start(self) -> None:
        """Start all of them at once, and wait until clients can connect to each."""
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.await_ready()

    def stop(self) -> None:
        """End all that run, with their logs kept."""
        for node in self.nodes.values():
            if node.running:
                os.kill(node.pid, signal.SIGTERM)
        for node in self.nodes.values():
            node.stop()

    def kill(self) -> None:
        """End all at once; nothing gets the chance to clean up."""
        for node in self.nodes.values():
            node.kill()
