"""Options that another API's parameters set, beside options of our own that a caller names."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from serve_app.errors import InvalidOption
from serve_app.options import OptionLimits, ParsedOptions, build_options
from serve_app.options.parse import short_name


def mapped_options(
    own: Mapping[str, object],
    mapped: Mapping[str, object],
    callers_names: Mapping[str, str],
    limits: OptionLimits,
    unread: Iterable[str] = (),
) -> ParsedOptions:
    """The options of a request: ``own``, which the caller names, and ``mapped``, which the API's
    parameters set.

    An option in ``mapped`` counts before the same one in ``own``; None is no option.
    ``callers_names`` are those of the API's parameters by option. ``ignored`` also has the options
    in ``own`` that have no effect, and ``unread``, which names other parts of the request.

    Raises ``InvalidOption``, with the name that the caller wrote.
    """
    decided = {name: value for name, value in mapped.items() if value is not None}
    outdone = [name for name in decided if own.get(name) is not None]
    outdone = [name for name in outdone if not _alike(own[name], decided[name])]
    try:
        parsed = build_options({**own, **decided}, limits=limits)
    except InvalidOption as wrong:
        names = callers_names.items()
        written = {ours: theirs for ours, theirs in names if ours.partition(".")[0] in decided}
        raise wrong.renamed(written) from None
    ignored = {*parsed.ignored, *map(short_name, (*outdone, *unread))}
    return replace(parsed, ignored=tuple(sorted(ignored)))


def _alike(one: object, other: object) -> bool:
    return str(one).strip().lower() == str(other).strip().lower()
