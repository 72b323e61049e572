"""Several of our nodes as processes that form one cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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
    ) -> None:
        by_id = dict.fromkeys(range(1, roles + 1), COMBINED) if isinstance(roles, int) else dict(roles)
        ports = {node_id: (free_port(), free_port()) for node_id in by_id}
        controllers = [node_id for node_id, role in by_id.items() if "controller" in role]
        self.controllers = servers = ",".join(f"{HOST}:{ports[node_id][1]}" for node_id in controllers)
        voters = ",".join(
            f"{node_id}@{HOST}:{ports[node_id][1]}:{uuid}"
            for node_id, uuid in zip(controllers, DIRECTORY_IDS, strict=False)
        )
        self.nodes: dict[int, Node] = {}
        for node_id, role in by_id.items():
            broker_port, controller_port = ports[node_id]
            listeners = []
            if "broker" in role:
                listeners.append(f"PLAINTEXT://{HOST}:{broker_port}")
            if "controller" in role:
                listeners.append(f"CONTROLLER://{HOST}:{controller_port}")
            node = kind(
                directory / f"node-{node_id}",
                node_id,
                {
                    "process.roles": role,
                    "listeners": ",".join(listeners),
                    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                    "controller.listener.names": "CONTROLLER",
                    "controller.quorum.bootstrap.servers": servers,
                    "group.initial.rebalance.delay.ms": "0",
                    **(settings or {}),
                    **(of_each or {}).get(node_id, {}),
                },
            )
            node.port = broker_port if "broker" in role else controller_port
            node.controller_port = controller_port
            node.format(*(("--initial-controllers", voters) if "controller" in role else ()))
            self.nodes[node_id] = node

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
