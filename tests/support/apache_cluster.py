"""Nodes of Apache Kafka that form one cluster, with the same properties as ours."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.apache import LOG4J, kafka_libs, require
from tests.support.cluster import CLUSTER_ID, FORMAT_TIMEOUT_S, Node

JVM_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Nodes live for a minute or two: little of what a better compiler gains comes back."""


class ApacheNode(Node):
    """One node of Apache Kafka. Raises Unavailable where its jars or Java are missing."""

    name = "apache"

    def __init__(self, directory: Path, node_id: int, properties: Mapping[str, str]) -> None:
        require("java")
        self._libs = kafka_libs()
        super().__init__(directory, node_id, properties)
        (directory / "log4j2.yaml").write_text(LOG4J)

    def format(self, *options: str) -> None:
        """Give the directories to this node."""
        tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self.config), *options]
        subprocess.run(self._java(*tool), check=True, timeout=2 * FORMAT_TIMEOUT_S, capture_output=True)

    def launch(self) -> None:
        """Start the process, which may have to wait for others."""
        self._spawn(self._java("kafka.Kafka", str(self.config)), pipe_stdout=False)

    def await_ready(self) -> None:
        """Wait until it answers clients. Raises BrokerFailed."""
        self._await_metadata()

    def _java(self, *arguments: str) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.yaml'}"
        return ["java", *JVM_OPTIONS, log4j, "-cp", f"{self._libs}/*", *arguments]
