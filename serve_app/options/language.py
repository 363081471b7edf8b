"""Whisper's languages: codes, English names, other names, and the option that takes them.

Codes and names are those of the tokenizer that OpenAI published with Whisper
(``whisper/tokenizer.py``: ``LANGUAGES`` and ``TO_LANGUAGE_CODE``). ``yue`` came with large-v3.
"""

import difflib
import re
from dataclasses import dataclass

import langcodes
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

_OTHER_CODES = {
    "cmn": "zh", "fil": "tl", "flemish": "nl", "in": "id", "iw": "he", "ji": "yi", "jv": "jw",
    "mo": "ro", "moldavian": "ro", "moldovan": "ro", "nb": "no", "valencian": "ca",
}  # fmt: skip
"""Codes and names that ISO 639 gives to other languages than Whisper does, or has withdrawn."""

_DETECTED = frozenset(
    {"", "auto", "automatic", "detect", "mul", "multi", "multilingual", "none", "null", "und"}
)
"""What callers write if the language must be detected. ISO 639 itself has und and mul."""

LONGEST_NAME = 60
"""In characters. No name of a language is longer."""

_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*(?:\.|$)")
"""BCP 47, or a POSIX locale. The group is the code of the language."""

_BY_NAME = {
    **{name: code for code, name in LANGUAGES.items()},
    **_OTHER_CODES,
    **{code: code for code in LANGUAGES},
}


def language_code(text: str) -> str | None:
    """Whisper's code for a code, a name or a regional tag of a language; None for anything else.

    ``"DE"``, ``"deu"``, ``"German"``, ``"Deutsch"``, ``"de-CH"``, ``"de_CH.UTF-8"`` and Whisper's
    own token ``"<|de|>"`` all give ``"de"``. Only the first part of a tag (BCP 47) counts, except
    for Cantonese as an extension of Chinese (``zh-yue``).
    """
    name = text.strip().removeprefix("<|").removesuffix("|>").lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    first, *rest = name.partition(".")[0].replace("_", "-").split("-")
    if first == "zh" and rest[:1] == ["yue"]:
        return "yue"
    if len(first) <= 3 and first in _BY_NAME:  # only codes have a region after them
        return _BY_NAME[first]
    language = _known_language(name)
    return None if language is None else _BY_NAME.get(language.language or "")


def three_letters(code: str) -> str:
    """ISO 639-3's code for one of Whisper's."""
    return str(langcodes.get(code).to_alpha3())


def _known_language(name: str) -> langcodes.Language | None:
    """The language that ISO 639 or the Unicode CLDR knows by a code or a name in any language."""
    if len(name) > LONGEST_NAME:
        return None
    # langcodes keeps every tag that it has seen, so it sees only the part that names the language.
    tag = _TAG.match(name)
    try:
        found = tag[1] if tag else langcodes.find(name)
    except LookupError:
        return None
    return langcodes.get(langcodes.standardize_tag(found, macro=True))


@dataclass(frozen=True)
class Language(Kind):
    """A language. "auto" and the empty string mean that it must be detected."""

    @override
    def read(self, value: object, limits: OptionLimits) -> str | None:
        if not isinstance(value, str):
            raise ValueError
        if value.strip().lower() in _DETECTED:
            return None
        code = language_code(value)
        if code is None:
            raise ValueError(*_hint(value))
        return code

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return (
            'null or "auto" to detect it, the name of a language, its ISO 639 code or one of '
            "Whisper's codes " + ", ".join(sorted(LANGUAGES))
        )


def _hint(value: str) -> tuple[str, ...]:
    name = value.strip().lower()[:LONGEST_NAME]
    language = _known_language(name)
    if language is not None and language.is_valid():
        return (f"Whisper does not know {language.display_name()}",)
    close = difflib.get_close_matches(name, LANGUAGES.values(), n=1, cutoff=0.7)
    return (f'the closest is "{close[0]}"',) if close else ()
