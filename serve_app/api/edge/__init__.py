"""What every request passes before a facade: id, records, drain, keys, quotas, limits."""
