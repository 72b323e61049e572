"""`odradek container`: what runs in the container image, which takes what Apache Kafka's image takes (KIP-975).

The commands are for the scripts in docker/files, which are where programs that start Apache's and Confluent's images
expect theirs.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Mapping, Sequence

import click

from odradek.cli.errors import EXIT_USAGE, fail
from odradek.config import PROPERTIES_ENCODING, BrokerConfig, ConfigError, parse_properties
from odradek.config.image import CLUSTER_ID, DEFAULT_CLUSTER_ID, image_properties, log_level, started_lines
from odradek.config.properties import format_properties

MOUNTED_FILE = "mnt/shared/config/server.properties"
FINAL_FILE = "opt/kafka/config/server.properties"
DATA_DIR = "var/lib/kafka/data"
ANY_HOSTS = ("", "0.0.0.0", "::")
HEALTH_TIMEOUT_S = 5.0
_API_VERSIONS, _VERSION, _CORRELATION_ID, _NO_CLIENT_ID = 18, 0, b"\0\0\0\7", b"\xff\xff"
_TOPICS = "kafka-topics"

_root = click.option(
    "--root", metavar="DIR", envvar="ODRADEK_ROOT", default="/", help="The folder that paths are below. [/]"
)


class _Group(click.Group):
    """Imports a tool when it is run: a node does without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """With the tool's name."""
        return [*super().list_commands(ctx), _TOPICS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """None if there is none of this name."""
        if cmd_name != _TOPICS:
            return super().get_command(ctx, cmd_name)
        from odradek.cli.kafka_topics import kafka_topics

        return kafka_topics


@click.group(cls=_Group)
def container() -> None:
    """Run a node as Apache Kafka's container image does: for the scripts in an image."""


@container.command("run")
@_root
@click.argument("variables", metavar="[KEY=VALUE]...", nargs=-1)
def run(root: str, variables: Sequence[str]) -> None:
    """Write the node's properties, format its directories if need be, and run it until SIGTERM.

    The properties are those of the environment (KAFKA_NUM_PARTITIONS=3), with KEY=VALUE before it, on top of a
    server.properties in /mnt/shared/config.
    """
    environment = {**os.environ, **_variables(variables)}
    _configure(root, environment)
    _launch(root, environment)


@container.command("configure")
@_root
def configure(root: str) -> None:
    """Write the node's properties to /opt/kafka/config/server.properties, and no more."""
    _configure(root, os.environ)


@container.command("launch")
@_root
def launch(root: str) -> None:
    """Run a node with the properties that `configure` has written; formats directories that are not formatted."""
    _launch(root, os.environ, any_cluster=True)


@container.command("health")
@_root
def health(root: str) -> None:
    """Exit with 0 if the node answers, 1 otherwise."""
    config = _load(root)
    listener = (config.broker_listeners or config.listeners)[0]
    host = "localhost" if listener.host in ANY_HOSTS else listener.host
    try:
        answered = _answers(host, listener.port)
    except OSError as error:
        fail(f"{host}:{listener.port}: {error}")
    if not answered:
        fail(f"{host}:{listener.port} does not answer as a broker does")


def _variables(arguments: Sequence[str]) -> dict[str, str]:
    variables = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            fail(f"{argument}: write KEY=VALUE", EXIT_USAGE)
        variables[name] = value
    return variables


def _configure(root: str, environment: Mapping[str, str]) -> None:
    mounted = ""
    path = os.path.join(root, MOUNTED_FILE)
    try:
        if os.path.exists(path):
            with open(path, encoding=PROPERTIES_ENCODING) as file:
                mounted = file.read()
        told = image_properties(environment, mounted, data_dir=os.path.join(root, DATA_DIR))
        BrokerConfig.load(told.properties)
        with open(os.path.join(root, FINAL_FILE), "w", encoding=PROPERTIES_ENCODING) as file:
            file.write(format_properties(told.properties))
    except ConfigError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    if told.ignored:
        click.echo(f"These are no properties of a broker, and are left: {', '.join(told.ignored)}")


def _launch(root: str, environment: Mapping[str, str], *, any_cluster: bool = False) -> None:
    gc.disable()
    config = _load(root)
    _format(config, environment.get(CLUSTER_ID) or DEFAULT_CLUSTER_ID, any_cluster=any_cluster)
    from odradek.cli.serve import ready, run_node

    def announce(address: str) -> None:
        for line in started_lines(config.node_id, [role.value for role in config.process_roles]):
            sys.stdout.write(f"{line}\n")
        ready(address)

    sys.exit(run_node(config, log_level(environment), on_ready=announce))


def _load(root: str) -> BrokerConfig:
    path = os.path.join(root, FINAL_FILE)
    try:
        with open(path, encoding=PROPERTIES_ENCODING) as file:
            return BrokerConfig.load(parse_properties(file.read()))
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except ConfigError as error:
        fail(error.message)


def _format(config: BrokerConfig, cluster_id: str, *, any_cluster: bool) -> None:
    """Format what is not formatted yet; with `any_cluster`, what is formatted says of which cluster the node is."""
    from odradek.net.files import OsFileSystem
    from odradek.net.real import RealClock, SystemRandom
    from odradek.node.data_dirs import read_meta_properties
    from odradek.node.formatting import FormatError, FormatOptions, format_directories
    from odradek.node.start_error import StartError

    files = OsFileSystem()
    try:
        found = read_meta_properties(files, config.metadata_log_dir)
        if any_cluster and found is not None:
            cluster_id = found.cluster_id
        options = FormatOptions(cluster_id, standalone=_begins_alone(config), ignore_formatted=True)
        for line in format_directories(config, options, files, RealClock(), SystemRandom()):
            click.echo(line)
    except (FormatError, StartError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


def _begins_alone(config: BrokerConfig) -> bool:
    """Whether a controller is the first voter of its cluster, which Apache's image has only static voters for."""
    return (
        any(role.value == "controller" for role in config.process_roles)
        and not config.list_("controller.quorum.voters")
        and len(config.list_("controller.quorum.bootstrap.servers")) <= 1
    )


def _answers(host: str, port: int) -> bool:
    """Whether a request for ApiVersions is answered; raises OSError."""
    request = _API_VERSIONS.to_bytes(2) + _VERSION.to_bytes(2) + _CORRELATION_ID + _NO_CLIENT_ID
    with socket.create_connection((host, port), HEALTH_TIMEOUT_S) as connection:
        connection.sendall(len(request).to_bytes(4) + request)
        with connection.makefile("rb") as stream:
            return stream.read(8)[4:] == _CORRELATION_ID
