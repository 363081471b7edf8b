"""Which model a request goes to, by name and by language, over services that hear nothing."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.assets import GOLDEN_CLIP
from serve_app.errors import NotReady, Overloaded, WhisperOxError
from serve_app.settings import ApiKey, AppSettings
from tests.unit.deaf_service import DeafService

SETTINGS = AppSettings.model_validate(
    {
        "models": [
            {"model": "base", "aliases": ["by-ear"]},
            {"model": "tiny.en", "languages": ["English"], "aliases": ["english deployment"]},
        ]
    }
)
AUDIO = GOLDEN_CLIP.read_bytes()


class Site:
    """A server of two models."""

    def __init__(
        self,
        base_error: WhisperOxError | None = None,
        english_error: WhisperOxError | None = None,
        settings: AppSettings = SETTINGS,
    ) -> None:
        base, english = DeafService(base_error), DeafService(english_error)
        app = build_api(base, settings, ApiKey(), others={"tiny.en": english})
        self.client = TestClient(app)

    def native(self, **options: object) -> Any:
        data = {"generate_kwargs": json.dumps(options)}
        return self.client.post("/transcribe", files={"file": AUDIO}, data=data)

    def openai(self, **fields: str) -> Any:
        path = "/v1/audio/transcriptions"
        return self.client.post(path, files={"file": AUDIO}, data=fields)

    def azure(self, deployment: str) -> Any:
        path = f"/openai/deployments/{deployment}/audio/transcriptions?api-version=2024-10-21"
        return self.client.post(path, files={"file": AUDIO})

    def deepgram(self, **query: str) -> Any:
        return self.client.post("/v1/listen", params=query, content=AUDIO)


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({}, "base"),
        ({"language": "de"}, "base"),
        ({"language": "en"}, "tiny.en"),
        ({"language": "en", "model": "base"}, "base"),
        ({"language": "en", "task": "translate"}, "base"),
        ({"language": "en", "multilingual": True}, "base"),
        ({"model": "tiny.en"}, "tiny.en"),
        ({"model": "Systran/faster-whisper-tiny.en"}, "tiny.en"),
        ({"model": "english deployment"}, "tiny.en"),
        ({"model": "by-ear", "language": "en"}, "base"),
        ({"model": "whisper-1", "language": "en"}, "tiny.en"),
    ],
)
def test_a_request_goes_to_the_model_of_its_name_or_its_language(
    options: dict[str, object], model: str
) -> None:
    answer = Site().native(**options)
    assert (answer.status_code, answer.headers["X-Model"]) == (200, model)
    assert "X-Ignored-Options" not in answer.headers


def test_every_protocol_chooses_in_its_own_way() -> None:
    site = Site()
    answers = [
        site.openai(model="tiny.en"),
        site.openai(model="whisper-1", language="en"),
        site.azure("tiny.en"),
        site.deepgram(model="tiny.en"),
        site.deepgram(model="nova-3", language="en"),
    ]
    assert [answer.headers["X-Model"] for answer in answers] == ["tiny.en"] * len(answers)


def test_an_unknown_model_is_refused_in_each_protocols_form() -> None:
    site = Site()
    native, openai, azure = (
        site.native(model="small"),
        site.openai(model="small"),
        site.azure("small"),
    )
    assert [one.status_code for one in (native, openai, azure)] == [404, 404, 404]
    assert native.json()["error"]["code"] == openai.json()["error"]["code"] == "model_not_found"
    assert azure.json()["error"]["code"] == "DeploymentNotFound"
    assert "base, tiny.en" in native.json()["error"]["message"]
    deepgram = site.deepgram(model="my-own")
    assert (deepgram.status_code, deepgram.json()["err_code"]) == (400, "Bad Request")
    wrong = site.native(model=5)
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "generate_kwargs.model")


def test_a_lone_model_is_not_chosen_and_the_option_is_ignored() -> None:
    client = TestClient(build_api(DeafService(), AppSettings(), ApiKey()))
    data = {"generate_kwargs": json.dumps({"model": "nonsense"})}
    answer = client.post("/transcribe", files={"file": AUDIO}, data=data)
    assert (answer.status_code, answer.headers["X-Ignored-Options"]) == (200, "model")


def test_the_list_has_every_model_and_every_alias() -> None:
    listed = Site().client.get("/v1/models").json()["data"]
    names = [model["id"] for model in listed]
    assert names == ["base", "tiny.en", "whisper-1", "by-ear", "english deployment"]


@pytest.mark.parametrize("error", [NotReady("gone"), Overloaded("full", retry_after_seconds=3)])
def test_trouble_of_one_model_leaves_the_requests_of_the_other_alone(error: WhisperOxError) -> None:
    site = Site(base_error=error)
    assert site.native(model="tiny.en").status_code == 200
    assert site.native(language="en").status_code == 200
    refused = [site.native(), site.azure("base")]
    assert [answer.status_code for answer in refused] == [error.status, error.status]
    assert Site(error, error).native(language="en").status_code == error.status


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ([{"model": "base"}, {"model": "base"}], "'base' is given more than once"),
        ([{"model": "base"}, {"model": "turbo", "aliases": ["base"]}], "'base'"),
        (
            [{"model": "base", "languages": ["en"]}, {"model": "tiny.en", "languages": ["en"]}],
            "'en'",
        ),
        ([{"model": "base", "languages": ["klingon"]}], "klingon"),
        ([{"languages": ["en"]}], "model"),
    ],
)
def test_models_that_cannot_be_told_apart_are_refused(
    models: list[dict[str, object]], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        AppSettings.model_validate({"models": models})


def test_a_model_has_the_shared_settings_except_its_own() -> None:
    settings = AppSettings.model_validate(
        {
            "engine": {"compute_type": "int8", "stall_seconds": 120},
            "models": [{"model": "base"}, {"model": "tiny.en", "compute_type": "float32"}],
        }
    )
    served = settings.served
    assert [one.compute_type for one in served.values()] == ["int8", "float32"]
    assert [one.stall_seconds for one in served.values()] == [120, 120]
