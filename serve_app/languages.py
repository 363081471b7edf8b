"""The languages Whisper speaks: codes, English names and the other names people use for them.

Codes and names are those of the tokenizer that OpenAI published with Whisper
(``whisper/tokenizer.py``: ``LANGUAGES`` and ``TO_LANGUAGE_CODE``). ``yue`` came with large-v3.
"""

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
"""ISO 639 codes, today's and withdrawn ones, that Whisper writes differently."""

_BY_NAME = {
    **{name: code for code, name in LANGUAGES.items()},
    **_OTHER_NAMES,
    **_OTHER_CODES,
    **{code: code for code in LANGUAGES},
}


def language_code(text: str) -> str | None:
    """Whisper's code for a code, an English name or a regional tag; None if it is no such thing.

    ``"DE"``, ``"German"``, ``"de-CH"`` and ``"de_CH.UTF-8"`` all give ``"de"``. Of a tag (BCP 47)
    the first part counts, save for Cantonese written as an extension of Chinese (``zh-yue``).
    """
    name = text.strip().lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    first, *rest = name.replace("_", "-").split("-")
    if first == "zh" and rest[:1] == ["yue"]:
        return "yue"
    # A name never has a region behind it, so only codes (two or three letters) are cut.
    return _BY_NAME.get(first) if len(first) <= 3 else None
