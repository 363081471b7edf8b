"""``python -m configs.rayservice cpu``: a profile as a KubeRay RayService manifest on stdout.

Format: KubeRay 1.x, ``ray.io/v1`` RayService; ``serveConfigV2`` is the profile's own text.
"""

import sys
from importlib.metadata import version
from typing import Any

import yaml

from configs.profile import load_profile, profile_path
from serve_app import __version__

PORTS = {"gcs": 6379, "dashboard": 8265, "client": 10001, "serve": 8000}

ENVIRONMENT = {
    # Ray's workers step back behind every other process by default (niceness 15).
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # The application's log lines go to the pod's log instead of files on the node.
    "RAY_LOG_TO_STDERR": "1",
    "WHISPER_OX_MODELS_DIR": "/models",
}


class _LiteralText(str):
    """Text that YAML shows as a block."""


def _show_literal(dumper: yaml.SafeDumper, text: _LiteralText) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


yaml.SafeDumper.add_representer(_LiteralText, _show_literal)


def manifest(profile: str, *, cpus: int = 8, memory: str = "16Gi") -> dict[str, Any]:
    """The RayService of a CPU profile: one head node that also does the work.

    Raises ``InvalidProfile``.
    """
    load_profile(profile)
    container = {
        "name": "ray-head",
        "image": f"whisper-ox:{__version__}",
        "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
        "env": [
            *({"name": name, "value": value} for name, value in ENVIRONMENT.items()),
            {
                "name": "WHISPER_API_KEY",
                "valueFrom": {
                    "secretKeyRef": {"name": "whisper-ox", "key": "api-key", "optional": True}
                },
            },
        ],
        "resources": {
            "requests": {"cpu": str(cpus), "memory": memory},
            "limits": {"cpu": str(cpus), "memory": memory},
        },
        "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    head = {
        "rayStartParams": {"dashboard-host": "0.0.0.0"},
        "template": {
            "spec": {
                "containers": [container],
                "volumes": [
                    {"name": "models", "persistentVolumeClaim": {"claimName": "whisper-ox-models"}}
                ],
            }
        },
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": f"whisper-ox-{profile}"},
        "spec": {
            "serveConfigV2": _LiteralText(profile_path(profile).read_text(encoding="utf-8")),
            "rayClusterConfig": {"rayVersion": version("ray"), "headGroupSpec": head},
        },
    }


def main() -> int:
    """Print the manifest of the profile that the first argument names."""
    profile = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    print(f"# Written by `make docs` from configs/{profile}.yaml; see k8s/README.md.")
    print(yaml.safe_dump(manifest(profile), sort_keys=False, width=120), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
