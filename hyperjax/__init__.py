"""HyperJAX."""
