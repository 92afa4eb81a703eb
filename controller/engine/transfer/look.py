"""A look at a source: what it says of itself now. No byte of an image is read, and nothing is kept."""

from controller import errors
from controller.engine.transfer import credentials
from controller.engine.transfer.berths import failure_of
from controller.engine.transfer.checksum_lists import ChecksumLists
from controller.engine.transfer.intake import Patience
from controller.model.delivery import Sighting
from controller.model.secret import Credentials
from controller.model.transfer import Broken, Looked, TransferRequest
from controller.ports import Clock, FetchRequest, Secrets, SignatureVerifier, Source, StopToken


def run(
    request: TransferRequest,
    source: Source,
    clock: Clock,
    stop: StopToken,
    secrets: Secrets | None = None,
    verifier: SignatureVerifier | None = None,
) -> Looked | Broken:
    """Ask the checksum list where there is one, else the url itself. Errors of `controller.errors` end in Broken."""
    told = None
    try:
        patience = Patience(stop, clock, request.timeouts.total)
        told = credentials.of(request, secrets)
        if request.checksum_from is not None:
            listed = ChecksumLists(source, patience, told, secrets, verifier).ask(request.checksum_from, request)
            return Looked(Sighting(digest=listed.digest))
        return Looked(_sighting(request, source, patience, told))
    except errors.GoldmasterError as error:
        return credentials.scrubbed_failure(Broken(failure_of(error), advanced=False), told)


def _sighting(request: TransferRequest, source: Source, stop: StopToken, told: Credentials | None) -> Sighting:
    """Ask for the first byte, and hang up after the head of the answer: a signed url may allow nothing but GET."""
    url = request.mirrors[0] if request.mirrors else request.url
    allowed = credentials.for_url(told, request, url)
    asked = FetchRequest(url, request.timeouts, peek=True, credentials=allowed, namespace=request.namespace)
    body = source.open(asked, stop)
    body.close()
    return Sighting(credentials.without_secrets(body.validator, told, url), body.total_bytes)
