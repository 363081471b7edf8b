"""Azure Speech: fast transcription of a form's file, and the REST API for short audio.

docs/azure-speech.md says what each parameter does here. The routes are not in our OpenAPI document:
Microsoft's own describes them.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse
from typing_extensions import override

from serve_app.api.call import Call, CallContext
from serve_app.api.edge.state import RequestState
from serve_app.api.facades.mapped_options import mapped_options
from serve_app.api.render.azure_speech import recognition, transcription
from serve_app.api.sources.form import read_form
from serve_app.api.sources.form_values import Texts
from serve_app.api.sources.json_object import read_json_object
from serve_app.api.sources.query import query_pairs
from serve_app.api.sources.raw_body import OnHead, read_raw_body
from serve_app.api.sources.remote import RemoteAudio
from serve_app.errors import InvalidOption
from serve_app.options import OptionLimits, ParsedOptions, read_values
from serve_app.options.kinds import Choice, Kind
from serve_app.options.language import language_code

AUDIO, DEFINITION = "audio", "definition"
"""The parts of a form. Microsoft's client sends both without a file name or a type."""

CALLERS_NAMES = {"language": "locales", "hotwords": "phraseList", "task": "enhancedMode"}
"""Our options and the members of the definition that ask for them."""

_OFF: tuple[object, ...] = (None, "", "None", [], {})


def install_azure_speech(app: FastAPI, context: CallContext) -> None:
    """Answer Azure Speech's requests that are not WebSockets, with any ``api-version``."""
    limits = context.settings.options
    remote = RemoteAudio(context.settings.remote, context.settings.http.max_body_bytes)
    router = APIRouter(include_in_schema=False)

    async def read(
        request: Request, on_head: OnHead
    ) -> tuple[bytearray, dict[str, Any], list[str]]:
        """The audio, the definition, which may say where the audio is, and the names of all other
        parts.
        """
        form = await read_form(request, on_head, text_names=(DEFINITION,), file_name=AUDIO)
        text = dict(form.texts()).get(DEFINITION)
        definition = read_json_object(
            text, DEFINITION, limits.max_json_characters, example='{"locales": ["en-US"]}'
        )
        others = [name for name, _ in form.texts() if name != DEFINITION]
        url = definition.get("audioUrl")
        if form.files or not isinstance(url, str):
            return form.audio(), definition, [*others, *form.unread_files()]
        del definition["audioUrl"]
        audio = await remote.fetch(url, on_head, RequestState.of(request.scope).hold)
        return audio, definition, others

    @router.post("/speechtotext/transcriptions:transcribe")
    async def transcribe(request: Request) -> JSONResponse:
        call = Call(request, context)
        audio, definition, unread = await call.receive(read)
        locales, options = _asked(definition, unread, limits)
        try:
            transcript = await call.transcribe(audio, options)
        except InvalidOption as wrong:
            raise wrong.renamed(CALLERS_NAMES) from None
        heard = "en" if options.options.task == "translate" else transcript.language
        locale = next((one for one in locales if language_code(one) == heard), heard)
        return JSONResponse(transcription(transcript, locale), headers=call.headers)

    @router.post("/speech/recognition/{mode}/cognitiveservices/v1")
    async def recognise(request: Request) -> JSONResponse:
        call = Call(request, context)
        query = dict(query_pairs(request))
        is_detailed = read_values(_Query, query, limits).format == "detailed"
        values = {name: text for name, text in query.items() if name not in _Query.model_fields}
        options = mapped_options(values, {"word_timestamps": True}, {}, limits)
        transcript = await call.transcribe(await call.receive(read_raw_body), options)
        return JSONResponse(recognition(transcript, is_detailed=is_detailed), headers=call.headers)

    app.include_router(router)


def _asked(
    definition: Mapping[str, Any], unread: Iterable[str], limits: OptionLimits
) -> tuple[tuple[str, ...], ParsedOptions]:
    """The locales and the options that a definition asks for. ``unread`` parts are ignored.

    Members that Azure does not have are options of our own (docs/options.md) or ignored.
    """
    fields = read_values(_Definition, definition, limits)
    own = {
        name: value
        for name, value in definition.items()
        if name not in _Definition.model_fields and value not in _OFF
    }
    mapped = {
        "task": fields.enhancedMode,
        # Whisper takes no candidates: of several the language is detected.
        "language": fields.locales[0] if len(fields.locales) == 1 else None,
        "hotwords": ", ".join(fields.phraseList) or None,
        "word_timestamps": True,
    }
    return fields.locales, mapped_options(own, mapped, CALLERS_NAMES, limits, unread)


class _Phrases(Texts):
    """Words to expect."""

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[str, ...]:
        if not isinstance(value, dict):
            raise ValueError
        return super().read(value.get("phrases") or [], limits)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return 'an object with "phrases", a list of texts'


class _Enhanced(Kind):
    """What Azure gives a language model to do; Whisper can translate into English."""

    @override
    def read(self, value: object, limits: OptionLimits) -> str | None:
        if not isinstance(value, dict):
            raise ValueError
        task, target = value.get("task") or None, value.get("targetLanguage") or "en"
        if task == "translate" and language_code(str(target)) != "en":
            raise ValueError("Whisper translates into English only")
        if task not in (None, "transcribe", "translate"):
            raise ValueError
        return task

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return 'an object with "task": "transcribe" or "translate"'


class _Definition(BaseModel):
    """The members of a definition that mean something here, under Azure's names."""

    locales: Annotated[tuple[str, ...], Texts()] = ()
    phraseList: Annotated[tuple[str, ...], _Phrases()] = ()
    enhancedMode: Annotated[str | None, _Enhanced()] = None


class _Query(BaseModel):
    """The parameter of short audio apart from ``language``."""

    format: Annotated[str, Choice(("simple", "detailed"))] = "simple"
