"""What `make docs` runs: generators of documentation pages and of the Grafana dashboard."""
