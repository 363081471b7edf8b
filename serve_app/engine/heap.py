"""The malloc heap of a model process, whose free memory goes back to the system.

The profiles keep CTranslate2's working memory in one glibc heap (``GLIBC_TUNABLES``; why, is in
docs/benchmarks.md). Blocks of tens of MB come and go there in every order, and the heap grows each
time that none of its holes will do: by two thirds within the first quarter of an hour of full load.
``malloc_trim`` gives the pages of the holes back; those that are needed again cost a page fault.
"""

import ctypes

from serve_app.engine.periodic import do_every

PERIOD_SECONDS = 60.0


def keep_trimmed() -> None:
    """Trim the heap every minute from now on; nothing where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        do_every(PERIOD_SECONDS, lambda: trim(0), "trimming the heap")
