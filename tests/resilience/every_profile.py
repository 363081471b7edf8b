"""``python -m tests.resilience.every_profile --port PORT``: the profiles of k8s/, one by one.

Each is given to Serve as KubeRay gives it, with a small model on the CPU and GPUs that Ray only
believes in, and transcribes a clip. One line of JSON a profile (:class:`Run`) is printed.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import yaml

from models import resolve
from serve_app.assets import GOLDEN_CLIP
from serve_app.serving.before_ray import prepared_for_ray
from tests.conditions import eventually

PROFILES = ("cpu", "gpu-t4", "gpu-a10g", "gpu-a10g-multi")
SMALL_ENGINE = {
    "model": "tiny.en",
    "device": "cpu",
    "compute_type": "int8",
    "workers": 1,
    "whole_machine_worker": False,
}
N_CPUS, N_GPUS = 8, 2
OBJECT_STORE_BYTES = 80 * 1024 * 1024


@dataclass(frozen=True)
class Run:
    """What came of one profile: the transcript, running replicas by deployment, GPUs taken."""

    profile: str
    text: str
    replicas: dict[str, int]
    gpus: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    resolve("tiny.en")
    with prepared_for_ray():
        run_all(port)


def run_all(port: int) -> None:
    """Deploy one profile after the other on one Ray."""
    import ray
    from ray import serve

    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=False,
        num_cpus=N_CPUS,
        num_gpus=N_GPUS,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level="WARNING",
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    for profile in PROFILES:
        print(json.dumps(asdict(run(profile, f"http://127.0.0.1:{port}"))), flush=True)
    ray.shutdown()


def run(profile: str, url: str) -> Run:
    """Deploy a profile, transcribe, and take it away again."""
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ReplicaState, ServeDeploySchema

    from serve_app.serving.profile import profile_path

    document: dict[str, Any] = yaml.safe_load(profile_path(profile).read_text())
    application = document["applications"][0]
    application["args"]["engine"].update(SMALL_ENGINE)
    # What the operator's request to the head ends in.
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(document), _blocking=True)
    eventually(lambda: httpx.get(f"{url}/readyz").status_code == httpx.codes.OK)
    clip = {"file": ("golden.wav", GOLDEN_CLIP.read_bytes())}
    answer = httpx.post(f"{url}/transcribe", files=clip, timeout=60).raise_for_status().json()
    deployments = serve.status().applications[application["name"]].deployments
    replicas = {
        name: status.replica_states.get(ReplicaState.RUNNING, 0)
        for name, status in deployments.items()
    }
    gpus = N_GPUS - ray.available_resources().get("GPU", 0.0)
    serve.delete(application["name"])
    text = "".join(segment["text"] for segment in answer["segments"])
    return Run(profile, text, replicas, gpus)


if __name__ == "__main__":
    main()
