"""How quick the Kafka for tests is, and that it leaves nothing; ``python -m benchmarks.testing`` runs it."""
