"""`odradek cluster`: several nodes at once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import click

from odradek.cli.addresses import DEFAULT_LISTEN
from odradek.cli.errors import EXIT_FAILED, EXIT_USAGE, fail
from odradek.cli.rebalance import rebalance
from odradek.cli.serve import stop_on_signals
from odradek.config import ConfigError

DEFAULT_DATA_DIR = "odradek-cluster"
MAX_NODES = 100


@click.group()
def cluster() -> None:
    """Run a cluster on this machine, and spread partitions over the brokers of any."""


@cluster.command("start")
@click.option("--nodes", "-n", metavar="N", type=click.IntRange(1, MAX_NODES), default=3, show_default=True)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_LISTEN,
    show_default=True,
    help="Where clients connect to the first node; the others follow, with controllers 1000 ports above. 0: any.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Where the nodes keep their data; formatted on first use.",
)
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Set a property of all nodes; repeatable.")
@click.option("--restart", is_flag=True, help="Start a node again that ends by itself.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What nodes log; it goes to stderr with the node's id in front.",
)
def start(nodes: int, listen: str, data_dir: str, settings: Sequence[str], restart: bool, log_level: str) -> None:
    """Run a cluster on this machine, each node a process, until SIGTERM or Ctrl-C.

    Prints `odradek ready on HOST:PORT,HOST:PORT,...` once clients can connect to all of them.
    """
    from odradek.cli.local_cluster import prepare
    from odradek.cli.supervisor import NodeCommand, Supervisor
    from odradek.net.loop import new_event_loop

    try:
        prepared = prepare(listen, nodes, os.path.abspath(data_dir), settings)
    except ConfigError as error:
        fail(error.message, EXIT_USAGE)
    except OSError as error:
        fail(f"{data_dir} cannot be used: {error}")
    options = ["--log-level", log_level, "--stop-with-stdin"]
    commands = [
        NodeCommand(
            node.node_id, [sys.executable, "-m", "odradek", "serve", "--config", node.properties_file, *options]
        )
        for node in prepared
    ]

    async def run() -> bool:
        stop = asyncio.Event()
        stop_on_signals(asyncio.get_running_loop(), stop)
        return await Supervisor(commands, restart=restart, on_ready=_ready, on_line=_log).run(stop)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if not runner.run(run()):
            sys.exit(EXIT_FAILED)


def _ready(addresses: Sequence[str]) -> None:
    sys.stdout.write(f"odradek ready on {','.join(addresses)}\n")
    sys.stdout.flush()


def _log(line: bytes) -> None:
    sys.stderr.buffer.write(line + b"\n")
    sys.stderr.buffer.flush()


cluster.add_command(rebalance)
