"""Peers of an earlier release: what they do not know is neither asked of them nor told to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_mixed import ONE_REPLICA, ApacheBroker, broker_under, check_that_records_pass
from tests.support.apache import Unavailable, earlier_libs
from tests.support.cluster import Cluster

RELEASE = ("--release-version", "4.0")


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[ApacheBroker]:
    directory = tmp_path / "apache"
    directory.mkdir()
    try:
        kafka = ApacheBroker(directory, {}, earlier_libs())
    except Unavailable as missing:
        pytest.skip(str(missing))
    try:
        yield kafka
    finally:
        kafka.close()


def test_our_broker_under_an_earlier_controller(tmp_path: Path, earlier: ApacheBroker) -> None:
    """It copies what that one leads, and is copied by it."""
    earlier.start()
    ours = broker_under(tmp_path / "ours", earlier)
    ours.format(*RELEASE)
    try:
        ours.start()
        check_that_records_pass(ours.address, {1, 2})
        assert ours.stop() == 0
    finally:
        ours.close()


def test_an_earlier_broker_under_our_controller(tmp_path: Path, earlier: ApacheBroker) -> None:
    """Whose metadata is of a version that the broker knows."""
    cluster = Cluster(tmp_path / "ours", {1: "controller", 3: "broker"}, ONE_REPLICA, format_options=RELEASE)
    try:
        cluster.start()
        earlier.join(2, cluster)
        check_that_records_pass(earlier.bootstrap, {2, 3})
    finally:
        cluster.kill()
