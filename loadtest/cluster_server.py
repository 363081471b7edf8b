"""``python -m tests.resilience.two_nodes --port PORT``: a cluster on one machine that loses a node.

A head with the HTTP side and two nodes with a model replica each, of the profile ``dev``. SIGUSR1
kills every process of one of those nodes.
"""

import argparse
import os
import signal
import time
from types import FrameType
from typing import Any

from configs.profile import load_profile
from models import resolve
from serve_app.proxy.environment import set_proxy_environment

NODE_LOST = "node lost"
"""What is printed once the processes of a node are dead."""

N_NODES = 2
OBJECT_STORE_BYTES = 80 * 1024 * 1024

_told: list[int] = []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    signal.signal(signal.SIGUSR1, _note)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_SERVE_CONTROL_LOOP_INTERVAL_S"] = "0.5"
    set_proxy_environment()
    resolve("tiny.en")
    serve(given.port)


def serve(port: int) -> None:
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from serve_app.deployments import assemble

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**node, "resources": {"head": 1}, "include_dashboard": False},
    )
    nodes = [cluster.add_node(**node, resources={"model": 1}) for _ in range(N_NODES)]
    ray.init(address=cluster.address, namespace="serve", logging_level="WARNING")
    # Proxies of all nodes would share the one port of this machine, the lost node's too.
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    profile = load_profile("dev")
    settings = profile.settings.model_copy(
        update={"engine": profile.settings.engine.model_copy(update={"model": "tiny.en"})}
    )
    options = profile.deployment_options
    options["Transcriber"]["num_replicas"] = N_NODES
    options["Transcriber"]["ray_actor_options"]["resources"] = {"model": 1}
    options["Ingress"]["ray_actor_options"]["resources"] = {"head": 0.1}
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
