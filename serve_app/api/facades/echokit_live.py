"""EchoKit's voice activity detection on a stream: samples in, ``speech_start`` and ``speech_end``
out. The protocol is that of its silero_vad_server; docs/echokit.md.
"""

import json

from fastapi import APIRouter, FastAPI
from starlette.websockets import WebSocket

from serve_app.api.call import CallContext
from serve_app.api.live_call import LiveCall
from serve_app.audio.pcm import PcmStream
from serve_app.errors import WhisperOxError
from serve_app.live.options import LiveOptions
from serve_app.live.voice import Voice

PATH = "/v1/audio/realtime_vad"

OPTIONS = LiveOptions(threshold=0.5, min_speech_seconds=0.25)
"""Those of EchoKit's server."""

FAILURE = "VAD processing error"
"""What EchoKit's server calls every error."""


def install_echokit_live(app: FastAPI, context: CallContext) -> None:
    """Tell when somebody begins to speak and when they stop, in 16 kHz mono int16."""
    router = APIRouter(include_in_schema=False)

    @router.websocket(PATH)
    async def detect(socket: WebSocket) -> None:
        call, voice = LiveCall(socket, context), Voice(OPTIONS)
        pcm = PcmStream("pcm16", 16_000, 1)

        async def exchange() -> None:
            await call.accept()
            while (data := await call.receive()) is not None:
                if isinstance(data, bytes):
                    await call.feed(voice, pcm.feed(data))
                elif data.strip() == "reset":
                    voice.reset()
                for begins in voice.changes():
                    event = "speech_start" if begins else "speech_end"
                    await socket.send_text(_json({"event": event}))

        async def tell(error: WhisperOxError) -> None:
            await socket.send_text(_json({"error": FAILURE, "message": error.message}))

        try:
            await call.check(OPTIONS)
        except Exception as error:
            await call.refuse(error)
            return
        await call.serve(voice, exchange, tell)

    app.include_router(router)


def _json(message: dict[str, str]) -> str:
    """As EchoKit's server writes it, byte for byte."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
