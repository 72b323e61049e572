"""`odradek serve`: one node in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence

import click

from odradek.cli.addresses import DEFAULT_LISTEN, listen_address
from odradek.cli.controlled import controlled
from odradek.cli.errors import EXIT_FAILED, EXIT_USAGE, fail
from odradek.cli.logs import configure
from odradek.config import BrokerConfig, ConfigError, parse_properties, single_node_defaults
from odradek.config.own import FORMAT_ON_START
from odradek.config.properties import PROPERTIES_ENCODING

DEFAULT_DATA_DIR = "odradek-data"
MEMORY_DATA_DIR = "/odradek-in-memory"
"""The path that files in memory are under; nothing of that name is created."""
ANY_HOSTS = ("", "0.0.0.0", "::")

SERVING_GC_THRESHOLDS = (2_000, 5, 5_000)
"""Requests leave no cycles behind, so that collections find nothing, and what counts is how long each of them keeps the
loop: less than half a millisecond for the 2,000 youngest objects. All are looked at after 50 million new ones."""
SERVING_SWITCH_SECONDS = 0.0005
"""How long a thread of Python code keeps the loop waiting for the interpreter's lock, each time that the loop has let
go of it in a system call. The default is ten times as long; where nobody waits for the lock, it makes no difference."""
MACOS_OPEN_MAX = 10_240
"""What macOS grants where it reports that there is no limit."""
STDIN_READ_BYTES = 4096
FORCED_STOP_SECONDS = 60.0
"""How long a stop may take when the process that this one belongs to is gone."""
WAKE_UP_MS = 200
"""How often the loop looks for Ctrl-C where it cannot be woken by a signal (Windows)."""


@click.command()
@click.option("--listen", metavar="HOST:PORT", help=f"Where clients connect; port 0: any. [{DEFAULT_LISTEN}]")
@click.option("--data-dir", metavar="DIR", help=f"Where data is kept; formatted on first use. [./{DEFAULT_DATA_DIR}]")
@click.option("--in-memory", is_flag=True, help="Keep everything in memory; it is gone when the broker stops.")
@click.option("--config", "config_file", metavar="FILE", help="Kafka's server.properties, in place of the above.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Set a property; may be repeated.")
@click.option(
    "--nodes",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    help="So many nodes, with the defaults of odradek.testing; needs --in-memory and --control. [1]",
)
@click.option(
    "--control", metavar="HOST:PORT", help="Also serve the controls for tests over HTTP there; needs odradek[control]."
)
@click.option(
    "--control-token",
    metavar="TOKEN",
    envvar="ODRADEK_CONTROL_TOKEN",
    help="Who uses the controls has to send this; needed where others reach them. [$ODRADEK_CONTROL_TOKEN]",
)
@click.option("--stop-with-stdin", is_flag=True, help="Stop when standard input ends, such as that of a pipe.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is logged to stderr.",
)
def serve(
    listen: str | None,
    data_dir: str | None,
    in_memory: bool,
    config_file: str | None,
    settings: Sequence[str],
    nodes: int,
    control: str | None,
    control_token: str | None,
    stop_with_stdin: bool,
    log_level: str,
) -> None:
    """Run a broker until SIGTERM or Ctrl-C.

    Prints `odradek ready on HOST:PORT` once clients can connect; logs go to stderr.
    """
    gc.disable()
    try:
        if nodes > 1:
            if control is None or not in_memory or listen is not None or config_file is not None:
                raise ConfigError("", "--nodes needs --in-memory and --control, and each node takes an address itself")
            node = controlled(
                control, control_token, ready, lambda served: served.several_nodes(nodes, _settings(settings))
            )
        else:
            config = BrokerConfig.load(_properties(listen, data_dir, in_memory, config_file, settings))
            if control is None:
                node = alone(config, in_memory=in_memory, on_ready=ready)
            else:
                node = controlled(
                    control, control_token, ready, lambda served: served.one_node(config, in_memory=in_memory)
                )
    except ConfigError as error:
        fail(error.message, EXIT_USAGE)
    sys.exit(run(node, log_level, stop_with_stdin=stop_with_stdin))


def _raise_file_limit() -> None:
    """Connections and segments take a descriptor each: have as many as the system lets this process have."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, MACOS_OPEN_MAX):
        if soft in (wanted, resource.RLIM_INFINITY) or 0 < wanted < soft:
            return
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def _properties(
    listen: str | None, data_dir: str | None, in_memory: bool, config_file: str | None, settings: Sequence[str]
) -> dict[str, str]:
    """The properties of the options; raises ConfigError."""
    if in_memory and data_dir is not None:
        raise ConfigError("log.dirs", "--in-memory and --data-dir exclude each other")
    if config_file is not None:
        for option, value in (("--listen", listen), ("--data-dir", data_dir)):
            if value is not None:
                raise ConfigError("", f"{option} and --config exclude each other: use --set KEY=VALUE on top of a file")
        properties = _read_file(config_file)
        if in_memory:
            properties.setdefault(FORMAT_ON_START, "true")
    else:
        host, port = listen_address(listen or DEFAULT_LISTEN)
        directory = MEMORY_DATA_DIR if in_memory else os.path.abspath(data_dir or DEFAULT_DATA_DIR)
        advertised_host = socket.getfqdn() if host in ANY_HOSTS else None
        properties = single_node_defaults(host, port, data_dir=directory, advertised_host=advertised_host)
    return {**properties, **_settings(settings)}


def _settings(settings: Sequence[str]) -> dict[str, str]:
    """What `--set` says; raises ConfigError."""
    properties = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key.strip():
            raise ConfigError("", f"--set {setting}: write KEY=VALUE")
        properties[key.strip()] = value.strip()
    return properties


def _read_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding=PROPERTIES_ENCODING) as file:
            return parse_properties(file.read())
    except OSError as error:
        raise ConfigError("", f"--config {path}: {error.strerror}") from error


def ready(address: str) -> None:
    """Say that clients can connect, and let the process serve them from now on.

    Garbage is collected, but none of what is there already, and threads beside the loop give way soon.
    """
    sys.stdout.write(f"odradek ready on {address}\n")
    sys.stdout.flush()
    gc.freeze()
    gc.set_threshold(*SERVING_GC_THRESHOLDS)
    gc.enable()
    sys.setswitchinterval(SERVING_SWITCH_SECONDS)


Node = Callable[[asyncio.Event], Coroutine[object, object, int]]
"""Runs until the event is set; returns the exit code."""


def alone(config: BrokerConfig, *, in_memory: bool, on_ready: Callable[[str], None]) -> Node:
    """A node without controls; `on_ready` gets HOST:PORT."""
    from odradek.node import serve as serve_node

    return lambda stop: serve_node(config, in_memory=in_memory, on_ready=on_ready, stop=stop)


def run_node(config: BrokerConfig, log_level: str, *, on_ready: Callable[[str], None]) -> int:
    """`run` a node `alone` that keeps its files."""
    return run(alone(config, in_memory=False, on_ready=on_ready), log_level)


def run(node: Node, log_level: str, *, stop_with_stdin: bool = False) -> int:
    """Run a node until SIGTERM or Ctrl-C, with its logs on stderr; returns the exit code.

    What keeps it from starting ends this process, with one line on stderr.
    """
    configure(log_level)
    _raise_file_limit()
    from odradek.net.loop import new_event_loop
    from odradek.node import StartError

    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    stop = asyncio.Event()
    stop_on_signals(loop, stop)
    if stop_with_stdin:
        threading.Thread(target=_watch_stdin, args=(loop, stop), daemon=True).start()
    try:
        return _complete(loop, node(stop))
    except ConfigError as error:
        fail(error.message, EXIT_USAGE)
    except StartError as error:
        fail(str(error))
    finally:
        loop.close()


def _complete(loop: asyncio.AbstractEventLoop, node: Coroutine[object, object, int]) -> int:
    return loop.run_until_complete(node)


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when nobody holds the other end of standard input any more; by force where a stop takes too long."""
    with contextlib.suppress(OSError):
        while os.read(0, STDIN_READ_BYTES):
            pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)
    time.sleep(FORCED_STOP_SECONDS)
    os._exit(EXIT_FAILED)


def stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:
            signal.signal(number, lambda _number, _frame: stop.set())
            _wake_up(loop)


def _wake_up(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(WAKE_UP_MS / 1000, _wake_up, loop)
