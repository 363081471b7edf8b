"""The only room that knows Ray.

- ``local_server``: a server on this machine, from its start to SIGTERM and its end. ``before_ray``
  sets up what Ray reads when it is imported, ``ports`` finds free ones, ``profile`` reads configs,
  ``requirements`` says what is missing; ``machine`` what else an operator should know.
- ``deployments``: the two kinds of process that Ray Serve runs, for HTTP and for the model.
- ``remote_service``: calls from one to the other, and what happens when a model process dies.
  ``early_refusal`` turns requests away before their body is read.
- ``haproxy`` and ``proxy_errors``: what is between the callers and the HTTP processes.
- ``ray_metrics``: what is recorded, and the local server's Prometheus endpoint.
- ``ray_internals``: every use of what Ray does not document.
"""
