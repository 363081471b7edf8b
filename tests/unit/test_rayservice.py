"""The Kubernetes manifests carry the profiles that the tests check."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.rayservice import manifest

K8S = Path(__file__).parents[2] / "k8s"
PROFILES = [path.stem.removeprefix("rayservice-") for path in K8S.glob("rayservice-*.yaml")]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_committed_manifest_is_the_one_its_profile_yields(profile: str) -> None:
    committed = yaml.safe_load((K8S / f"rayservice-{profile}.yaml").read_text())
    assert committed == yaml.safe_load(yaml.safe_dump(manifest(profile)))


def test_the_cpu_manifest_serves_on_the_port_that_it_opens() -> None:
    document: dict[str, Any] = manifest("cpu")
    config = yaml.safe_load(document["spec"]["serveConfigV2"])
    container = document["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"][
        "containers"
    ][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config["http_options"] == {"host": "0.0.0.0", "port": ports["serve"]}
