"""Which requests a fault is for."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from random import Random

from odradek.testing.faults.specs import ANY_API, RequestFault
from odradek.testing.interception import RequestHead, is_of_a_node
from odradek.wire.api_table import APIS
from odradek.wire.apis import ApiKey
from odradek.wire.schema import Message, Struct

GROUP_KEY, TRANSACTION_KEY = 0, 1
"""What FindCoordinator is asked for."""
_KEYS = {api.name.lower(): ApiKey(key) for key, api in APIS.items()}

Place = tuple[str, int | None]
"""A topic, and a partition of it if one is named."""


def api_key(name: str) -> ApiKey | None:
    """The API of a name as Kafka writes it, in any case; None for all of them. Raises ValueError."""
    if name == ANY_API:
        return None
    key = _KEYS.get(name.lower().replace("_", ""))
    if key is None:
        raise ValueError(f"there is no API {name!r}; Kafka has {', '.join(sorted(APIS[each].name for each in APIS))}")
    return key


class Matcher:
    """Finds a fault's requests, and counts them. The same requests and the same `random` give the same ones."""

    def __init__(self, spec: RequestFault, random: Random) -> None:
        """Raises ValueError for a description that makes no sense."""
        self.hits = 0
        self._spec = spec
        self._key = api_key(spec.api)
        self._random = random
        self._left = spec.after
        if not 0 <= spec.probability <= 1:
            raise ValueError(f"a probability is between 0 and 1, and not {spec.probability}")
        if spec.after < 0 or (spec.times is not None and spec.times < 1):
            raise ValueError("after is at least 0, and times at least 1")
        if spec.partition is not None and spec.topic is None:
            raise ValueError("a partition needs its topic")

    @property
    def needs_request(self) -> bool:
        """Whether more than the header has to be known."""
        spec = self._spec
        return any(each is not None for each in (spec.topic, spec.group, spec.transactional_id, spec.where))

    def may_be(self, node_id: int, head: RequestHead) -> bool:
        """Whether a request is a candidate as far as its header tells."""
        spec = self._spec
        if spec.times is not None and self.hits >= spec.times:
            return False
        if (self._key not in (None, head.key)) or spec.node not in (None, node_id):
            return False
        if is_of_a_node(head.client_id) is not spec.internal:
            return False
        return spec.client_id is None or fnmatchcase(head.client_id or "", spec.client_id)

    def fits(self, request: Message, places: list[Place]) -> bool:
        """Whether a candidate is one of the requests; `places` are the topics and partitions that it is about."""
        spec = self._spec
        if spec.topic is not None and not any(self.is_meant(topic, partition) for topic, partition in places):
            return False
        if spec.group is not None and spec.group not in named_groups(request):
            return False
        if spec.transactional_id is not None and spec.transactional_id not in named_transactions(request):
            return False
        return spec.where is None or spec.where(request)

    def is_meant(self, topic: str, partition: int | None) -> bool:
        """Whether a fault of this part of a request is wanted."""
        spec = self._spec
        return spec.topic in (None, topic) and (spec.partition is None or partition in (None, spec.partition))

    def takes(self) -> bool:
        """Count one that fits; whether it is to be hit."""
        if self._left:
            self._left -= 1
            return False
        if self._spec.probability < 1 and self._random.random() >= self._spec.probability:
            return False
        self.hits += 1
        return True


def named_groups(request: Message) -> list[str]:
    """The groups that a request is about."""
    key = getattr(request, "key", "")
    if key or hasattr(request, "coordinator_keys"):
        return _coordinator_keys(request, GROUP_KEY)
    return [*_values(request, "group_id"), *_values(request, "group_ids"), *_values(request, "groups_names"),
            *_values(request, "groups", "group_id")]  # fmt: skip


def named_transactions(request: Message) -> list[str]:
    """The transactional ids that a request is about."""
    if hasattr(request, "coordinator_keys"):
        return _coordinator_keys(request, TRANSACTION_KEY)
    return [*_values(request, "transactional_id"), *_values(request, "v3_and_below_transactional_id"),
            *_values(request, "transactional_ids"), *_values(request, "transactions", "transactional_id")]  # fmt: skip


def _coordinator_keys(request: Message, kind: int) -> list[str]:
    return [*_values(request, "key"), *_values(request, "coordinator_keys")] if _kind(request) == kind else []


def _kind(request: Message) -> object:
    return getattr(request, "key_type", None)


def _values(struct: Struct, name: str, inner: str = "") -> Iterator[str]:
    """The strings in a field, be it one, a list of them, or a list of structs that have them in a field `inner`."""
    value = getattr(struct, name, None)
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, str):
                yield each
            elif isinstance(each, Struct) and inner:
                yield from _values(each, inner)
