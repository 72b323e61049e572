"""Checks recorded histories of clients for what Kafka promises them: nothing lost, doubled, aborted or out of order.

`history` reads and writes histories, `model` is what one says of each partition, `anomalies` looks for what must not
be, and `cycles` for transactions that see each other in a circle. Pure, apart from `history`'s file objects.
"""
