"""``python -m tools.rayservice cpu``: prints a profile as a patch of the RayService.

Format: KubeRay 1.x, ``ray.io/v1`` RayService; ``serveConfigV2`` is the profile's own text. The rest
of the RayService is in ``k8s/base`` and ``k8s/overlays``.
"""

import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import yaml
from ray.serve.config import ProxyLocation

from serve_app.serving.profile import InvalidProfile, Profile, load_profile, profile_path

NAME = "whisper-ox"
"""The name of the RayService in ``k8s/base``."""


class _LiteralText(str):
    """Text that YAML writes as a block."""


def _show_literal(dumper: yaml.SafeDumper, text: _LiteralText) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


yaml.SafeDumper.add_representer(_LiteralText, _show_literal)


def serve_config_patch(profile: str) -> dict[str, Any]:
    """The part of the RayService that a profile decides; kustomize merges it into ``k8s/base``.

    Raises ``InvalidProfile``, also for a profile that only works on one machine.
    """
    path = profile_path(profile)
    if wrong := [*_only_for_one_machine(load_profile(profile))]:
        raise InvalidProfile(f"{path}: on a cluster {'; '.join(wrong)}")
    text = path.read_text(encoding="utf-8")
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": NAME},
        "spec": {"serveConfigV2": _LiteralText(text)},
    }


def _only_for_one_machine(profile: Profile) -> Iterator[str]:
    if profile.config.proxy_location != ProxyLocation.EveryNode:
        yield "proxy_location must be EveryNode, because the Service leaves out the head"
    host = profile.config.http_options.host
    if _is_loopback(host):
        yield f"http_options.host must be 0.0.0.0, because nobody reaches {host} from outside a pod"
    for name, options in profile.deployment_options.items():
        # If it is unset, Serve takes 1.
        if (options.get("ray_actor_options") or {}).get("num_cpus") == 0:
            yield f"num_cpus of {name} must be above 0, because Ray may place it on the head"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> int:
    """Print the patch of the profile that the first argument names."""
    profile = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    try:
        patch = serve_config_patch(profile)
    except InvalidProfile as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"# Written by `python -m tools.rayservice {profile}`, as `make docs` runs it.")
    print(yaml.safe_dump(patch, sort_keys=False, width=120), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
