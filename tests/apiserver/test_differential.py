"""Documents that nobody thought of get the same verdict from a real API server and from standalone mode.

The table of cases holds what people thought of. Here hypothesis draws values at the edges of both dialects: RE2 and
CEL durations in Go and in Python, numbers with and without a fraction, characters outside the basic plane.
"""

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gitops import crds
from tests.apiserver import cluster, verdicts
from tests.unit.model.documents import openapi

pytestmark = pytest.mark.needs_kube

STANDALONE = crds.admission()


def chars(alphabet: str, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, max_size=most)


numbers = st.one_of(
    st.integers(-2, 1001),
    st.sampled_from([2**31, 2**53 + 1, 2**60, 2**60 + 1, 2**63 - 1, 2**63, 2**64, 1.0, 0.5, 1e3, 1e30, -0.0]),
)
wrong = st.one_of(st.none(), st.booleans(), numbers, st.just(""), st.just([]), st.just({}), st.just(["x"]))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=260)
amounts = st.sampled_from(
    ["0", "1", "01", "5", "24", "59", "60", "86400", "1.5", "1.", ".5", "0.001", "0.0001", "999999"]
)
durations = st.one_of(
    st.lists(st.tuples(amounts, st.sampled_from(["h", "m", "s", "ms", "µs", "d", "", "H"])), max_size=4).map(
        lambda parts: "".join(amount + unit for amount, unit in parts)
    ),
    chars("0159hms. +-e", 8),
)
quantities = st.one_of(
    st.tuples(
        amounts, st.sampled_from(["", "k", "K", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "m", "e3"])
    ).map("".join),
    chars("0159.kKMGTPEi ", 8),
)
hosts = st.one_of(
    st.lists(
        st.sampled_from(
            ["h", "example", "0", "1", "255", "256", "01", "0x7f", "a-", "-a", "_x", "xn--a", "ä", "A", ""]
        ),
        max_size=4,
    ).map(".".join),
    st.sampled_from(["[::1]", "[::]", "[1::2::3]", "[fe80::1%25eth0]", "[v1.a]", "[", "127.0.0.1", "a" * 63, "a" * 64]),
    chars("ab01.-_[]:", 6),
)
urls = st.one_of(
    st.tuples(
        st.sampled_from(["https://", "http://", "HTTP://", "file://", "//", "", "s3://", "https:/"]),
        st.sampled_from(["", "user@", "u:p@"]),
        hosts,
        st.sampled_from(["", ":0", ":1", ":65535", ":65536", ":080", ":"]),
        st.sampled_from(
            ["", "/", "/a.qcow2", "/a b", "/%zz", "/ä", "/a#f", "?q", "/..", "//a", "/a\n", "\\a", "/a?b=c&d"]
        ),
    ).map("".join),
    chars(string.printable, 20),
)
digests = st.tuples(
    st.sampled_from(["md5", "sha1", "sha256", "sha512", "SHA256", "sha3", ""]),
    st.sampled_from([":", "", "::", " :"]),
    st.sampled_from("0aAfFg"),
    st.sampled_from([0, 31, 32, 33, 40, 64, 128, 129]),
).map(lambda parts: parts[0] + parts[1] + parts[2] * parts[3])
uuids = st.one_of(
    st.uuids().map(lambda value: value.hex),
    st.uuids().map(str),
    chars("0123456789abcdefABCDEF-", 33),
    st.just("0" * 32),
)
names = st.one_of(chars("ab01.-_A/", 6), st.sampled_from(["a", "b", "a" * 253, "a" * 254, "a\n"]))


def changed(base: dict[str, Any], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with few fields drawn, so that the verdict hangs on each: one in six is of a wrong type or surplus."""
    drawn = [st.tuples(st.just(name), strategy) for name, strategy in strategies.items()]
    broken = st.tuples(st.sampled_from([*strategies, "surplus"]), wrong)
    entry = st.integers(0, 5).flatmap(lambda dice: st.one_of(drawn) if dice else broken)
    return st.lists(entry, min_size=1, max_size=3).map(lambda entries: base | dict(entries))


def words(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*choices, choices[0].lower(), f"{choices[0]} "])


signatures = changed({}, url=urls, keyRef=changed({}, name=names))
retries = changed({}, limit=numbers, initialBackoff=durations, maxBackoff=durations)
timeouts = changed({}, connect=durations, stall=durations, total=durations)
image_fields: dict[str, st.SearchStrategy[Any]] = {
    "url": urls,
    "displayName": texts,
    "description": texts,
    "mediaType": words("RootVolumeTemplate", "DataVolumeTemplate", "ISO"),
    "format": words("qcow2", "raw", "iso", "vmdk"),
    "platform": words("Linux", "Other"),
    "virtio": st.booleans(),
    "guestOsType": texts,
    "architecture": words("x86_64", "aarch64"),
    "bootMode": words("Legacy", "UEFI"),
    "system": st.booleans(),
    "state": words("Enabled", "Disabled"),
    "uuid": uuids,
    "checksum": digests,
    "secretRef": changed({}, name=names),
    "checksumFrom": changed({}, url=urls, entry=texts, signature=signatures),
    "mirrors": st.lists(urls, max_size=9),
    "interval": durations,
    "updatePolicy": words("Notify", "Import", "Ignore"),
    "backupStorages": st.lists(names, max_size=17),
    "suspend": st.booleans(),
    "deletionPolicy": words("Delay", "Direct", "Never"),
    "expungeAfter": durations,
    "revisionHistoryLimit": numbers,
    "retry": retries,
    "timeouts": timeouts,
    "maxSize": st.one_of(numbers, quantities),
}
image_specs = changed({"url": "https://h.example/a"}, **image_fields)
paths = st.one_of(st.lists(st.sampled_from(["", ".", "..", "a", "...", "ä", "a\n"]), max_size=4).map("/".join), texts)
label_keys = st.one_of(
    chars("ab0-_./A", 6), st.sampled_from(["a" * 317, "a" * 318, "x.y/" + "a" * 63, "X/a", "a/", "/a"])
)
label_values = st.one_of(chars("ab0-_./A ", 5), st.sampled_from(["a" * 63, "a" * 64, ""]), wrong)
requirements = changed(
    {},
    key=label_keys,
    operator=words("In", "NotIn", "Exists", "DoesNotExist"),
    values=st.one_of(st.lists(label_values, max_size=3), st.just(["a"] * 33)),
)
selectors = changed(
    {},
    matchLabels=st.dictionaries(label_keys, label_values, max_size=3),
    matchExpressions=st.one_of(st.lists(requirements, max_size=2), st.just([{"key": "a", "operator": "Exists"}] * 17)),
)
storage_fields: dict[str, st.SearchStrategy[Any]] = {
    "type": words("ImageStore", "S3"),
    "imageStore": changed({}, path=paths.map(lambda path: f"/{path}")),
    "state": words("Enabled", "Disabled"),
    "reservedCapacity": st.one_of(numbers, quantities),
    "namespaceSelector": selectors,
    "scrubInterval": durations,
}
storage_specs = changed({"type": "ImageStore", "imageStore": {"path": "/srv/images"}}, **storage_fields)
documents = st.one_of(
    st.builds(lambda spec: document("Image", spec), image_specs),
    st.builds(lambda spec: document("BackupStorage", spec), storage_specs),
)


def document(kind: str, spec: object) -> dict[str, Any]:
    return {"apiVersion": "goldmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": "drawn"}, "spec": spec}


def test_every_field_of_a_spec_is_drawn() -> None:
    """A field that enters the CRD enters here, or this fails."""
    for kind, fields in (("Image", image_fields), ("BackupStorage", storage_fields)):
        assert fields.keys() == openapi(kind)["properties"]["spec"]["properties"].keys()


@given(documents)
@settings(max_examples=200, derandomize=True)  # a gate does not draw lots; the slow form does
def test_a_drawn_document_gets_the_same_verdict(kube: cluster.Cluster, manifest: dict[str, Any]) -> None:
    judge(kube, manifest)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(documents)
@settings(max_examples=20_000)
def test_many_drawn_documents_get_the_same_verdict(kube: cluster.Cluster, manifest: dict[str, Any]) -> None:
    judge(kube, manifest)


def judge(kube: cluster.Cluster, manifest: dict[str, Any]) -> None:
    answer = kube.admin.create(verdicts.collection(manifest), manifest, dry_run=True)
    verdicts.agree(answer, STANDALONE.review(manifest))
