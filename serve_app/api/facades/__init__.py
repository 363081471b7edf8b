"""One file for each protocol: its routes, and the mapping from and to the service's types."""
