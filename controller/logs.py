"""Log lines: a constant event name, data as keys. JSON unless standard error is a terminal.

Keys in use: `image storage uid generation key reason message attempt bytes total_bytes seconds digest effect path url`
(redacted).
"""

import logging
import sys
from typing import Any

MAX_FOREIGN_TEXT = 256
"""Characters kept of any text that another system wrote (bodies, error messages)."""


def clip(text: str) -> str:
    """Cap and flatten a foreign text so that it can neither flood nor forge a line."""
    flat = "".join(character if character.isprintable() else "�" for character in text)
    return flat if len(flat) <= MAX_FOREIGN_TEXT else flat[: MAX_FOREIGN_TEXT - 1] + "…"


def logger() -> Any:  # noqa: ANN401  structlog has no type for it that says more
    """Return structlog's logger, for modules that verbs import which hardly ever log.

    Importing structlog takes as long as all the rest of such a verb, for what it imports to colour tracebacks.
    Who never set logging up is told what a person should know, on standard error.
    """
    import structlog

    if not structlog.is_configured():
        configure(quiet=True)
    return structlog.get_logger()


def configure(*, verbose: bool = False, quiet: bool = False, console: bool | None = None) -> None:
    """Set up structlog once per process; `console` None means: ask whether standard error is a terminal.

    `verbose` shows every pass, `quiet` only what a person should know.
    """
    import structlog

    # what it logs about a bad image comes back as our own error; unconfigured it would write to standard error
    logging.getLogger("oslo_utils").setLevel(logging.CRITICAL)
    to_terminal = sys.stderr.isatty() if console is None else console
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=to_terminal) if to_terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
