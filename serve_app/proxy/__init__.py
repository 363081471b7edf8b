"""In front of the application: Ray Serve's own proxies, bounded and answering as we do."""
