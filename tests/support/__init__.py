"""What several test suites share: brokers as processes, raw connections, client drivers."""
