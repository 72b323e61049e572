"""Embedded nodes in a process of their own: what is on this side of its pipes, and `main`, which is on the other."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import IO, TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from odradek.config import ConfigError
from odradek.node.start_error import StartError
from odradek.testing.futures import promised
from odradek.testing.logs import Sink
from odradek.testing.options import Options
from odradek.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from odradek.testing.cluster import Cluster
    from odradek.testing.host import ThreadHost

P = ParamSpec("P")
T = TypeVar("T")

STOP_S = 30.0
"""How long a process may take to stop before it is killed."""

# The modules have to be found in the same places, however this process came to know them.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from odradek.testing.process import main; main()"
_READY, _ERROR, _LOG, _STOPPED, _RESULT = "ready", "error", "log", "stopped", "result"


class ProcessHost:
    """Implements `Host`. The process ends when this one does, whatever happens to it: its standard input ends then."""

    def __init__(self, options: Options, sink: Sink) -> None:
        """`sink` gets what the nodes log, and what else the process says, on a thread of this one."""
        self.ready: Future[str] = promised()
        self.stopped: Future[None] = promised()
        self._options = options
        self._sink = sink
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._error: BaseException | None = None
        self._last_line = ""
        self._is_stopped = False
        self._call_ids = itertools.count()
        self._calls: dict[int, Future[Any]] = {}
        """Those that are not settled."""
        self._thread = threading.Thread(target=self._listen, name="odradek-embedded-process", daemon=True)

    def start(self) -> None:
        """Start the process, and the thread that listens to it; raises OSError."""
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._process = process
        self._thread.start()
        try:
            _write_line(process.stdin, self._options.to_json())
        except OSError:
            self.request_stop()  # it has ended already; why, is in what it says

    def call(
        self, action: Callable[Concatenate[Cluster, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have the process run `action`."""
        packed = _packed((action, args, kwargs))
        future: Future[T] = promised()
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdin.closed:
                raise RuntimeError("no nodes run")
            call_id = next(self._call_ids)
            self._calls[call_id] = future
            try:
                _write_line(process.stdin, [call_id, packed])
            except OSError as error:
                del self._calls[call_id]
                raise RuntimeError("no nodes run: their process has ended") from error
        return future

    def request_stop(self) -> None:
        """End the process's standard input, which has it stop; kill it if that takes too long."""
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdin.closed:
                return
            self._timer = threading.Timer(STOP_S, process.kill)
            self._timer.daemon = True
            self._timer.start()
            try:
                process.stdin.close()
            except OSError:
                process.kill()

    def join(self) -> None:
        """Wait for the end of the process and the thread."""
        if self._process is not None:
            self._thread.join()

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._heard(line.decode(errors="replace").rstrip("\n"))
        self.request_stop()
        code = process.wait()
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        if self._timer is not None:
            self._timer.join()
        for future in self._calls.values():
            future.set_exception(RuntimeError("the nodes were stopped meanwhile"))
        self._calls.clear()
        if self._error is None and not self._is_stopped:
            self._error = StartError(f"the nodes' process has ended with code {code}: {self._last_line}")
        if not self.ready.done():
            self.ready.set_exception(self._error or RuntimeError("the nodes were stopped while they started"))
            self._error = None
        if self._error is not None:
            self.stopped.set_exception(self._error)
        else:
            self.stopped.set_result(None)

    def _heard(self, line: str) -> None:
        try:
            kind, value = json.loads(line)
        except (ValueError, TypeError):
            self._last_line = line
            self._sink(line)
            return
        if kind == _READY:
            self.ready.set_result(value)
        elif kind == _LOG:
            self._sink(value)
        elif kind == _ERROR:
            self._error = _error_of(value)
        elif kind == _RESULT:
            self._answered(*value)
        elif kind == _STOPPED:
            self._is_stopped = True

    def _answered(self, call_id: int, packed: str) -> None:
        future = self._calls.pop(call_id)
        result, error = _unpacked(packed)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def main() -> None:
    """Run nodes as standard input says, until that ends; says on standard output how it goes."""
    from odradek.testing.host import ThreadHost

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    lock = threading.Lock()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(kind: str, value: object) -> None:
        with lock:
            _write_line(out, [kind, value])

    try:
        options = Options.from_json(json.loads(sys.stdin.readline()))
    except ValueError:
        return  # the parent is gone
    host = ThreadHost(options, lambda line: say(_LOG, line))
    host.start()
    try:
        say(_READY, host.ready.result())
        for line in sys.stdin:
            call_id, packed = json.loads(line)
            _run(host, call_id, packed, lambda call_id, result: say(_RESULT, [call_id, result]))
        host.request_stop()
        host.stopped.result()
    except Exception as error:  # noqa: BLE001 - raised by the parent
        say(_ERROR, _described(error))
    host.join()
    say(_STOPPED, None)


def _run(host: ThreadHost, call_id: int, packed: str, answer: Callable[[int, str], None]) -> None:
    """Do what `ProcessHost.call` asks for, and answer when it is done."""

    def settled(future: Future[object]) -> None:
        error = future.exception()
        answer(call_id, _packed_error(error) if error is not None else _packed_result(future.result()))

    try:
        action, args, kwargs = _unpacked(packed)
        future = host.call(action, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - raised by the parent
        answer(call_id, _packed_error(error))
        return
    future.add_done_callback(settled)


def _packed(value: object) -> str:
    return b64encode(pickle.dumps(value)).decode()


def _unpacked(packed: str) -> Any:
    return pickle.loads(b64decode(packed))


def _packed_result(result: object) -> str:
    try:
        return _packed((result, None))
    except Exception as error:  # noqa: BLE001 - raised by the parent
        return _packed_error(error)


def _packed_error(error: BaseException) -> str:
    """Some exceptions cannot be pickled, and some only into something else."""
    try:
        packed = _packed((None, error))
        _unpacked(packed)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, its text can be told
        packed = _packed((None, RuntimeError(f"{type(error).__name__}: {error}")))
    return packed


def _write_line(stream: IO[bytes] | None, value: object) -> None:
    assert stream is not None
    stream.write(json.dumps(value).encode() + b"\n")
    stream.flush()


def _described(error: Exception) -> list[object]:
    """An error, so that `_error_of` can make it again."""
    if isinstance(error, KafkaError):
        return ["kafka", int(error.code), error.message]
    if isinstance(error, ConfigError):
        return ["config", error.name, error.message]
    return ["start", str(error) if isinstance(error, StartError) else f"{type(error).__name__}: {error}", None]


def _error_of(described: list[object]) -> Exception:
    kind, first, second = described
    if kind == "kafka" and isinstance(first, int):
        return KafkaError(ErrorCode(first), None if second is None else str(second))
    if kind == "config":
        return ConfigError(str(first), str(second))
    return StartError(str(first))
