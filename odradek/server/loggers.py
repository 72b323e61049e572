"""This node's loggers and their levels under Kafka's names (KIP-412).

An embedding program's own loggers are not shown, nor changed: "root" stands for the one that all of ours are below.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from odradek.config.alter import Alteration, AlterOp
from odradek.wire.errors import ErrorCode, KafkaError

ROOT = "root"
_OURS = "odradek"
_TRACE = 5
_LEVELS = {
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": _TRACE,
}


def logger_levels() -> dict[str, str]:
    """The level in force of each logger, by name."""
    known = sorted(logging.root.manager.loggerDict.items())
    names = [name for name, logger in known if name.startswith(f"{_OURS}.") and isinstance(logger, logging.Logger)]
    return {name: _level_name(_logger(name).getEffectiveLevel()) for name in (ROOT, *names)}


def alter_loggers(resource_name: str, node_id: int, alterations: Sequence[Alteration], *, validate_only: bool) -> None:
    """Change levels of the resource's loggers, all or none; a removed level gives way to that of the loggers above.

    Raises KafkaError INVALID_REQUEST for another node's and for operations that are not allowed, INVALID_CONFIG for
    loggers and levels that do not exist.
    """
    _check_node(resource_name, node_id)
    known = logger_levels()
    for alteration in alterations:
        _check(alteration, known)
    if not validate_only:
        for name, op, level in alterations:
            _logger(name).setLevel(_LEVELS[level] if op == AlterOp.SET and level is not None else logging.NOTSET)


def _check_node(resource_name: str, node_id: int) -> None:
    try:
        named = int(resource_name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {resource_name}") from None
    if named != node_id:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"Unexpected node id. Expected {node_id}, but received {resource_name}"
        )


def _check(alteration: Alteration, known: Collection[str]) -> None:
    name, op, level = alteration
    if op not in (AlterOp.SET, AlterOp.DELETE):
        is_known = op in AlterOp.__members__.values()
        named = f"{AlterOp(op).name} operation" if is_known else f"Unknown operation type {op}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{named} is not allowed for the BROKER_LOGGER resource")
    if name not in known:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Logger {name} does not exist!")
    if op == AlterOp.DELETE:
        if name == ROOT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Removing the log level of the {ROOT} logger is not allowed")
    elif level not in _LEVELS:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are "
            f"{', '.join(sorted(_LEVELS))}",
        )


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(_OURS if name == ROOT else name)


def _level_name(level: int) -> str:
    """Kafka's name of `level`, or of the next one below."""
    return next((name for name, least in _LEVELS.items() if level >= least), "TRACE")
