"""Every environment variable that matters to an operator; a test finds those that code reads."""

from typing import NamedTuple


class Variable(NamedTuple):
    """One variable. ``default`` is what holds while it is unset, "" if nothing does."""

    name: str
    default: str
    meaning: str


OURS = (
    Variable(
        "WHISPER_API_KEY",
        "",
        "If set, everything but `/`, `/health` and `/readyz` needs this key; without it and a keys "
        "file: open.",
    ),
    Variable("WHISPER_API_KEY_HEADER", "X-API-Key", "The header that carries the key."),
    Variable(
        "WHISPER_API_KEYS_FILE",
        "",
        "A file of further keys with names and quotas, read again when it changes; see "
        "[keys.md](keys.md).",
    ),
    Variable(
        "WHISPER_OX_MODELS_DIR",
        "~/.cache/whisper-ox/models",
        "Where models are kept. `XDG_CACHE_HOME` moves the default's `~/.cache`.",
    ),
    Variable(
        "WHISPER_OX_HEAD_SECONDS",
        "20",
        "Within so many seconds a connection must have sent a request's head, or it is closed.",
    ),
    Variable(
        "WHISPER_OX_MAX_HEAD_BYTES",
        "65536",
        "A longer head is refused while it comes (HAProxy: `RAY_SERVE_HAPROXY_TUNE_BUFSIZE`); not "
        "below `http.max_header_bytes`.",
    ),
    Variable("LOG_LEVEL", "", "`debug`, `info`, `warning` or `error`; overrides `log.level`."),
    Variable("LOG_FORMAT", "", "`text` or `json`; overrides `log.format`."),
)

RAYS = (
    Variable(
        "RAY_SERVE_ENABLE_HA_PROXY",
        "0",
        "`1`: HAProxy in front instead of Ray's Python proxy; less latency, more requests per "
        "second. On a cluster it must be set on every node before Ray starts.",
    ),
    Variable(
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
        "serve_app.proxy.errors:middlewares",
        "What makes Ray's own error answers JSON and bounds the heads of requests.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_BINARY_PATH",
        "serve_app/proxy/haproxy.py",
        "With HAProxy: the command that makes its error answers JSON and bounds the heads of "
        "requests, then becomes HAProxy. A path to HAProxy itself does without both.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S",
        "60",
        "With HAProxy: a connection whose request or reading stands still for so long is closed; a "
        "transcription may take longer. Above `http.upload_idle_seconds`.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE",
        "65536",
        "With HAProxy: a request's head must fit into so many bytes.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S",
        "14400",
        "With HAProxy: a change of HTTP replicas cuts off requests that are older than this many "
        "seconds. Not below `http.request_seconds`.",
    ),
    Variable(
        "RAY_SERVE_PORT_QUARANTINE_S",
        "150",
        "With HAProxy: so long the port of a stopped HTTP replica is not used again. With several "
        "applications on one cluster, set it above the variable before this one.",
    ),
    Variable(
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S",
        "20",
        "A proxy that is not up after three times as long is started anew; on a busy machine it "
        "takes a while.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_METRICS_PORT",
        "9101",
        "With HAProxy: its metrics. A second such server on one machine needs another.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_STATS_PORT",
        "8404",
        "With HAProxy: its statistics page. A second such server on one machine needs another.",
    ),
    Variable(
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
        "8500",
        "With HAProxy: the proxy that stands in while no replica answers. A second such server on "
        "one machine needs another.",
    ),
    Variable(
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT",
        "30000",
        "With HAProxy: the first port of the replicas behind it. A second such server on one "
        "machine needs another range; `RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT` ends it.",
    ),
    Variable(
        "RAY_AUTH_MODE",
        "",
        "`token`: Ray's own ports ask for a token (`RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH` or "
        "`~/.ray/auth_token`). A cluster without it trusts whoever reaches those ports.",
    ),
    Variable("RAY_USAGE_STATS_ENABLED", "0", "Ray's telemetry; `python -m serve_app` forces 0."),
    Variable(
        "RAY_USAGE_STATS_REPORT_URL",
        "http://127.0.0.1:9",
        "Where the head of a cluster whose telemetry is off reports that it is off. Nobody listens "
        "there. `python -m serve_app` starts no such process.",
    ),
    Variable("ORT_DISABLE_TELEMETRY", "1", "onnxruntime's telemetry; Whisper OX forces 1."),
    Variable(
        "RAY_automatic_object_spilling_enabled",
        "0",
        "`0`: shared memory that is full is not emptied onto a disk, so that no audio gets there.",
    ),
    Variable(
        "RAY_object_spilling_directory",
        "/dev/shm",
        "Where objects lie that the object store has no room for; a file system in memory.",
    ),
    Variable(
        "RAY_LOG_TO_STDERR", "0", "`1`: logs of every process on stderr, no files below /tmp/ray."
    ),
    Variable(
        "RAY_DEDUP_LOGS",
        "0",
        "`1`, Ray's own default: of lines that are alike only one is printed, with a count behind "
        "it that breaks JSON.",
    ),
    Variable(
        "RAY_worker_niceness", "0", "Ray's own default, 15, steps back behind every other process."
    ),
    Variable(
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S",
        "0.5",
        "How often Serve's controller looks after its replicas; Ray's own default is 0.1.",
    ),
    Variable(
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0", "`0`: under `uv run`, Ray packs no directory up."
    ),
    Variable(
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        "0",
        "`0`: Ray's own ports of a server without a cluster listen on the loopback interface.",
    ),
)

OPEN_TELEMETRYS = (
    Variable(
        "OTEL_TRACES_EXPORTER",
        "",
        "`otlp`: send traces, without an endpoint to `http://localhost:4318/v1/traces`. `none`: "
        "send none whatever else is set. Unset: only if there is an endpoint.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Send traces to this collector, for instance `https://collector:4318`; `/v1/traces` is "
        "added.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", "The same as a whole URL; goes before the other."
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/protobuf",
        "No other is here; `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` goes before it.",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "", "See `OTEL_EXPORTER_OTLP_PROTOCOL`."),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "",
        "For the collector: `name=value,name=value`, a token for instance.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "",
        "A file with the CAs that the collector's certificate may be of.",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10", "Seconds for one batch of spans."),
    Variable(
        "OTEL_TRACES_SAMPLER",
        "parentbased_always_on",
        "Which requests are traced. `parentbased_traceidratio` takes a share of those whose caller "
        "has not decided.",
    ),
    Variable("OTEL_TRACES_SAMPLER_ARG", "1.0", "That share."),
    Variable("OTEL_SERVICE_NAME", "whisper-ox", "The name of this service in traces."),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES", "", "More about this service: `deployment.environment=test`."
    ),
    Variable("OTEL_BSP_SCHEDULE_DELAY", "5000", "Milliseconds after which ended spans are sent."),
    Variable(
        "OTEL_SDK_DISABLED",
        "false",
        "`true`: no traces. Ray's metrics are made with the same SDK and end as well; "
        "`OTEL_TRACES_EXPORTER=none` leaves them.",
    ),
)

HUGGING_FACES = (
    Variable("HF_TOKEN", "", "For models behind a licence; used only to fetch them."),
    Variable("HF_ENDPOINT", "", "Another Hugging Face hub, for instance a mirror of your own."),
    Variable("HF_HUB_OFFLINE", "", "`1`: never ask Hugging Face; only models that are here serve."),
)
