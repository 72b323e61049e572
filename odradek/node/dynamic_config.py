"""Properties that were set at run time, taken over from the metadata (KIP-226)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from odradek.config import BrokerConfig, ConfigError

_log = logging.getLogger(__name__)


def usable_config(config: BrokerConfig, cluster: Mapping[str, str], own: Mapping[str, str]) -> BrokerConfig:
    """`config` under the cluster's and the broker's own dynamic values.

    A value that does not parse, which another version may have let pass, is left out with a warning: it must not keep
    a broker from starting.
    """
    try:
        return config.with_dynamic(cluster, own)
    except ConfigError:
        return config.with_dynamic(_usable(config, cluster), _usable(config, own))


def _usable(config: BrokerConfig, values: Mapping[str, str]) -> dict[str, str]:
    usable = {}
    for name, text in values.items():
        try:
            config.with_dynamic({name: text}, {})
        except ConfigError as error:
            _log.warning("a property that was set at run time is ignored: %s", error)
        else:
            usable[name] = text
    return usable
