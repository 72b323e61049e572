# mypy: ignore-errors
# What it imports is in a virtual environment of its own.
"""An application of Quix Streams: counts the records of each key, exactly once, with its state in a changelog topic.

Arguments: bootstrap servers, both topics, the consumer group, a folder for state.
"""

import sys

from quixstreams import Application, State

BOOTSTRAP, WORDS, COUNTS, GROUP, STATE = sys.argv[1:]


def count(_word: object, state: State) -> int:
    number = state.get("count", 0) + 1
    state.set("count", number)
    return number


application = Application(
    broker_address=BOOTSTRAP,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=0.2,
    state_dir=STATE,
    loglevel="WARNING",
    consumer_extra_config={"session.timeout.ms": 3000, "heartbeat.interval.ms": 500},
    producer_extra_config={"transaction.timeout.ms": 5000},
)
words = application.dataframe(application.topic(WORDS, key_deserializer="str", value_deserializer="str"))
counts = application.topic(COUNTS, key_serializer="str", value_serializer="str")
words.apply(count, stateful=True).apply(str).to_topic(counts)
application.run()
