"""What is measured: each workload drives one broker with its clients."""
