"""What every request passes before any facade: id, records, drain, keys, quotas, bounds."""
