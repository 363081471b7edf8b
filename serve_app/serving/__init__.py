"""The only room that knows Ray: one server on one machine, or deployments on a cluster."""
