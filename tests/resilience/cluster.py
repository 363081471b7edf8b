"""``python -m tests.resilience.cluster --port PORT --nodes 2``: a Ray cluster on one machine.

A head with the HTTP side, and so many nodes with a model replica each, of the profile ``dev``.
SIGUSR1 kills every process of one of those nodes.
"""

import argparse
import os
import signal
import time
from types import FrameType

from models import resolve
from serve_app.serving.before_ray import prepared_for_ray

NODE_LOST = "node lost"
"""Printed when the processes of a node are dead."""

MODEL = "tiny.en"
OBJECT_STORE_BYTES = 80 * 1024 * 1024

_told: list[int] = []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.resilience.cluster")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=2)
    given = parser.parse_args()
    signal.signal(signal.SIGUSR1, _note)
    # This machine stands for several, which do not share a token.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    os.environ["RAY_AUTH_MODE"] = "disabled"
    resolve(MODEL)
    with prepared_for_ray():
        _serve(given.port, given.nodes)


def _serve(port: int, n_nodes: int) -> None:
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from serve_app.serving.deployments import assemble
    from serve_app.serving.profile import load_profile

    profile = load_profile("dev")
    options = profile.deployment_options
    settings = profile.settings.model_copy(
        update={"engine": profile.settings.engine.model_copy(update={"model": MODEL})}
    )
    options["Transcriber"]["num_replicas"] = n_nodes
    options["Transcriber"]["ray_actor_options"]["resources"] = {"model": 1}
    options["Ingress"]["ray_actor_options"]["resources"] = {"head": 0.1}

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": OBJECT_STORE_BYTES,
            "resources": {"head": 1},
            "include_dashboard": False,
        },
    )
    nodes = [
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES, resources={"model": 1})
        for _ in range(n_nodes)
    ]
    ray.init(address=cluster.address, namespace="serve", logging_level="WARNING")
    # Proxies of all nodes would share the one port of this machine, the lost node's too.
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    serve.run_many([serve.RunTarget(assemble(settings, options), name=profile.application.name)])
    while True:
        while not _told:
            time.sleep(0.1)
        _told.pop()
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print(NODE_LOST, flush=True)


def _note(number: int, frame: FrameType | None) -> None:
    _told.append(number)


if __name__ == "__main__":
    main()
