"""`odradek serve --control`: imports what that needs, which may be missing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import TYPE_CHECKING

from odradek.cli.addresses import listen_address
from odradek.config import ConfigError

if TYPE_CHECKING:
    from odradek.control.served import NewCluster


def controlled(
    control: str, token: str | None, on_ready: Callable[[str], None], nodes: Callable[[ModuleType], NewCluster]
) -> Callable[[asyncio.Event], Coroutine[object, object, int]]:
    """Nodes with controls at HOST:PORT, of the functions of `odradek.control.served`; raises ConfigError."""
    host, port = listen_address(control, "--control")
    try:
        from odradek.control import served
    except ModuleNotFoundError as error:
        raise ConfigError("", f"--control needs {error.name}: pip install 'odradek[control]'") from error
    options = served.ControlOptions(host, port, token)
    served.check_access(options)
    new_cluster = nodes(served)
    return lambda stop: served.serve(new_cluster, options, on_ready=on_ready, on_control=_say, stop=stop)


def _say(url: str) -> None:
    sys.stdout.write(f"odradek controls on {url}\n")
    sys.stdout.flush()
