"""``python -m tests.resilience.redeploying --port PORT --replicas N``: deploys anew when told to.

Profile ``dev`` with N model replicas. SIGUSR1 deploys it over the running one with another
``user_config``, SIGUSR2 with other ``args``, as KubeRay does with a changed manifest.
"""

import argparse
import signal
import time
from types import FrameType
from typing import Any

import yaml

from models import resolve
from serve_app.serving.before_ray import prepared_for_ray

REDEPLOYED = "redeployed"
"""Printed when a deployment is complete."""

_told: list[int] = []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--replicas", type=int)
    given = parser.parse_args()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, _note)
    resolve("tiny.en")
    with prepared_for_ray():
        from serve_app.serving.profile import profile_path  # imports Ray

        document: dict[str, Any] = yaml.safe_load(profile_path("dev").read_text())
        document["applications"][0].setdefault("args", {})["engine"] = {"model": "tiny.en"}
        transcriber_of(document)["num_replicas"] = given.replicas
        serve(document, given.port)


def transcriber_of(document: dict[str, Any]) -> dict[str, Any]:
    """The options of a deployment in a Serve config."""
    deployments: list[dict[str, Any]] = document["applications"][0]["deployments"]
    return next(one for one in deployments if one["name"] == "Transcriber")


def serve(document: dict[str, Any], port: int) -> None:
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    def deploy() -> None:
        # What the operator's request to the head ends in.
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate(document), _blocking=True)

    ray.init(address="local", namespace="serve", include_dashboard=False, logging_level="WARNING")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    deploy()
    while True:
        while not _told:
            time.sleep(0.1)
        if _told.pop(0) == signal.SIGUSR1:
            transcriber_of(document)["user_config"] = {"decode_batch": 4}
        else:
            document["applications"][0]["args"]["http"] = {"strict_options": True}
        deploy()
        print(REDEPLOYED, flush=True)


def _note(number: int, frame: FrameType | None) -> None:
    _told.append(number)


if __name__ == "__main__":
    main()
