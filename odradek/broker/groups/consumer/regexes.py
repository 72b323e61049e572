"""The regular expressions by which members of a group subscribe, and the topics that they match."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from odradek.broker.groups.consumer.subscriptions import ResolvedRegex
from odradek.broker.regexes import InvalidRegexError, Matcher, compile_regex
from odradek.metadata.image import MetadataImage
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

REFRESH_PAUSE_MS = 10_000
"""How long a group's expressions are left alone once they were resolved, whatever happens (as in Kafka)."""

_REASONS = {
    "bad repetition operator": "invalid nested repetition operator",
    "invalid character class range": "invalid character class range",
    "invalid escape sequence": "invalid escape sequence",
    "invalid named capture group": "invalid named capture",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "trailing \\": "trailing backslash at end of expression",
    "unexpected )": "regexp/syntax: internal error",
}
"""What google-re2 says, and what Kafka's re2j says of the same."""


def compile_subscription(regex: str) -> Matcher:
    """The expression; raises INVALID_REGULAR_EXPRESSION, also where google-re2 is not installed."""
    try:
        return compile_regex(regex)
    except InvalidRegexError as error:
        text = str(error)
        reason = next((reason for begin, reason in _REASONS.items() if text.startswith(begin)), text)
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}.",
        ) from error


class Resolution:
    """Looks for the topics that a group's expressions match, in slices of time."""

    def __init__(
        self, regexes: Iterable[str], image: MetadataImage, may_describe: Callable[[str], bool], timestamp_ms: int
    ) -> None:
        """`may_describe` says of a topic whether the member that caused this may see it."""
        self.found: dict[str, list[str]] = {regex: [] for regex in regexes}
        self._image = image
        self._may_describe = may_describe
        self._timestamp_ms = timestamp_ms
        self._visible: dict[str, bool] = {}
        self._steps = self._match()

    def run(self, is_over: Callable[[], bool]) -> bool:
        """Go on until `is_over()`; returns whether everything was looked at."""
        return all(not is_over() for _ in self._steps)

    def result(self) -> dict[str, ResolvedRegex]:
        """What each expression matches."""
        version = self._image.offset
        return {
            regex: ResolvedRegex(tuple(sorted(topics)), version, self._timestamp_ms)
            for regex, topics in self.found.items()
        }

    def _match(self) -> Iterator[None]:
        names = list(self._image.topics.by_name)
        for regex, topics in self.found.items():
            try:
                matcher = compile_subscription(regex)
            except KafkaError as error:
                _log.error("an expression that a group subscribes by is ignored: %s", error)
                continue
            yield
            for name in names:
                if matcher.fullmatch(name) is not None and self._is_visible(name):
                    topics.append(name)
                yield

    def _is_visible(self, name: str) -> bool:
        if name not in self._visible:
            self._visible[name] = self._may_describe(name)
        return self._visible[name]
