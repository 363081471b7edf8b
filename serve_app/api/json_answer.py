"""JSON in an HTTP answer that may tell a client's own text back."""

import json
from typing import Any

from starlette.responses import JSONResponse
from typing_extensions import override


class JsonAnswer(JSONResponse):
    """JSON with "?" for half of a surrogate pair, which JSON can escape and UTF-8 cannot hold."""

    @override
    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(errors="replace")
