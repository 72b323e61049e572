# mypy: ignore-errors
# What it imports is in a virtual environment of its own.
"""An application of FastStream: takes orders from a topic, and publishes a receipt for each.

Arguments: the client library (kafka or confluent), bootstrap servers, both topics, the consumer group.
"""

import asyncio
import sys

from faststream import FastStream
from pydantic import BaseModel

LIBRARY, BOOTSTRAP, ORDERS, RECEIPTS, GROUP = sys.argv[1:]
if LIBRARY == "kafka":
    from faststream.kafka import KafkaBroker
else:
    from faststream.confluent import KafkaBroker


class Order(BaseModel):
    number: int
    item: str


class Receipt(BaseModel):
    number: int
    text: str


broker = KafkaBroker(BOOTSTRAP)


@broker.subscriber(ORDERS, group_id=GROUP, auto_offset_reset="earliest")
@broker.publisher(RECEIPTS)
async def take(order: Order) -> Receipt:
    return Receipt(number=order.number, text=f"one {order.item}")


asyncio.run(FastStream(broker).run())
