"""Odradek: a broker that speaks Apache Kafka's wire protocol and writes its files."""

__version__ = "0.1.0"
