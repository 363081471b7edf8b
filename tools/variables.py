"""Every environment variable that matters to an operator, for docs/settings.md."""

from typing import NamedTuple

from serve_app.serving import haproxy


class Variable(NamedTuple):
    """One variable. ``default`` applies while it is unset; "" means that nothing does, or what
    ``serve_app.environment`` sets.
    """

    name: str
    meaning: str
    default: str = ""


OURS = (
    Variable(
        "WHISPER_API_KEY",
        "If set, everything but `/`, `/health` and `/readyz` needs this key. Without it and "
        "without a keys file the server is open.",
    ),
    Variable("WHISPER_API_KEY_HEADER", "The header that carries the key.", "X-API-Key"),
    Variable(
        "WHISPER_API_KEYS_FILE",
        "A file of further keys with names and quotas, read again when it changes; see "
        "[keys.md](keys.md).",
    ),
    Variable(
        "WHISPER_OX_MODELS_DIR",
        "Where models are kept. `XDG_CACHE_HOME` moves the default's `~/.cache`.",
        "~/.cache/whisper-ox/models",
    ),
    Variable(
        "WHISPER_OX_HEAD_SECONDS",
        "HAProxy: a connection that has not sent a whole request head after so many seconds is "
        "closed.",
        f"{haproxy.DEFAULT_HEAD_SECONDS:g}",
    ),
    Variable("LOG_LEVEL", "`debug`, `info`, `warning` or `error`; overrides `log.level`."),
    Variable("LOG_FORMAT", "`text` or `json`; overrides `log.format`."),
)

RAYS = (
    Variable(
        "RAY_SERVE_ENABLE_HA_PROXY",
        "`1`: HAProxy takes the requests; `0`: Ray's Python proxy, whose limits are in "
        "[operations.md](operations.md#a-reverse-proxy-in-front). A local server defaults to `0` "
        "where Ray's wheel brings no HAProxy (macOS). On a cluster every node needs the "
        "same value before Ray starts.",
        "1",
    ),
    Variable(
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
        "Turns the error answers of Ray Serve itself into JSON.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_BINARY_PATH",
        "HAProxy: the command that Ray starts. Ours adds JSON errors and a time limit for request "
        "heads to HAProxy's configuration and then becomes HAProxy; the path of HAProxy itself "
        "does without both.",
        "serve_app/serving/haproxy.py",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S",
        "HAProxy: closes a connection after so many seconds in which the client neither sends nor "
        "reads; a transcription may take longer. Keep it above `http.upload_idle_seconds`, whose "
        "answer says more. Ray's own default is an hour.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE",
        "HAProxy: the most bytes of a request's head. Keep it above `http.max_header_bytes`. Ray's "
        "own default is 16384.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S",
        "HAProxy: when HTTP replicas change, requests that run longer than this many seconds are "
        "cut off. Keep it at `http.request_seconds` or above. Ray's own default is 120.",
    ),
    Variable(
        "RAY_SERVE_PORT_QUARANTINE_S",
        "HAProxy: seconds for which the port of a stopped HTTP replica is not used again. Ray's "
        "own default is 30 s more than the variable above, in which a replica that keeps crashing "
        "would use up all ports. Set it that high if several applications share a cluster.",
    ),
    Variable(
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S",
        "A proxy that is not up after three times as many seconds is started again. Ray's own "
        "default, 5, is too short on a busy machine.",
    ),
    Variable(
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS",
        "`1`: a replica that fails its health checks is ended at once, and its requests are sent "
        "to another. By default Ray waits for them, but on a stalled device they never end.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_METRICS_PORT",
        "HAProxy: its own metrics, on the loopback interface. While this and the next three are "
        "unset, a local server takes free ports from 20000 up; a cluster takes Ray's defaults "
        "(9101, 8404, 8500, 30000).",
    ),
    Variable("RAY_SERVE_HAPROXY_STATS_PORT", "HAProxy: its statistics page."),
    Variable(
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
        "HAProxy: the Python proxy that stands in while no HTTP replica answers.",
    ),
    Variable(
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT",
        "HAProxy: the first port of the HTTP replicas; they have 90, or those below "
        "`RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT`.",
    ),
    Variable(
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC",
        "HAProxy: its configuration. A local server puts it, `RAY_SERVE_HAPROXY_SOCKET_PATH`, "
        "`RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH`, `RAY_SERVE_HAPROXY_SERVER_STATE_BASE` and "
        "`RAY_SERVE_HAPROXY_SERVER_STATE_FILE` into a folder of its own below /tmp, which nobody "
        "else may read and which goes with the server. Ray's own default is /tmp/haproxy-serve.",
    ),
    Variable(
        "RAY_AUTH_MODE",
        "`token`: Ray's own ports ask for a token (`RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH` or "
        "`~/.ray/auth_token`); a local server makes one up. A cluster without it trusts whoever "
        "reaches those ports.",
    ),
    Variable("RAY_USAGE_STATS_ENABLED", "Ray's telemetry. A local server sets 0 whatever you say."),
    Variable(
        "RAY_USAGE_STATS_REPORT_URL",
        "The head of a cluster whose telemetry is off reports that it is off: to this address, "
        "where nobody listens. A local server starts no such process.",
        "http://127.0.0.1:9",
    ),
    Variable("ORT_DISABLE_TELEMETRY", "onnxruntime's telemetry; Whisper OX always sets 1.", "1"),
    Variable(
        "RAY_automatic_object_spilling_enabled",
        "`0`: when shared memory is full, Ray writes none of it to a disk, so that no audio gets "
        "there.",
    ),
    Variable(
        "RAY_object_spilling_directory",
        "Where an object goes that the object store has no room for: a file system in memory. With "
        "spilling off and this one full too, the object is refused.",
    ),
    Variable(
        "RAY_LOG_TO_STDERR",
        "`1`: every process logs to stderr, and no files are written below /tmp/ray.",
        "0",
    ),
    Variable(
        "RAY_DEDUP_LOGS",
        "`1`, Ray's own default: of similar lines only one is printed, followed by a count that "
        "breaks JSON.",
    ),
    Variable(
        "RAY_worker_niceness",
        "With Ray's own default, 15, every other process on the machine goes before ours.",
    ),
    Variable(
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S",
        "How often Serve's controller checks its replicas. With Ray's own default, 0.1, an idle "
        "server uses 15 instead of 9 % of a core.",
    ),
    Variable(
        "RAY_enable_metrics_collection",
        "`0`: Ray collects no metrics, neither its own nor ours. A local server without "
        "`--metrics-port` sets this, as nobody could read them.",
        "1",
    ),
    Variable(
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
        "`0`: under `uv run`, Ray does not pack up the working directory.",
    ),
    Variable(
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
        "`0`: Ray takes this machine for one without a cluster, so that its own ports listen on "
        "the loopback interface only.",
    ),
)

OPEN_TELEMETRYS = (
    Variable(
        "OTEL_TRACES_EXPORTER",
        "`otlp`: send traces; without an endpoint, to `http://localhost:4318/v1/traces`. `none`: "
        "send none, whatever else is set. Unset: send them only if there is an endpoint.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Send traces to this collector, for instance `https://collector:4318`; `/v1/traces` is "
        "added.",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The same as a whole URL; takes precedence."),
    Variable(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "The only protocol supported. `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` takes precedence.",
        "http/protobuf",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "See `OTEL_EXPORTER_OTLP_PROTOCOL`."),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "Headers for the collector, for instance a token: `name=value,name=value`.",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "A file with the CAs that may have signed the collector's certificate.",
    ),
    Variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "Seconds for one batch of spans.", "10"),
    Variable(
        "OTEL_TRACES_SAMPLER",
        "Which requests are traced. `parentbased_traceidratio`: a share of those whose caller has "
        "not decided.",
        "parentbased_always_on",
    ),
    Variable("OTEL_TRACES_SAMPLER_ARG", "That share.", "1.0"),
    Variable("OTEL_SERVICE_NAME", "The name of this service in traces.", "whisper-ox"),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES", "More about this service, as `deployment.environment=test`."
    ),
    Variable("OTEL_BSP_SCHEDULE_DELAY", "Milliseconds after which ended spans are sent.", "5000"),
    Variable(
        "OTEL_SDK_DISABLED",
        "`true`: no traces, and no metrics of Ray either, which come from the same SDK; "
        "`OTEL_TRACES_EXPORTER=none` leaves the metrics on.",
        "false",
    ),
)

HUGGING_FACES = (
    Variable("HF_TOKEN", "For models behind a licence; used only to fetch them."),
    Variable("HF_ENDPOINT", "Another Hugging Face hub, for instance a mirror of your own."),
    Variable(
        "HF_HUB_OFFLINE", "`1`: never ask Hugging Face; serve only models that are on this machine."
    ),
)
