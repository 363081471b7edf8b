"""The protocol in CONTRIBUTING.md works as printed."""

import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from serve_app.api.call import CallContext
from serve_app.api.edge.edge import Edge
from serve_app.api.edge.quotas import Quotas
from serve_app.api.model_table import ModelTable
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.pool import DecodingPool
from serve_app.live.sessions import Sessions
from serve_app.metrics import NO_METRICS
from serve_app.settings import AppSettings
from tests.unit.asgi import edge_parts
from tests.unit.deaf_service import DeafService

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def test_the_toy_protocol_of_the_page_answers() -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) < 80
    toy: dict[str, Any] = {}
    exec(code, toy)
    app = FastAPI()
    settings = AppSettings()
    decoding = DecodingPool(settings.audio, settings.decoding)
    models = ModelTable(settings, DeafService())
    sessions = Sessions(settings.live)
    context = CallContext(models, settings, Quotas(), NO_METRICS, decoding, sessions)
    toy["install_lines"](app, context)
    app.add_middleware(Edge, **edge_parts())
    client = TestClient(app)
    audio = {"file": GOLDEN_CLIP.read_bytes()}
    heard = client.post("/lines", files=audio, data={"lang": "en"})
    assert (heard.status_code, heard.text) == (200, "")
    assert "receive" in heard.headers["Server-Timing"]
    refused = client.post("/lines", files=audio, data={"lang": "klingon"})
    assert refused.json()["error"]["message"].startswith("generate_kwargs.lang: ")
