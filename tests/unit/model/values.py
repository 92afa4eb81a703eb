"""Values of the model as hypothesis draws them."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from controller.model.delivery import Delivery, Sighting, Skipped, Validator, Watch
from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, Format
from controller.reasons import Reason

times = st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001  hypothesis adds the zone itself
    datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))),
)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
counts = st.integers(0, 2**31 - 1)
sizes = st.integers(0, 2**63 - 1)


def digests(algorithm: Algorithm) -> st.SearchStrategy[Digest]:
    return st.text("0123456789abcdef", min_size=algorithm.hex_digits, max_size=algorithm.hex_digits).map(
        lambda text: Digest(algorithm, text)
    )


others = st.sampled_from([Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA512]).flatmap(digests)
source_digests = st.builds(lambda first, more: (first, *more), digests(Algorithm.SHA256), st.lists(others, max_size=1))
contents = st.builds(
    Content,
    sha256=digests(Algorithm.SHA256),
    md5=digests(Algorithm.MD5),
    size_bytes=sizes,
    virtual_size_bytes=sizes,
    format=st.sampled_from(Format),
    source_digests=source_digests,
)
skipped = st.builds(Skipped, url=words, reason=st.sampled_from(Reason), message=words)
deliveries = st.builds(
    Delivery,
    served_by=words.filter(bool),
    validator=st.builds(Validator, etag=st.none() | words, last_modified=st.none() | words),
    length=st.none() | sizes,
    mirror=st.none() | words,
    skipped=st.lists(skipped, max_size=2).map(tuple),
    fetched_bytes=st.none() | sizes,
)
sightings = st.builds(
    Sighting,
    validator=st.builds(Validator, etag=st.none() | words, last_modified=st.none() | words),
    length=st.none() | sizes,
    digest=st.none() | digests(Algorithm.SHA512),
)
watches = st.builds(Watch, checked_at=st.none() | times, error=st.just("") | words, seen=st.none() | sightings)
