"""Every provider of LiteLLM that Whisper OX can stand in for; prints {call: text} as JSON.

usage: python calls.py URL AUDIO_FILE, in an environment of its own (requirements.txt)
"""

import asyncio
import json
import sys
from typing import Any

import litellm
import openai

URL, AUDIO = sys.argv[1:]
KEY = "any"
PROVIDERS: dict[str, dict[str, Any]] = {
    "openai/whisper-1": {"api_base": f"{URL}/v1"},
    "hosted_vllm/whisper-1": {"api_base": f"{URL}/v1"},
    "groq/whisper-large-v3": {"api_base": f"{URL}/openai/v1"},
    "azure/whisper": {"api_base": URL, "api_version": "2024-10-21"},
    "deepgram/whisper": {"api_base": f"{URL}/v1"},
    "elevenlabs/scribe_v1": {"api_base": URL},
}


def heard(model: str, **more: Any) -> Any:
    with open(AUDIO, "rb") as file:
        return litellm.transcription(
            model=model, file=file, api_key=KEY, max_retries=0, **PROVIDERS[model], **more
        )


async def heard_later(model: str) -> Any:
    with open(AUDIO, "rb") as file:
        return await litellm.atranscription(model=model, file=file, api_key=KEY, **PROVIDERS[model])


def words() -> str:
    answer = heard(
        "openai/whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )
    return " ".join(word["word"] for word in answer["words"])


def refused() -> str:
    try:
        return str(heard("openai/whisper-1", temperature=7))
    except openai.BadRequestError as error:
        return f"{type(error).__name__} {error.status_code}"


def main() -> None:
    calls: dict[str, Any] = {model: lambda model=model: heard(model).text for model in PROVIDERS}
    calls |= {
        "asynchronous": lambda: asyncio.run(heard_later("openai/whisper-1")).text,
        "verbose_json": words,
        "temperature 7": refused,
    }
    found = {}
    for name, call in calls.items():
        try:
            found[name] = call()
        except Exception as error:
            found[name] = f"FAILED {error!r}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
