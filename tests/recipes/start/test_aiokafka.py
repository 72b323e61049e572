import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from odradek.testing import EmbeddedKafka


async def order(bootstrap_servers: str, drink: str) -> None:  # your code
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        await producer.send_and_wait("orders", drink.encode())


def test_an_order_gets_to_the_kitchen(kafka_broker: EmbeddedKafka) -> None:
    async def test() -> None:  # with pytest-asyncio the test itself may be async
        await order(kafka_broker.bootstrap_servers, "tea")

        consumer = AIOKafkaConsumer(
            "orders",
            bootstrap_servers=kafka_broker.bootstrap_servers,
            group_id="kitchen",
            auto_offset_reset="earliest",
        )
        async with consumer:
            message = await asyncio.wait_for(consumer.getone(), 10)
        assert message.value == b"tea"

    asyncio.run(test())
