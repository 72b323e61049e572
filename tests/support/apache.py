"""Apache Kafka as a reference: its jars from Maven Central, or its container image."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import BrokerFailed, BrokerProcess, free_port

VERSION = "4.4.0"
EARLIER_VERSION = "4.0.1"
"""Peers of before the reference."""
TOOLS_VERSION = "4.3.1"
"""The newest release of kafka-tools on Maven Central."""
ROOT = Path(__file__).resolve().parents[2]
LIBS_VARIABLE = "ODRADEK_KAFKA_LIBS"
EARLIER_LIBS_VARIABLE = "ODRADEK_EARLIER_KAFKA_LIBS"
TOOLS_LIBS_VARIABLE = "ODRADEK_KAFKA_TOOLS_LIBS"
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
LOG4J = """\
Configuration:
  Appenders:
    Console:
      name: STDERR
      target: SYSTEM_ERR
      PatternLayout: {pattern: "[%d] %p %m (%c)%n"}
  Loggers:
    Root:
      level: INFO
      AppenderRef: {ref: STDERR}
"""


class Unavailable(Exception):
    """Apache Kafka cannot be run here; the message says what is missing."""


def kafka_libs() -> Path:
    """The directory with the broker's jars, fetched by Maven into our cache at first. Raises Unavailable."""
    return _libs(LIBS_VARIABLE, VERSION, "kafka_2.13-*.jar", "broker.xml", f"-Dkafka.version={VERSION}")


def earlier_libs() -> Path:
    """The same of an earlier release. Raises Unavailable."""
    version = f"-Dkafka.version={EARLIER_VERSION}"
    return _libs(EARLIER_LIBS_VARIABLE, EARLIER_VERSION, "kafka_2.13-*.jar", "broker.xml", version)


def tools_libs() -> Path:
    """The directory with the jars of Kafka's command line tools, likewise. Raises Unavailable."""
    return _libs(TOOLS_LIBS_VARIABLE, f"tools-{TOOLS_VERSION}", "kafka-tools-*.jar", "tools.xml")


def _libs(variable: str, folder: str, expected: str, pom: str, *options: str) -> Path:
    named = os.environ.get(variable)
    if named:
        return Path(named)
    libs = ROOT / ".cache" / "kafka" / folder / "libs"
    if not any(libs.glob(expected)):
        require("java", "mvn")
        copy_dependencies(ROOT / "tests" / "kafka-pom" / pom, libs, *options)
    return libs


def copy_dependencies(pom: Path, destination: Path, *options: str) -> None:
    """Let Maven put a pom's run-time dependencies into ``destination``. Raises Unavailable."""
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", *options]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={destination}", "-DincludeScope=runtime"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"Maven could not fetch Apache Kafka: {done.stdout[-500:]}{done.stderr[-500:]}")


def require(*programs: str) -> None:
    """Raises Unavailable unless all the programs are on the PATH."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Unavailable(f"not on the PATH: {', '.join(missing)}")


class ApacheKafka(BrokerProcess):
    """A single combined node from the jars. Takes three to five seconds to start."""

    name = "apache"

    def __init__(self, directory: Path, overrides: Mapping[str, str], libs: Path | None = None) -> None:
        """`libs` are the jars of another release than the reference."""
        super().__init__(directory, overrides)
        self._libs = kafka_libs() if libs is None else libs
        require("java")
        self.controller_port = 0

    def start(self) -> None:
        """Format on first use, then run until it answers. Raises BrokerFailed."""
        attempts = 3 if self.port == 0 else 1
        for attempt in range(attempts):
            if not any((log_dir / "meta.properties").exists() for log_dir in self._log_dirs):
                self._format()
            self._spawn(self._java("kafka.Kafka", str(self._properties)), pipe_stdout=False)
            try:
                self._await_metadata()
            except BrokerFailed:
                if attempt + 1 == attempts or "Address already in use" not in self.log_tail(400):
                    raise
                for log_dir in self._log_dirs:
                    shutil.rmtree(log_dir)
            else:
                return

    @property
    def _log_dirs(self) -> list[Path]:
        return [Path(name) for name in self.overrides.get("log.dirs", str(self.data_dir)).split(",")]

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        log4j = self.directory / "log4j2.yaml"
        log4j.write_text(LOG4J)
        options = ["-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={log4j}"]
        return ["java", *options, "-cp", f"{self._libs}/*", *arguments]

    def _format(self) -> None:
        self.port, self.controller_port = free_port(), free_port()
        properties = {
            **SINGLE_NODE,
            "listeners": f"PLAINTEXT://{self.host}:{self.port},CONTROLLER://{self.host}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.host}:{self.port}",
            "controller.quorum.bootstrap.servers": f"{self.host}:{self.controller_port}",
            "log.dirs": str(self.data_dir),
            **self.overrides,
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        cluster_id = "4L6g3nShT-eMCtK--X86sw"
        formatter = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties), "--standalone"]
        done = subprocess.run(self._java(*formatter), capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise BrokerFailed(f"formatting failed: {done.stdout}{done.stderr}")
