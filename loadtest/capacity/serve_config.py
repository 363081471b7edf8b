"""A plan as what is deployed: the changed keys, or a whole Serve config."""

import math
import tempfile
from pathlib import Path
from typing import Any

import yaml

from loadtest.capacity.plan import Plan
from serve_app.serving.profile import load_profile, profile_path

ONGOING_PER_PLACE = 1.5
"""What Serve lets through for each place in the engine, so that the engine's refusals, which name a
time to come again, are what clients see: as in configs/dev.yaml."""


def patch(plan: Plan) -> dict[str, Any]:
    """Keys of a Serve config that the plan decides, in the config's own shape."""
    return {
        "args": {
            "engine": {"max_concurrent_requests": plan.max_requests},
            "admission": {"max_wait_seconds": plan.max_wait_seconds},
        },
        "deployments": [
            {
                "name": "Transcriber",
                "num_replicas": plan.replicas,
                "max_ongoing_requests": math.ceil(ONGOING_PER_PLACE * plan.max_requests),
            },
        ],
    }


def serve_config(profile: str, model: str, plan: Plan) -> dict[str, Any]:
    """The Serve config ``profile`` with ``model`` and the plan in it, checked.

    Raises ``InvalidProfile``.
    """
    load_profile(profile)
    document: dict[str, Any] = yaml.safe_load(profile_path(profile).read_text(encoding="utf-8"))
    application, changes = document["applications"][0], patch(plan)
    arguments = application.setdefault("args", {})
    for section, keys in changes["args"].items():
        arguments.setdefault(section, {}).update(keys)
    arguments["engine"]["model"] = model
    for deployment in application["deployments"]:
        if deployment["name"] == "Transcriber":
            deployment.pop("autoscaling_config", None)  # Serve takes one of the two
            deployment.update(changes["deployments"][0])
    with tempfile.TemporaryDirectory(prefix="whisper-ox-config-") as folder:
        path = Path(folder) / "profile.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        load_profile(str(path))
    return document


def as_yaml(document: dict[str, Any], comment: str) -> str:
    """YAML with ``comment`` lines before it."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    return lines + yaml.safe_dump(document, sort_keys=False, width=100)
