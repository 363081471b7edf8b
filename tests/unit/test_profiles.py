"""The profiles in ``configs/`` are valid, and every key is checked."""

import copy
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.serving import deployments
from serve_app.serving.profile import (
    QUIET,
    InvalidProfile,
    Profile,
    load_profile,
    profile_path,
)
from serve_app.settings import AppSettings

PROFILES = sorted(path.stem for path in profile_path("dev").parent.glob("*.yaml"))
SEVERAL_MODELS = Path(__file__).parents[2] / "docs" / "several-models.md"
DEV: dict[str, Any] = yaml.safe_load(profile_path("dev").read_text())

Change = Callable[[dict[str, Any]], object]


def transcriber_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["applications"][0]["deployments"][1]
    return found


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Change], Profile]:
    """Loads the profile dev with a change made to it."""

    def load(change: Change) -> Profile:
        document = copy.deepcopy(DEV)
        change(document)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(document))
        return load_profile(str(path))

    return load


def test_there_are_profiles() -> None:
    assert "dev" in PROFILES


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_that_comes_along_loads(name: str) -> None:
    profile = load_profile(name)
    assert profile.application.route_prefix == "/"


@pytest.mark.parametrize("name", PROFILES)
def test_requests_wait_in_the_engine_and_not_unseen_in_serve(name: str) -> None:
    profile = load_profile(name)
    let_in = {n: o["max_ongoing_requests"] for n, o in profile.deployment_options.items()}
    assert let_in["Ingress"] >= let_in["Transcriber"]
    assert let_in["Transcriber"] >= 1.25 * profile.settings.engine.max_concurrent_requests


@pytest.mark.parametrize("name", PROFILES)
def test_serve_logs_no_requests_on_a_cluster_either(name: str) -> None:
    logging = load_profile(name).config.logging_config
    assert logging.model_dump(exclude_unset=True) == QUIET


@pytest.mark.parametrize("change", [{}, {"log_level": "INFO"}, {"enable_access_log": True}])
def test_a_local_server_logs_what_the_profile_says(
    load: Callable[[Change], Profile], change: dict[str, Any]
) -> None:
    profile = load(lambda d: d.update(logging_config=change))
    assert profile.serve_logging == QUIET | change
    assert load(lambda d: d.pop("logging_config")).serve_logging == QUIET


@pytest.mark.parametrize("name", PROFILES)
def test_the_import_path_leads_to_the_application(name: str) -> None:
    module, _, builder = load_profile(name).application.import_path.partition(":")
    assert getattr(import_module(module), builder) is deployments.build_app


@pytest.mark.parametrize("name", PROFILES)
def test_every_deployment_is_configured(name: str) -> None:
    assert set(load_profile(name).deployment_options) == {"Ingress", "Transcriber"}


@pytest.mark.parametrize(
    ("models", "names"),
    [
        ([], ["Transcriber"]),
        (
            ["base", "Systran/faster-whisper-small"],
            ["Transcriber-base", "Transcriber-Systran-faster-whisper-small"],
        ),
    ],
)
def test_each_model_is_deployed_with_its_own_settings(models: list[str], names: list[str]) -> None:
    own = [{"model": model, "cores": number} for number, model in enumerate(models, start=1)]
    application = deployments.build_app(AppSettings.model_validate({"models": own}))
    ingress = application._bound_deployment
    _, bound = ingress.init_args
    transcribers = [one._bound_deployment for one in bound.values()]
    assert [ingress.name, *(one.name for one in transcribers)] == ["Ingress", *names]
    engines = [one.init_args[0].engine for one in transcribers]
    found = [{"model": engine.model, "cores": engine.cores} for engine in engines]
    assert found == (own or [{"model": "base", "cores": 0}])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(proxy_locatoin="HeadOnly"), "proxy_locatoin"),
        (lambda d: d["http_options"].update(prot=1), "http_options.prot"),
        (lambda d: d.update(grpc_options={"prot": 1}), "grpc_options.prot"),
        (lambda d: d.update(logging_config={"level": "INFO"}), "level"),
        (lambda d: d["applications"][0].update(arg={}), "applications[whisper-ox].arg"),
        (lambda d: d["applications"][0]["args"].update(engin={}), "args: engin"),
        (lambda d: d["applications"][0]["args"].update(http={"path": 1}), "args: http.path"),
        (lambda d: transcriber_of(d).update(replicas=1), "deployments[Transcriber].replicas"),
        (
            lambda d: transcriber_of(d)["ray_actor_options"].update(num_cpu=1),
            "deployments[Transcriber].ray_actor_options.num_cpu",
        ),
        (
            lambda d: transcriber_of(d)["request_router_config"].update(backoff_s=1),
            "deployments[Transcriber].request_router_config.backoff_s",
        ),
        (
            lambda d: transcriber_of(d).update(
                num_replicas=None, autoscaling_config={"max_replica": 2}
            ),
            "deployments[Transcriber].autoscaling_config.max_replica",
        ),
        (
            lambda d: transcriber_of(d)["user_config"].update(decode_bach=4),
            "Transcriber.user_config: decode_bach",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_place(
    load: Callable[[Change], Profile], change: Change, named: str
) -> None:
    with pytest.raises(InvalidProfile) as refused:
        load(change)
    assert named in refused.value.message
    assert "mine.yaml: " in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["http_options"].update(port="http"), "http_options.port"),
        (lambda d: d["applications"].clear(), "one application is expected"),
        (lambda d: d.pop("applications"), "applications: Field required"),
        (
            lambda d: transcriber_of(d).update(name="Transcribe"),
            "there is no deployment Transcribe",
        ),
        (lambda d: transcriber_of(d)["user_config"].update(decode_batch=0), "decode_batch"),
        (
            lambda d: transcriber_of(d)["request_router_config"].update(max_backoff_s="long"),
            "max_backoff_s",
        ),
        (
            lambda d: d["applications"][0]["deployments"][0].update(user_config={}),
            "Ingress takes no user_config",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    load: Callable[[Change], Profile], change: Change, said: str
) -> None:
    with pytest.raises(InvalidProfile) as refused:
        load(change)
    assert said in refused.value.message


@pytest.mark.parametrize("text", ["", "- a", "applications: [\n- a", "\x00", "a: b: c"])
def test_a_file_that_is_no_profile_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InvalidProfile, match=r"mine\.yaml") as refused:
        load_profile(str(path))
    assert "\n" not in refused.value.message


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidProfile, match=r"there is no profile .*no-such\.yaml"):
        load_profile("no-such")


def test_models_of_the_command_line_are_deployed_as_the_profiles_first_one_is() -> None:
    dev = load_profile("dev")
    two = dev.changed(models=["base", "tiny.en"])
    assert [*two.settings.served] == ["base", "tiny.en"]
    expected = dev.deployment_options["Transcriber"]
    assert two.deployment_options == {
        "Ingress": dev.deployment_options["Ingress"],
        "Transcriber-base": expected,
        "Transcriber-tiny.en": expected,
    }
    assert [*two.changed(models=["small"]).deployment_options] == ["Ingress", "Transcriber"]
    with pytest.raises(InvalidProfile, match=r"^--model: models: .*more than once$"):
        dev.changed(models=["base", "base"])


@pytest.mark.parametrize("models", [["larg-v3"], ["base", "larg-v3"]])
def test_a_misspelt_model_of_the_command_line_is_named(models: list[str]) -> None:
    with pytest.raises(InvalidProfile, match="no model is called 'larg-v3'; known names"):
        load_profile("dev").changed(models=models)


def test_the_profile_of_the_page_on_several_models_loads(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(proxy_location.*?)```", SEVERAL_MODELS.read_text(), re.DOTALL)
    path = tmp_path / "two.yaml"
    path.write_text(text)
    profile = load_profile(str(path))
    assert profile.replicas == {"small": 1, "tiny.en": 1}
    options = profile.deployment_options
    assert options["Transcriber-small"] == options["Transcriber-tiny.en"]
    ours = load_profile("dev").deployment_options["Transcriber"]["ray_actor_options"]
    assert options["Transcriber-small"]["ray_actor_options"] == ours
    path.write_text(text.replace("name: Transcriber-tiny.en", "name: Transcriber-tiny"))
    with pytest.raises(InvalidProfile, match="there is no deployment Transcriber-tiny;"):
        load_profile(str(path))
    path.write_text(text[: text.index("      - <<: *model")])
    with pytest.raises(InvalidProfile, match=r"deployments: Transcriber-tiny\.en is missing"):
        load_profile(str(path))


def test_what_a_profile_sets_arrives(load: Callable[[Change], Profile]) -> None:
    engine = {"model": "tiny.en", "workers": 3}
    profile = load(lambda d: d["applications"][0].update(args={"engine": engine}))
    assert (profile.settings.engine.model, profile.settings.engine.workers) == ("tiny.en", 3)
    assert profile.deployment_options["Transcriber"]["request_router_config"] == {
        "initial_backoff_s": 0.01,
        "max_backoff_s": 0.05,
    }
