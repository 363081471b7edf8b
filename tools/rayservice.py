"""``python -m tools.rayservice cpu``: prints a profile as a patch of the RayService.

Format: KubeRay 1.x, ``ray.io/v1`` RayService; ``serveConfigV2`` is the profile's own text. The rest
of the RayService is in ``k8s/base`` and ``k8s/overlays``.
"""

import sys
from typing import Any

import yaml

from serve_app.serving.profile import load_profile, profile_path

NAME = "whisper-ox"
"""The name of the RayService in ``k8s/base``."""


class _LiteralText(str):
    """Text that YAML writes as a block."""


def _show_literal(dumper: yaml.SafeDumper, text: _LiteralText) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


yaml.SafeDumper.add_representer(_LiteralText, _show_literal)


def serve_config_patch(profile: str) -> dict[str, Any]:
    """The part of the RayService that a profile decides; kustomize merges it into ``k8s/base``.

    Raises ``InvalidProfile``.
    """
    load_profile(profile)
    text = profile_path(profile).read_text(encoding="utf-8")
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": NAME},
        "spec": {"serveConfigV2": _LiteralText(text)},
    }


def main() -> int:
    """Print the patch of the profile that the first argument names."""
    profile = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    print(f"# Written by `python -m tools.rayservice {profile}`, as `make docs` runs it.")
    print(yaml.safe_dump(serve_config_patch(profile), sort_keys=False, width=120), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
