"""The controller's handlers; a broker reaches them in its own process or through the wire."""
