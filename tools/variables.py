"""Every environment variable that matters to an operator, for docs/settings.md."""

from typing import NamedTuple

from serve_app.serving import haproxy


class Variable(NamedTuple):
    """One variable. ``default`` is its value while it is unset, unless ``serve_app.environment``
    sets one.
    """

    name: str
    meaning: str
    default: str = ""


OURS = (
    Variable(
        "WHISPER_API_KEY",
        "If set, every path except `GET /`, `/health` and `/readyz` needs this key. Without it "
        "and without a keys file, the server is open to everyone.",
    ),
    Variable("WHISPER_API_KEY_HEADER", "The header that carries the key.", "X-API-Key"),
    Variable(
        "WHISPER_API_KEYS_FILE",
        "A file of more keys, with names and quotas. It is read again when it changes. See "
        "[keys.md](keys.md).",
    ),
    Variable(
        "WHISPER_OX_MODELS_DIR",
        "Where models are kept. `XDG_CACHE_HOME` moves the default's `~/.cache`.",
        "~/.cache/whisper-ox/models",
    ),
    Variable(
        "WHISPER_OX_HEAD_SECONDS",
        "HAProxy closes a connection that has not sent a whole request head after this many "
        "seconds.",
        f"{haproxy.DEFAULT_HEAD_SECONDS:g}",
    ),
    Variable(
        "LOG_LEVEL", "`debug`, `info`, `warning` or `error`. Takes precedence over `log.level`."
    ),
    Variable("LOG_FORMAT", "`text` or `json`. Takes precedence over `log.format`."),
)

RAYS = (
    Variable(
        "RAY_SERVE_ENABLE_HA_PROXY",
        "`1`: HAProxy accepts the requests. `0`: Ray's Python proxy does; "
        "[operations.md](operations.md#a-reverse-proxy-in-front) describes its limits. A local "
        "server uses `0` where Ray brings no HAProxy (macOS). On a cluster every node needs the "
        "same value before Ray starts.",
        "1",
    ),
    Variable(
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
        "Turns Ray Serve's own error answers into JSON.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_BINARY_PATH",
        "The command that Ray starts as HAProxy. Ours adds JSON errors and a time limit for "
        "request heads to HAProxy's configuration and then becomes HAProxy. If you name HAProxy "
        "itself, you lose both.",
        "serve_app/serving/haproxy.py",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S",
        "HAProxy closes a connection on which the client neither sends nor reads for this many "
        "seconds. A transcription may take longer. Keep it above `http.upload_idle_seconds`, "
        "whose answer tells the client more. Ray's own default is an hour.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE",
        "The largest request head that HAProxy accepts, in bytes. Keep it above "
        "`http.max_header_bytes`. Ray's own default is 16384.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_MAXCONN",
        "The most connections that HAProxy takes at once. It opens two files for each, so the "
        "hard limit of open files must be 2084 higher than twice this number.",
        "4096",
    ),
    Variable(
        "RAY_TMPDIR",
        "The folder for Ray's logs and sockets. 100 MiB must be free there when a server starts.",
        "/tmp",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S",
        "When HTTP replicas change, HAProxy cuts off requests that run longer than this many "
        "seconds. Keep it at `http.request_seconds` or above. Ray's own default is 120.",
    ),
    Variable(
        "RAY_SERVE_PORT_QUARANTINE_S",
        "For this many seconds the port of a stopped HTTP replica is not used again. Ray's own "
        "default is 30 s more than the variable above. In that time, a replica that keeps "
        "crashing would use up all ports. Set it that high only if several applications share a "
        "cluster.",
    ),
    Variable(
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S",
        "A proxy that is not up after three times as many seconds is started again. Ray's own "
        "default, 5, is too short for a busy machine.",
    ),
    Variable(
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS",
        "`1`: a replica that fails its health checks is stopped at once, and its requests go to "
        "another one. `0`, Ray's own default: Ray waits for its requests, which never end on a "
        "stalled device.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_METRICS_PORT",
        "HAProxy's own metrics, on the loopback interface. If this variable and the next three "
        "are unset, a local server finds free ports from 20000 up, and a cluster uses Ray's "
        "defaults (9101, 8404, 8500, 30000).",
    ),
    Variable("RAY_SERVE_HAPROXY_STATS_PORT", "HAProxy's statistics page."),
    Variable(
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
        "The Python proxy, which answers while no HTTP replica does.",
    ),
    Variable(
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT",
        "The first port of the HTTP replicas. They use 90 ports, or all below "
        "`RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT`.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC",
        "HAProxy's configuration. A local server keeps it in a folder of its own below /tmp, "
        "together with `RAY_SERVE_HAPROXY_SOCKET_PATH`, `RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH`, "
        "`RAY_SERVE_HAPROXY_SERVER_STATE_BASE` and `RAY_SERVE_HAPROXY_SERVER_STATE_FILE`. Only "
        "its user may read the folder, and it is removed with the server. Ray's own default is "
        "/tmp/haproxy-serve.",
    ),
    Variable(
        "RAY_AUTH_MODE",
        "`token`: Ray's own ports ask for a token (`RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH` or "
        "`~/.ray/auth_token`). A local server creates one. A cluster without a token trusts "
        "everyone who reaches those ports.",
    ),
    Variable("RAY_USAGE_STATS_ENABLED", "Ray's telemetry. A local server always sets 0."),
    Variable(
        "RAY_USAGE_STATS_REPORT_URL",
        "With telemetry off, the head of a cluster reports that it is off. It does so to this "
        "address, where nothing listens. A local server does not start the process that reports.",
        "http://127.0.0.1:9",
    ),
    Variable("ORT_DISABLE_TELEMETRY", "onnxruntime's telemetry. Whisper OX always sets 1.", "1"),
    Variable(
        "RAY_automatic_object_spilling_enabled",
        "`0`: when shared memory is full, Ray does not write objects to a disk, so audio never "
        "gets there.",
    ),
    Variable(
        "RAY_object_spilling_directory",
        "Where Ray puts an object that does not fit into the object store: a file system in "
        "memory. If spilling is off and this is full too, the request is refused.",
    ),
    Variable(
        "RAY_LOG_TO_STDERR",
        "`1`: every process logs to stderr and writes no files below /tmp/ray. Serve alone still "
        "does.",
        "0",
    ),
    Variable(
        "RAY_DEDUP_LOGS",
        "`1`, Ray's own default: Ray prints only one of several similar lines and adds a count, "
        "which breaks JSON.",
    ),
    Variable(
        "RAY_worker_niceness",
        "Ray's own default, 15, lets every other process on the machine go first.",
    ),
    Variable(
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S",
        "How often Serve's controller checks its replicas, in seconds. With Ray's own default, "
        "0.1, an idle server uses 15 % of a core instead of 9 %.",
    ),
    Variable(
        "RAY_enable_metrics_collection",
        "`0`: Ray collects no metrics, neither its own nor ours. A local server without "
        "`--metrics-port` sets this, because nobody could read them.",
        "1",
    ),
    Variable(
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
        "`0`: under `uv run`, Ray does not pack the working directory.",
    ),
    Variable(
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        "`0`: Ray treats this machine as a single one, so its own ports listen only on the "
        "loopback interface.",
    ),
)

OPEN_TELEMETRYS = (
    Variable(
        "OTEL_TRACES_EXPORTER",
        "`otlp`: send traces, by default to `http://localhost:4318/v1/traces`. `none`: never send "
        "traces. Unset: send them if an endpoint is set.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Send traces to this collector, such as `https://collector:4318`. `/v1/traces` is added.",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The same as a complete URL. Takes precedence."),
    Variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "The only protocol supported. `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` takes precedence.",
        "http/protobuf",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "See `OTEL_EXPORTER_OTLP_PROTOCOL`."),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "Headers for the collector, such as a token: `name=value,name=value`.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "A file with the certificate authorities that may sign the collector's certificate.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "Longest time to send one batch of spans, in seconds.",
        "10",
    ),
    Variable(
        "OTEL_TRACES_SAMPLER",
        "Which requests are traced. `parentbased_traceidratio`: a share of those whose caller has "
        "not decided it.",
        "parentbased_always_on",
    ),
    Variable("OTEL_TRACES_SAMPLER_ARG", "That share.", "1.0"),
    Variable("OTEL_SERVICE_NAME", "The name of this service in traces.", "whisper-ox"),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "More facts about this service, such as `deployment.environment=test`.",
    ),
    Variable("OTEL_BSP_SCHEDULE_DELAY", "Milliseconds before finished spans are sent.", "5000"),
    Variable(
        "OTEL_SDK_DISABLED",
        "`true`: no traces and no Ray metrics, which come from the same SDK. "
        "`OTEL_TRACES_EXPORTER=none` turns off only the traces.",
        "false",
    ),
)

HUGGING_FACES = (
    Variable("HF_TOKEN", "A token for models behind a licence. It is used only to fetch them."),
    Variable("HF_ENDPOINT", "Another Hugging Face hub, such as a mirror of your own."),
    Variable(
        "HF_HUB_OFFLINE",
        "`1`: never ask Hugging Face. Only models that are on this machine, and those whose files "
        "come from the package registry (`base` and `tiny.en`), are served.",
    ),
)
