"""The conformance suite: every case passes on Apache Kafka 4.4.0, and then on Odradek."""
