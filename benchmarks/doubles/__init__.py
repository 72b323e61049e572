"""Kafka's stand-ins for tests, beside each other: how soon they are ready, what they weigh, how long tests take."""
