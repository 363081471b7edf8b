"""Kubernetes manifests as kustomize builds them, and the schemas that they must meet."""

import copy
import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[2] / "k8s"
CRD = Path(__file__).parents[3] / "shared" / "kuberay" / "ray.io_rayservices.yaml"
"""KubeRay's own, beside this checkout where there is one."""

Manifest = dict[str, Any]


@functools.cache
def built(directory: Path) -> tuple[Manifest, ...]:
    """The output of ``kustomize build`` for a directory. Skips if there is no kustomize."""
    if kustomize := shutil.which("kustomize"):
        command = [kustomize, "build"]
    elif kubectl := shutil.which("kubectl"):
        command = [kubectl, "kustomize"]
    else:
        pytest.skip("neither kustomize nor kubectl is here")
    ended = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return tuple(yaml.safe_load_all(ended.stdout))


def with_component(profile: str, component: str, directory: Path) -> tuple[Manifest, ...]:
    """An overlay with a component, as a kustomization of one's own in ``directory`` has it."""
    relative = Path(os.path.relpath(K8S, directory))
    kustomization = {
        "resources": [str(relative / "overlays" / profile)],
        "components": [str(relative / "components" / component)],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return built(directory)


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    """The resources of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def rayservice(manifests: tuple[Manifest, ...]) -> Manifest:
    """The ``spec`` of the one RayService."""
    (found,) = of_kind(manifests, "RayService")
    spec: Manifest = found["spec"]
    return spec


def pod_templates(spec: Manifest) -> dict[str, Manifest]:
    """Pod templates of a RayService's head and workers."""
    cluster = spec["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"]["template"], "workers": workers["template"]}


def strict(schema: Manifest) -> Manifest:
    """A CRD's schema that refuses what an API server would drop without a word: unknown keys.

    Format: Kubernetes' structural schemas (OpenAPI v3 with ``x-kubernetes-*``).
    """
    closed = copy.deepcopy(schema)
    _close(closed)
    return closed


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        if schema.pop("x-kubernetes-int-or-string", False):
            schema.pop("type", None)
            schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        open_to_all = schema.get("x-kubernetes-preserve-unknown-fields", False)
        if isinstance(schema.get("properties"), dict) and not open_to_all:
            schema.setdefault("additionalProperties", False)
        for one in schema.values():
            _close(one)


@functools.cache
def rayservice_schema() -> Manifest:
    """The strict JSON schema of ``ray.io/v1`` RayService. Skips if KubeRay's CRD is not
    available.
    """
    if not CRD.is_file():
        pytest.skip("no CRD of KubeRay beside this checkout")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a megabyte of YAML
    document = yaml.load(CRD.read_text(), Loader=loader)
    (version,) = [one for one in document["spec"]["versions"] if one["name"] == "v1"]
    schema: Manifest = version["schema"]["openAPIV3Schema"]
    # The API server's own business; the CRD leaves it open.
    schema["properties"]["metadata"] = {"x-kubernetes-preserve-unknown-fields": True}
    return strict(schema)
