"""Whisper's languages: codes, English names, other names, and the option that takes them.

Codes and names are those of the tokenizer that OpenAI published with Whisper
(``whisper/tokenizer.py``: ``LANGUAGES`` and ``TO_LANGUAGE_CODE``). ``yue`` came with large-v3.
"""

import difflib
from dataclasses import dataclass

from typing_extensions import override

from serve_app.options.kinds import Kind
from serve_app.options.limits import OptionLimits

LANGUAGES = {
    "af": "afrikaans", "am": "amharic", "ar": "arabic", "as": "assamese", "az": "azerbaijani",
    "ba": "bashkir", "be": "belarusian", "bg": "bulgarian", "bn": "bengali", "bo": "tibetan",
    "br": "breton", "bs": "bosnian", "ca": "catalan", "cs": "czech", "cy": "welsh",
    "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fo": "faroese",
    "fr": "french", "gl": "galician", "gu": "gujarati", "ha": "hausa", "haw": "hawaiian",
    "he": "hebrew", "hi": "hindi", "hr": "croatian", "ht": "haitian creole", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "is": "icelandic", "it": "italian", "ja": "japanese",
    "jw": "javanese", "ka": "georgian", "kk": "kazakh", "km": "khmer", "kn": "kannada",
    "ko": "korean", "la": "latin", "lb": "luxembourgish", "ln": "lingala", "lo": "lao",
    "lt": "lithuanian", "lv": "latvian", "mg": "malagasy", "mi": "maori", "mk": "macedonian",
    "ml": "malayalam", "mn": "mongolian", "mr": "marathi", "ms": "malay", "mt": "maltese",
    "my": "myanmar", "ne": "nepali", "nl": "dutch", "nn": "nynorsk", "no": "norwegian",
    "oc": "occitan", "pa": "punjabi", "pl": "polish", "ps": "pashto", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sa": "sanskrit", "sd": "sindhi", "si": "sinhala",
    "sk": "slovak", "sl": "slovenian", "sn": "shona", "so": "somali", "sq": "albanian",
    "sr": "serbian", "su": "sundanese", "sv": "swedish", "sw": "swahili", "ta": "tamil",
    "te": "telugu", "tg": "tajik", "th": "thai", "tk": "turkmen", "tl": "tagalog",
    "tr": "turkish", "tt": "tatar", "uk": "ukrainian", "ur": "urdu", "uz": "uzbek",
    "vi": "vietnamese", "yi": "yiddish", "yo": "yoruba", "yue": "cantonese", "zh": "chinese",
}  # fmt: skip
"""Whisper's code of each language, and its English name."""

_OTHER_NAMES = {
    "burmese": "my", "castilian": "es", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb",
    "mandarin": "zh", "moldavian": "ro", "moldovan": "ro", "panjabi": "pa", "pushto": "ps",
    "sinhalese": "si", "valencian": "ca",
}  # fmt: skip
"""OpenAI's aliases."""

_OTHER_CODES = {
    "cmn": "zh", "fil": "tl", "in": "id", "iw": "he", "ji": "yi", "jv": "jw", "mo": "ro",
    "nb": "no",
}  # fmt: skip
"""Current and withdrawn ISO 639 codes that Whisper writes differently."""

_BY_NAME = {
    **{name: code for code, name in LANGUAGES.items()},
    **_OTHER_NAMES,
    **_OTHER_CODES,
    **{code: code for code in LANGUAGES},
}


def language_code(text: str) -> str | None:
    """Whisper's code for a code, an English name or a regional tag; None for anything else.

    ``"DE"``, ``"German"``, ``"de-CH"`` and ``"de_CH.UTF-8"`` all give ``"de"``. Only the first part
    of a tag (BCP 47) counts, except for Cantonese as an extension of Chinese (``zh-yue``).
    """
    name = text.strip().lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    first, *rest = name.replace("_", "-").split("-")
    if first == "zh" and rest[:1] == ["yue"]:
        return "yue"
    # Only codes, two or three letters long, have a region after them; names do not.
    return _BY_NAME.get(first) if len(first) <= 3 else None


@dataclass(frozen=True)
class Language(Kind):
    """A language; "auto" and the empty string mean that it is to be detected."""

    @override
    def read(self, value: object, limits: OptionLimits) -> str | None:
        if not isinstance(value, str):
            raise ValueError
        if value.strip().lower() in ("", "auto"):
            return None
        code = language_code(value)
        if code is None:
            raise ValueError(*_closest(value))
        return code

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return (
            'null or "auto" to detect it, the English name of a language or one of the codes '
            + ", ".join(sorted(LANGUAGES))
        )


def _closest(language: str) -> tuple[str, ...]:
    names = [*LANGUAGES, *LANGUAGES.values()]
    close = difflib.get_close_matches(language.strip().lower()[:40], names, n=1, cutoff=0.7)
    return (f'the closest is "{close[0]}"',) if close else ()
