"""The Kubernetes manifests are valid and agree with code and profiles."""

import re
from importlib.metadata import version
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from serve_app import __version__
from serve_app.environment import SET_BY_EVERY_SERVER
from serve_app.serving.profile import InvalidProfile, load_profile, profile_path
from serve_app.serving.ray_internals import SERVES_HEADERS
from tests.unit.manifests import (
    K8S,
    Manifest,
    built,
    of_kind,
    pod_templates,
    rayservice,
    rayservice_schema,
    with_component,
)
from tools.rayservice import serve_config_patch
from tools.variables import HUGGING_FACES, OURS, RAYS

PROFILES = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
BUILDS = [*(K8S / "overlays" / name for name in PROFILES), K8S / "example", K8S / "model-loader"]
KUBERNETES = ("1.30", "1.37")
OTHERS_KINDS = {"RayService", "PodMonitor", "PrometheusRule", "Gateway", "HTTPRoute", "Middleware"}
"""Custom resources; of these only RayService has a schema here."""

GIB = 2**30
RAY_AND_SERVE_GIB = 1.1
MODEL_PROCESS_GIB = {"base": 2.0, "large-v3": 3.2}
"""The profiles' own estimates; each profile adds up its memory in its first lines."""
BYTES_PER_QUEUED_SECOND = 32_000

each_profile = pytest.mark.parametrize("profile", PROFILES)
each_component = pytest.mark.parametrize("component", COMPONENTS)


def overlay(profile: str) -> tuple[Manifest, ...]:
    return built(K8S / "overlays" / profile)


def workers_of(profile: str) -> tuple[int, Manifest]:
    """How many workers, and the limits of each."""
    (group,) = rayservice(overlay(profile))["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    return group["replicas"], container["resources"]["limits"]


def assert_valid(manifests: tuple[Manifest, ...]) -> None:
    for manifest in manifests:
        if manifest["kind"] not in OTHERS_KINDS:
            for kubernetes in KUBERNETES:
                kubernetes_validate.validate(manifest, kubernetes, strict=True)


def assert_kuberay_takes(manifest: Manifest) -> None:
    jsonschema.Draft202012Validator(rayservice_schema()).validate(manifest)


def assert_pods_are_valid(spec: Manifest, kubernetes: str) -> None:
    for template in pod_templates(spec).values():
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        kubernetes_validate.validate(pod, kubernetes, strict=True)


def test_there_is_an_overlay_for_every_profile_but_the_laptops() -> None:
    profiles = {path.stem for path in profile_path("dev").parent.glob("*.yaml")}
    assert set(PROFILES) == profiles - {"dev"}


@each_profile
def test_a_committed_patch_is_the_one_its_profile_yields(profile: str) -> None:
    committed = yaml.safe_load((K8S / "overlays" / profile / "serve-config.yaml").read_text())
    assert committed == yaml.safe_load(yaml.safe_dump(serve_config_patch(profile)))


@pytest.mark.parametrize(
    ("cpu", "one_machine", "said"),
    [
        (
            "proxy_location: EveryNode",
            "proxy_location: HeadOnly",
            "proxy_location must be EveryNode",
        ),
        ("host: 0.0.0.0", "host: 127.0.0.1", "nobody reaches 127.0.0.1"),
        ("host: 0.0.0.0", "host: localhost", "nobody reaches localhost"),
        ("host: 0.0.0.0", "host: '::1'", "nobody reaches ::1"),
        ("num_cpus: 0.1", "num_cpus: 0", "num_cpus of Ingress must be above 0"),
    ],
)
def test_a_profile_for_one_machine_becomes_no_patch(
    cpu: str, one_machine: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(profile_path("cpu").read_text().replace(cpu, one_machine))
    with pytest.raises(InvalidProfile, match=said):
        serve_config_patch(str(path))


def test_the_page_on_several_models_says_what_a_cluster_needs(tmp_path: Path) -> None:
    page = (K8S.parent / "docs" / "several-models.md").read_text()
    [text] = re.findall(r"```yaml\n(proxy_location.*?)```", page, re.DOTALL)
    path = tmp_path / "two.yaml"
    for key, one_machine, cluster in re.findall(
        r"^\| `(\w+)`.*? \| `(.+?)` \| `(.+?)` \|", page, re.M
    ):
        path.write_text(text)
        with pytest.raises(InvalidProfile, match=key):
            serve_config_patch(str(path))
        text = text.replace(f"{key}: {one_machine}", f"{key}: {cluster}")
    path.write_text(text)
    assert serve_config_patch(str(path))["spec"] == {"serveConfigV2": text}


@each_profile
def test_the_serve_config_is_the_profiles_own_text(profile: str) -> None:
    assert rayservice(overlay(profile))["serveConfigV2"] == profile_path(profile).read_text()


@each_profile
def test_the_model_that_is_brought_is_the_one_that_is_served(profile: str) -> None:
    (config_map,) = of_kind(overlay(profile), "ConfigMap")
    assert config_map["data"] == {"name": load_profile(profile).settings.engine.model}


@each_profile
def test_the_replicas_fit_on_the_workers_while_a_redeploy_runs(profile: str) -> None:
    n_workers, limits = workers_of(profile)
    wanted = {"num_gpus": 0.0, "num_cpus": 0.0}
    for options in load_profile(profile).deployment_options.values():
        scaling = options.get("autoscaling_config") or {}
        replicas = scaling.get("max_replicas") or options["num_replicas"]
        replicas += replicas * options["max_surge_percent"] // 100
        for resource in wanted:
            wanted[resource] += replicas * options["ray_actor_options"].get(resource, 0)
    assert wanted["num_gpus"] == n_workers * int(limits.get("nvidia.com/gpu", 0))
    assert 0 < wanted["num_cpus"] <= n_workers * int(limits["cpu"])


@each_profile
def test_a_worker_has_memory_for_two_ingress_replicas_and_a_redeploy(profile: str) -> None:
    loaded = load_profile(profile)
    settings, options = loaded.settings, loaded.deployment_options
    n_models = 1 + options["Transcriber"]["max_surge_percent"] // 100
    decoding = settings.decoding
    assert decoding.workers  # else as many as the node has cores
    ingress = settings.http.max_held_bytes + decoding.workers * decoding.memory_bytes
    queued = settings.admission.max_queued_audio_seconds * BYTES_PER_QUEUED_SECOND
    (group,) = rayservice(overlay(profile))["rayClusterConfig"]["workerGroupSpecs"]
    (tmp,) = [one for one in group["template"]["spec"]["volumes"] if one["name"] == "tmp"]
    needed = (
        RAY_AND_SERVE_GIB
        + n_models * MODEL_PROCESS_GIB[settings.engine.model]
        + (queued + 2 * ingress + int(group["rayStartParams"]["object-store-memory"])) / GIB
        + int(tmp["emptyDir"]["sizeLimit"].removesuffix("Gi"))
    )
    limit = int(workers_of(profile)[1]["memory"].removesuffix("Gi"))
    assert needed <= limit
    (stated,) = re.findall(
        r"emory of (?:the|each) worker, (\d+) GiB", profile_path(profile).read_text()
    )
    assert int(stated) == limit


@each_profile
def test_every_replica_takes_cpu_which_the_head_does_not_offer(profile: str) -> None:
    cluster = rayservice(overlay(profile))["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    options = load_profile(profile).deployment_options.values()
    assert all(one["ray_actor_options"]["num_cpus"] > 0 for one in options)


@pytest.mark.parametrize("directory", BUILDS, ids=lambda path: path.name)
def test_kubernetes_takes_it(directory: Path) -> None:
    assert_valid(built(directory))


@each_profile
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_kubernetes_takes_the_pods(profile: str, kubernetes: str) -> None:
    assert_pods_are_valid(rayservice(overlay(profile)), kubernetes)


@pytest.mark.parametrize("directory", [one for one in BUILDS if one.name != "model-loader"])
def test_kuberay_takes_the_rayservice(directory: Path) -> None:
    (manifest,) = of_kind(built(directory), "RayService")
    assert_kuberay_takes(manifest)


@each_component
def test_a_component_fits_an_overlay(component: str, tmp_path: Path) -> None:
    manifests = with_component("gpu-t4", component, tmp_path)
    assert manifests != overlay("gpu-t4")
    assert_valid(manifests)
    (manifest,) = of_kind(manifests, "RayService")
    assert_pods_are_valid(manifest["spec"], KUBERNETES[-1])
    assert_kuberay_takes(manifest)


@each_profile
def test_versions_are_those_of_the_code(profile: str) -> None:
    spec = rayservice(overlay(profile))
    assert spec["rayClusterConfig"]["rayVersion"] == version("ray")
    gpu = "-gpu" if load_profile(profile).settings.engine.device == "cuda" else ""
    for template in pod_templates(spec).values():
        images = {container["image"] for container in template["spec"]["containers"]}
        assert images == {f"whisper-ox:{__version__}{gpu}"}


def test_the_pods_set_variables_that_are_known_and_leave_the_images_to_it() -> None:
    known = {variable.name for variable in (*OURS, *RAYS, *HUGGING_FACES)}
    for template in pod_templates(rayservice(overlay("cpu"))).values():
        (container,) = template["spec"]["containers"]
        given = {one["name"] for one in container["env"]}
        assert given <= known - SET_BY_EVERY_SERVER.keys()


def test_no_pod_starts_without_a_key() -> None:
    for template in pod_templates(rayservice(overlay("cpu"))).values():
        (container,) = template["spec"]["containers"]
        (key,) = [one for one in container["env"] if one["name"] == "WHISPER_API_KEY"]
        secret = {"name": "whisper-ox", "key": "WHISPER_API_KEY"}
        assert key["valueFrom"] == {"secretKeyRef": secret}
        assert container["envFrom"] == [{"secretRef": {"name": "whisper-ox"}}]


def test_the_served_port_is_the_profiles() -> None:
    for profile in PROFILES:
        spec = rayservice(overlay(profile))
        served = load_profile(profile).config.http_options.port
        assert spec["serveService"]["spec"]["ports"] == [{"name": "serve", "port": served}]
        for template in pod_templates(spec).values():
            ports = template["spec"]["containers"][0]["ports"]
            assert {"name": "serve", "containerPort": served} in ports


def test_a_worker_is_ready_when_the_model_is_and_the_head_without_it() -> None:
    templates = pod_templates(rayservice(overlay("gpu-a10g")))
    (worker,) = templates["workers"]["spec"]["containers"]
    assert worker["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "serve"}
    (head,) = templates["head"]["spec"]["containers"]
    assert not {"readinessProbe", "livenessProbe", "startupProbe"} & head.keys()


@pytest.mark.parametrize("directory", [K8S / "overlays" / "cpu", K8S / "example"])
def test_nothing_is_open_that_no_policy_opens(directory: Path) -> None:
    policies = [one["spec"] for one in of_kind(built(directory), "NetworkPolicy")]
    pods = {"matchLabels": {"app": "whisper-ox"}}
    assert {"podSelector": pods, "policyTypes": ["Ingress", "Egress"]} in policies
    callers = [rule for spec in policies for rule in spec.get("ingress", ())]
    assert all(rule["from"] for rule in callers)
    for template in pod_templates(rayservice(built(directory))).values():
        assert template["metadata"]["labels"] == pods["matchLabels"]


def test_prometheus_scrapes_the_pods_and_the_ports_there_are() -> None:
    (monitor,) = of_kind(built(K8S / "example"), "PodMonitor")
    for template in pod_templates(rayservice(built(K8S / "example"))).values():
        labels = template["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert {one["port"] for one in monitor["spec"]["podMetricsEndpoints"]} <= ports


def test_the_edge_takes_off_what_our_proxies_do(tmp_path: Path) -> None:
    ours = {name.decode() for name in SERVES_HEADERS}
    (route,) = of_kind(built(K8S / "example"), "HTTPRoute")
    (taken_off,) = route["spec"]["rules"][0]["filters"]
    assert ours <= set(taken_off["requestHeaderModifier"]["remove"])
    (middleware,) = of_kind(with_component("cpu", "ingress", tmp_path), "Middleware")
    emptied = middleware["spec"]["headers"]["customRequestHeaders"]
    assert ours <= {name for name, value in emptied.items() if value == ""}


def test_an_image_of_a_registry_replaces_every_one() -> None:
    spec = rayservice(built(K8S / "example"))
    images = {
        container["image"].rpartition(":")[0]
        for template in pod_templates(spec).values()
        for key in ("containers", "initContainers")
        for container in template["spec"].get(key, ())
    }
    registry = "registry.example.org"
    assert images == {f"{registry}/whisper-ox", f"{registry}/whisper-ox-models"}


@pytest.mark.parametrize(
    ("profile", "strategy"),
    [
        ("cpu", "NewCluster"),
        ("gpu-t4", "None"),
        ("gpu-a10g", "None"),
        ("gpu-a10g-multi", "NewCluster"),
    ],
)
def test_an_upgrade_needs_no_gpu_that_the_profile_has_not(profile: str, strategy: str) -> None:
    assert rayservice(overlay(profile))["upgradeStrategy"] == {"type": strategy}


def test_with_a_spare_gpu_a_second_cluster_takes_over(tmp_path: Path) -> None:
    manifests = with_component("gpu-t4", "spare-gpu", tmp_path)
    assert rayservice(manifests)["upgradeStrategy"] == {"type": "NewCluster"}


def test_a_bundled_model_needs_no_claim(tmp_path: Path) -> None:
    manifests = with_component("gpu-a10g-multi", "bundled-model", tmp_path)
    assert of_kind(manifests, "PersistentVolumeClaim") == []
    workers = pod_templates(rayservice(manifests))["workers"]["spec"]
    volumes = {volume["name"]: volume for volume in workers["volumes"]}
    assert "emptyDir" in volumes["models"]
