"""Which source answers for a URL: its scheme says."""

from collections.abc import Mapping

from controller import errors
from controller.ports import Body, FetchRequest, Source, StopToken


class SourceRouter:
    """Implements `ports.Source` for every scheme it was given a source for."""

    def __init__(self, by_scheme: Mapping[str, Source]) -> None:
        self._by_scheme = dict(by_scheme)

    def open(self, request: FetchRequest, stop: StopToken) -> Body:
        """Pass the request on. Raises PolicyDenied where no source serves the scheme, and what the source raises."""
        source = self._by_scheme.get(request.url.scheme)
        if source is None:
            known = ", ".join(sorted(self._by_scheme))
            raise errors.PolicyDenied(f"{request.url.scheme} sources are not served here; served: {known}")
        return source.open(request, stop)
