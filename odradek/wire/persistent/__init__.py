"""The declarations of what Kafka keeps in its logs and files, and how the records are framed."""
