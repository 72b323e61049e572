"""Paired measurements of Odradek and Apache Kafka on one machine; ``python -m benchmarks`` runs them."""
