from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from odradek.config.alter import Alteration, AlterOp
from odradek.server.loggers import ROOT, alter_loggers, logger_levels
from odradek.wire.errors import ErrorCode, KafkaError

OURS = "odradek.testing.levels"
NODE_ID = 1


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    root, logger = logging.getLogger("odradek"), logging.getLogger(OURS)
    before = root.level
    yield logger
    root.setLevel(before)
    logger.setLevel(logging.NOTSET)


def alter(*alterations: Alteration, validate_only: bool = False) -> None:
    alter_loggers(str(NODE_ID), NODE_ID, alterations, validate_only=validate_only)


def test_a_loggers_level_is_its_own_or_that_of_those_above_it(logger: logging.Logger) -> None:
    alter(Alteration(ROOT, AlterOp.SET, "ERROR"))
    assert logger_levels()[OURS] == logger_levels()[ROOT] == "ERROR"
    assert not logger.isEnabledFor(logging.WARNING)
    alter(Alteration(OURS, AlterOp.SET, "DEBUG"))
    assert logger.isEnabledFor(logging.DEBUG)
    assert (logger_levels()[OURS], logger_levels()[ROOT]) == ("DEBUG", "ERROR")
    alter(Alteration(OURS, AlterOp.DELETE, None))
    assert logger_levels()[OURS] == "ERROR"


@pytest.mark.parametrize(
    ("level", "name"), [(100, "FATAL"), (50, "FATAL"), (49, "ERROR"), (25, "INFO"), (5, "TRACE"), (1, "TRACE")]
)
def test_levels_between_kafkas_have_the_name_of_the_one_below(logger: logging.Logger, level: int, name: str) -> None:
    logger.setLevel(level)
    assert logger_levels()[OURS] == name


def test_other_programs_loggers_are_neither_shown_nor_changed() -> None:
    other = logging.getLogger("somebody.elses")
    before = other.getEffectiveLevel()
    assert "somebody.elses" not in logger_levels()
    alter(Alteration(ROOT, AlterOp.SET, "FATAL"))
    assert other.getEffectiveLevel() == before
    with pytest.raises(KafkaError) as refused:
        alter(Alteration("somebody.elses", AlterOp.SET, "INFO"))
    assert refused.value.code is ErrorCode.INVALID_CONFIG


def test_all_or_none_is_changed(logger: logging.Logger) -> None:
    with pytest.raises(KafkaError):
        alter(Alteration(OURS, AlterOp.SET, "DEBUG"), Alteration(ROOT, AlterOp.SET, "LOUD"))
    alter(Alteration(OURS, AlterOp.SET, "DEBUG"), validate_only=True)
    assert logger.level == logging.NOTSET
