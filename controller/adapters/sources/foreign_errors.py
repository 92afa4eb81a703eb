"""The border: what urllib3, http.client, ssl and the system raise becomes one of ours."""

import http.client
import ssl

import urllib3.exceptions as theirs

from controller import errors
from controller.logs import clip

TRANSIENT = (
    theirs.IncompleteRead,
    theirs.PoolError,
    theirs.ProxyError,
    theirs.TimeoutError,
    http.client.IncompleteRead,
    http.client.NotConnected,
    http.client.RemoteDisconnected,
)
"""Trying again may mend it. Everything else of theirs is a peer that does not speak HTTP."""
FOREIGN = (theirs.HTTPError, theirs.ProxySchemeUnsupported, http.client.HTTPException, OSError)
"""What to catch at the border; `ssl.SSLError` is an OSError."""


def translate(error: Exception, doing: str) -> errors.GoldmasterError:
    """Return our error for one of FOREIGN; `doing` says what failed, for example `reading from h.example`."""
    if isinstance(error, ssl.SSLError):
        return _translate_tls(error, doing)
    if isinstance(error, theirs.SSLError) and error.args and isinstance(error.args[0], ssl.SSLError):
        return _translate_tls(error.args[0], doing)
    if isinstance(error, theirs.ProtocolError):
        # urllib3 wraps what broke the connection in it, as the last argument.
        cause = error.args[-1] if len(error.args) > 1 else None
        return translate(cause, doing) if isinstance(cause, Exception) else _unreachable(error, doing)
    if isinstance(error, TRANSIENT) or (
        isinstance(error, OSError) and not isinstance(error, http.client.HTTPException)
    ):
        return _unreachable(error, doing)
    return errors.ProtocolError(f"{doing} failed: {_said(error)}")


def _translate_tls(error: ssl.SSLError, doing: str) -> errors.GoldmasterError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return errors.ProtocolError(f"{doing} failed: the certificate is not trusted: {clip(error.verify_message)}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return _unreachable(error, doing)
    return errors.ProtocolError(f"{doing} failed: TLS: {_said(error)}")


def _unreachable(error: Exception, doing: str) -> errors.SourceUnreachable:
    return errors.SourceUnreachable(f"{doing} failed: {_said(error)}")


def _said(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clip(text or type(error).__name__)
