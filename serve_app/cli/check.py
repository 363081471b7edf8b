"""``whisper-ox check``: what is wrong with this machine, in words."""

from collections.abc import Sequence

import click

from serve_app.cli.server_options import server_options
from serve_app.errors import WhisperOxError
from serve_app.serving.before_ray import prepared_for_ray

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command(short_help="Tell what would keep a server from running.")
@server_options
@click.pass_context
def check(
    context: click.Context,
    *,
    config: str,
    models: Sequence[str],
    host: str | None,
    port: int | None,
    metrics_host: str,
    metrics_port: int | None,
) -> None:
    """Tell what would keep a server with these options from running on this machine.

    Every finding is one line. The exit status is 1 if the server would not start; warnings do not
    change it. Stop a running server first, or its port counts as taken.
    """
    grades = []
    try:
        with prepared_for_ray(collects_metrics=metrics_port is not None):
            from serve_app.serving.machine import examine  # imports Ray
            from serve_app.serving.profile import load_profile

            profile = load_profile(config).changed(models=models, host=host, port=port)
            for finding in examine(profile, metrics_host, metrics_port):
                grades.append(finding.grade.value)
                _say(finding.grade.value, finding.subject, finding.text)
    except WhisperOxError as error:
        grades.append("error")
        _say("error", "settings", error.message)
    n_errors, n_warnings = grades.count("error"), grades.count("warning")
    click.echo(f"\n{n_errors} errors, {n_warnings} warnings")
    if n_errors:
        context.exit(1)


def _say(grade: str, subject: str, text: str) -> None:
    graded = click.style(f"{grade:<8}", fg=COLOURS[grade])
    click.echo(f"{graded}{subject}: {text}" if text else f"{graded}{subject}")
