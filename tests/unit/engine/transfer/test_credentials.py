"""The Secret of a transfer: read when it starts, told to its origin only, and in nothing that comes out."""

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import errors
from controller.adapters.backup import imagestore_records as records
from controller.cli import describe, receipts
from controller.engine.transfer import berths, one_pass
from controller.engine.transfer.pool import EmbeddedTransfers
from controller.kube.client import Client
from controller.kube.events import UNDER_WAY, Events
from controller.model import conditions, inventory
from controller.model.conditions import ConditionType
from controller.model.image import ChecksumFrom, ImageStatus
from controller.model.manifest import image_status_to_dict
from controller.model.receipt import statement
from controller.model.resource import Image
from controller.model.secret import Credentials, Secret
from controller.model.stored import Stored
from controller.model.transfer import Broken, Placed, TransferRequest
from controller.model.url import SourceUrl
from controller.ports import Secrets
from controller.reasons import Reason
from tests.fakes.secrets import FakeSecrets, secret
from tests.fakes.source import FakeSource, Held
from tests.fakes.world import EPOCH, World, spec
from tests.unit.engine.transfer import world

URL = world.request().url
LIST = SourceUrl.parse("http://images.example/SUMS")
FAR_LIST = SourceUrl.parse("https://elsewhere.example/SUMS")
MIRROR = secret(URL.origin, token="hunter2-hunter2")


def run(source: FakeSource, secrets: Secrets | None, **changes: object) -> Placed | Broken:
    request = replace(world.request("a"), **{"secret_ref": "mirror", **changes})  # type: ignore[arg-type]
    return one_pass.run(
        request, source, world.storages("a"), world.RealClock(), world.NEVER, lambda _: None, world.PACE, secrets
    )


def source() -> FakeSource:
    held = FakeSource()
    held.put(URL, bytes(range(256)) * 80)
    return held


def refused(secrets: Secrets | None, reason: Reason, *, terminal: bool) -> str:
    """Run; the source may not be asked at all. Return what is said."""
    asked = source()
    outcome = run(asked, secrets)
    assert isinstance(outcome, Broken), outcome
    assert (outcome.failure.reason, outcome.failure.terminal) == (reason, terminal), outcome.failure.message
    assert asked.asked == []
    return outcome.failure.message


def test_the_source_is_told_what_the_secret_says() -> None:
    asked, secrets = source(), FakeSecrets(MIRROR)
    assert isinstance(run(asked, secrets), Placed)
    assert asked.asked[0].credentials == Credentials.of(MIRROR)
    assert secrets.reads == [("default", "mirror")]


def test_a_list_is_told_where_the_secret_allows_it_and_asked_without_elsewhere() -> None:
    for url, expected in ((LIST, Credentials.of(MIRROR)), (FAR_LIST, None)):
        asked = source()
        asked.put(url, b"-")
        run(asked, FakeSecrets(MIRROR), checksum_from=ChecksumFrom(url))
        assert [(one.url, one.credentials) for one in asked.asked] == [(url, expected)]


def test_a_missing_secret_is_waited_for() -> None:
    assert "default/mirror" in refused(FakeSecrets(), Reason.DEPENDENCY_NOT_READY, terminal=False)
    assert "--secrets DIR" in refused(None, Reason.DEPENDENCY_NOT_READY, terminal=False)


def test_a_secret_of_another_type_or_origin_is_denied() -> None:
    opaque = secret(URL.origin, kind="Opaque", token="hunter2-hunter2")
    assert "not of type" in refused(FakeSecrets(opaque), Reason.POLICY_DENIED, terminal=True)
    elsewhere = secret("https://images.example", token="hunter2-hunter2")
    said = refused(FakeSecrets(elsewhere), Reason.POLICY_DENIED, terminal=True)
    assert said.endswith("may not go to http://images.example:80: its origins are https://images.example:443")


def test_without_a_secret_none_is_read() -> None:
    asked, secrets = source(), FakeSecrets(MIRROR)
    outcome = one_pass.run(
        world.request("a"),
        asked,
        world.storages("a"),
        world.RealClock(),
        world.NEVER,
        lambda _: None,
        world.PACE,
        secrets,
    )
    assert isinstance(outcome, Placed)
    assert (secrets.reads, asked.asked[0].credentials) == ([], None)


def test_waiting_for_a_secret_counts_no_try_and_another_secret_is_another_transfer() -> None:
    known = World.of(spec(URL.text, secret_ref="mirror"))
    before = known.case.key()
    known.step()
    (request,) = known.started
    assert request.secret_ref == "mirror"
    known.finish(berths.failure_of(errors.DependencyNotReady("Secret default/mirror is not there")))
    known.settle()
    assert known.image.status.attempts == 0
    assert known.image.status.next_retry_at is not None
    known.edit(spec(URL.text, secret_ref="other"))
    assert known.case.key() != before


# --- nothing shows --------------------------------------------------------------------------------------------------

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.TransientError | errors.TerminalError)
]
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=10, max_size=40).map("Zq{}".format)
"""Nothing that stands in a status by chance, as ten zeros do."""


@pytest.mark.parametrize("kind", CLASSES, ids=[kind.__name__ for kind in CLASSES])
@settings(max_examples=5)
@given(password=words, header=words)
def test_what_a_source_repeats_in_any_error_is_in_no_status_inventory_description_event_or_log(
    kind: type[errors.GoldmasterError], password: str, header: str
) -> None:
    """The worst a server can do: say all it was told, in whatever it answers."""
    kept = secret(URL.origin, username="robot", password=password, header_X__Key=header)
    told = " ".join(value for _, value in Credentials.of(kept).headers)
    values = (password, header, told.split()[1])
    asked = source()
    asked.refuse = [kind(f"the server said: {password} {header} {told} {password!r}")]
    request = replace(world.request("a"), secret_ref="mirror")
    with structlog.testing.capture_logs() as logged:
        outcome = transferred(request, asked, FakeSecrets(kept))
    known = World.of(spec(URL.text, secret_ref="mirror"))
    known.step()
    known.states = dict.fromkeys(known.states, outcome)
    known.settle()
    shown = [repr(outcome), repr(request), repr(asked.asked), repr(logged), *everything(known)]
    assert "the server said" in shown[0]
    assert not [text for text in shown if any(value in text for value in values)]


@settings(max_examples=25)
@given(password=words, header=words, signature=words)
def test_what_a_source_repeats_where_all_goes_well_is_in_no_receipt_claim_status_inventory_event_or_log(
    password: str, header: str, signature: str
) -> None:
    """In its ETag, in the name of who serves; and a query may hold a signature. Receipts outlive the image."""
    kept = secret(URL.origin, username="robot", password=password, header_X__Key=header)
    told = " ".join(value for _, value in Credentials.of(kept).headers)
    values = (password, header, told.split()[1], signature)
    url = SourceUrl.parse(f"{URL.text}?sig={signature}")
    asked = source()
    asked.held[url.text] = Held(asked.held[URL.text].data, f'"{told} {password} {signature}"')
    asked.redirected_to = SourceUrl.parse(f"http://robot.example/{password}/{header}?sig={signature}")
    with structlog.testing.capture_logs() as logged:
        outcome = run(asked, FakeSecrets(kept), url=url)
    assert isinstance(outcome, Placed)
    known = World.of(spec(url.text, secret_ref="mirror"))
    known.step()
    store = known.stores[0]
    store.objects[outcome.content.sha256] = outcome.content
    known.placed.add(outcome.content.sha256)
    known.states = dict.fromkeys(known.states, replace(outcome, stored=frozenset({store.uuid})))
    known.settle()
    (said,), (claim,) = store.receipts.values(), store.claims.values()
    receipt = statement(said, "1")
    assert receipt["predicate"]["source"]["servedBy"] == "http://robot.example/***/***"
    shown = [
        json.dumps(receipt),
        records.claim_bytes("a" * 32, claim, receipt).decode(),
        "\n".join(" ".join(line) for line in receipts.lines([("s1", receipt)], EPOCH)),
        repr(logged),
        *everything(known),
    ]
    assert not [text for text in shown if any(value in text for value in values)]


def transferred(request: TransferRequest, asked: FakeSource, secrets: Secrets) -> Broken:
    """Run in the pool, as the engine does."""
    done = threading.Event()

    def changed(key: str, _: frozenset[str]) -> None:
        if isinstance(pool.state(key), Placed | Broken):
            done.set()

    pool = EmbeddedTransfers(
        asked, world.storages("a"), world.RealClock(), changed, concurrency=1, pace=world.PACE, secrets=secrets
    )
    pool.start(request, "owner")
    assert done.wait(60)
    state = pool.state(request.key)
    assert pool.close(10)
    assert isinstance(state, Broken)
    return state


def everything(known: World) -> list[str]:
    """Return all that is told of an image."""
    status = image_status_to_dict(known.image.status)
    document: Mapping[str, Any] = {
        "metadata": {"name": "img", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1},
        "spec": {"url": URL.text, "secretRef": {"name": "mirror"}},
        "status": status,
    }
    stored = Stored(known.image.meta.key, dict(document), "m", "m/img.yaml:1", None, None)
    return [
        json.dumps(status),
        json.dumps(inventory.reply([known.image])),
        "\n".join(describe.lines(stored, EPOCH, {})),
        *events_of(known.image),
    ]


def events_of(image: Image) -> list[str]:
    """Return the Kubernetes Events that an image as it is now makes of one that nobody has looked at."""
    posted: list[str] = []

    class Server:
        def create(self, path: str, document: Mapping[str, Any]) -> None:
            posted.append(f"{path} {json.dumps(document)}")

    events = Events(cast(Client, Server()), world.RealClock(), "replica")
    events.saw(replace(image, status=ImageStatus()), image)
    events.close()
    ready = conditions.find(image.status.conditions, ConditionType.READY)
    assert ready is not None
    assert len(posted) == (ready.status or ready.reason not in UNDER_WAY)
    assert all(json.dumps(ready.message) in event for event in posted)
    return posted


@given(password=words)
def test_a_malformed_secret_shows_no_value_either(password: str) -> None:
    for data in ({"token": f"{password} x"}, {"password": password}, {"header.X": f"{password}\n"[:-1] + "\0"}):
        kept = Secret(
            "default",
            "mirror",
            MIRROR.type,
            {"origins": URL.origin.encode()} | {key: value.encode() for key, value in data.items()},
        )
        outcome = run(source(), FakeSecrets(kept))
        assert isinstance(outcome, Broken)
        assert outcome.failure.reason is Reason.DEPENDENCY_NOT_READY
        assert password not in repr(outcome)


def test_a_name_that_a_redirect_repeats_is_not_shown() -> None:
    """`servedBy` is what the last server called itself, and it knows what it was told."""
    asked = source()
    url = SourceUrl.parse("http://images.example/hunter2-hunter2/golden.img")
    asked.put(url, b"\1" * 20480)
    outcome = run(asked, FakeSecrets(MIRROR), url=url)
    assert isinstance(outcome, Placed)
    assert outcome.served_by == "http://images.example/***/golden.img"


def test_a_validator_that_repeats_a_secret_or_the_query_is_dropped_not_cut() -> None:
    """It stands in the status; and two that are equal but for what was cut out would name one version."""
    for kept, url, etag in (
        (MIRROR, URL, '"hunter2-hunter2"'),
        (None, SourceUrl.parse(f"{URL.text}?sig=12345678"), '"sig=12345678"'),
    ):
        asked = source()
        asked.held[url.text] = Held(asked.held[URL.text].data, etag)
        reference = None if kept is None else "mirror"
        outcome = run(asked, FakeSecrets(MIRROR), url=url, secret_ref=reference)
        assert isinstance(outcome, Placed)
        assert outcome.validator.etag is None
        assert outcome.length == 20480
