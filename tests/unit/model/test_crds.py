"""What the CRD files promise: explained, bounded, in step with the model, the rules and the README."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
import re2

from controller.model import rules
from controller.model.backup_storage import StorageStatus, StorageType
from controller.model.conditions import ConditionType
from controller.model.image import (
    Architecture,
    BootMode,
    Format,
    MediaType,
    Phase,
    Platform,
    RefStatus,
    State,
    UpdatePolicy,
)
from controller.model.manifest import parse_image_spec, parse_storage_spec
from controller.model.resource import GROUP, VERSION, Kind
from controller.reasons import Reason
from tests.unit.model.documents import CRDS, ROOT, SCHEMAS, image, openapi, storage

KINDS = sorted(CRDS)


def nodes(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield every schema below the given one with its path; list items as `[]`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, (*path, name))
    if "items" in schema:
        yield from nodes(schema["items"], (*path[:-1], f"{path[-1]}[]"))


def described(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field of spec and status as the README writes it."""
    for path, schema in nodes(openapi(kind)):
        if path[:1] in {("spec",), ("status",)}:
            yield ".".join(path), schema


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_explain_has_something_to_say_about_every_field(kind: str) -> None:
    silent = [path for path, schema in described(kind) if not re.match(r"\S.{3,}\.$", schema.get("description", ""))]
    assert not silent


@pytest.mark.parametrize("kind", KINDS)
def test_every_string_and_list_is_bounded(kind: str) -> None:
    """The cost of CEL rules is estimated from these bounds, and etcd holds 1.5 MiB an object."""
    for path, schema in described(kind):
        if schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string"):
            assert "enum" in schema or "maxLength" in schema, path
        if schema.get("type") == "array":
            assert schema["maxItems"], path
            assert schema["x-kubernetes-list-type"] in {"set", "map", "atomic"}, path
        if schema.get("type") == "integer":
            assert "minimum" in schema, path
            assert "maximum" in schema or schema["format"] in {"int32", "int64"}, path


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_are_re2_and_hold_for_the_whole_value(kind: str) -> None:
    for path, schema in described(kind):
        if "pattern" in schema:
            re2.compile(schema["pattern"])
            assert schema["pattern"].startswith("^"), path
            assert schema["pattern"].endswith("$"), path


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_valid(kind: str) -> None:
    document = image() if kind == "Image" else storage()
    complete = SCHEMAS[kind].defaulted(document)
    assert SCHEMAS[kind].problems(complete) == []
    assert rules.problems(Kind(kind), complete) == []


def test_the_defaults_of_the_model_are_those_of_the_crd() -> None:
    """Parsing with and without the server's defaults gives the same spec."""
    for kind, document, parse in (
        ("Image", image(), parse_image_spec),
        ("BackupStorage", storage(), parse_storage_spec),
    ):
        assert parse(SCHEMAS[kind].defaulted(document)["spec"]) == parse(document["spec"])


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_versions_are_what_the_code_uses(kind: str) -> None:
    crd = CRDS[kind]
    plural = Kind(kind).plural
    assert crd["metadata"]["name"] == f"{plural}.{GROUP}"
    assert crd["spec"]["names"]["plural"] == plural
    assert crd["spec"]["names"]["categories"] == ["goldmaster"]
    assert crd["spec"]["names"]["shortNames"] == [{"Image": "gmi", "BackupStorage": "gmbs"}[kind]]
    assert [version["name"] for version in crd["spec"]["versions"]] == [VERSION]
    assert crd["spec"]["versions"][0]["subresources"] == {"status": {}}
    assert crd["spec"]["scope"] == {"Image": "Namespaced", "BackupStorage": "Cluster"}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_printer_columns_point_at_fields_that_exist(kind: str) -> None:
    fields = {path for path, _ in described(kind)}
    columns = CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]
    for column in columns:
        path = re.sub(r"\[\?\(@\.type==\"\w+\"\)\]", "[]", column["jsonPath"]).removeprefix(".")
        assert path in fields | {"metadata.creationTimestamp"}, column
    assert sum(1 for column in columns if not column.get("priority")) <= 7


@pytest.mark.parametrize("kind", KINDS)
def test_every_cel_rule_stands_again_in_python_with_the_same_message(kind: str) -> None:
    """Where it stands, which field it names, what it says, and whether it is about a change."""
    declared = set()
    for path, schema in nodes(openapi(kind)):
        for entry in schema.get("x-kubernetes-validations", ()):
            field = tuple(entry.get("fieldPath", "").split(".")[1:])
            declared.add((path, field, entry["message"], "oldSelf" in entry["rule"]))
    stated: set[tuple[Any, ...]] = {(rule.at, rule.field, rule.message, False) for rule in rules.RULES[Kind(kind)]}
    stated |= {(rule.at, rule.field, rule.message, True) for rule in rules.CHANGE_RULES[Kind(kind)]}
    assert declared == stated


@pytest.mark.parametrize(
    ("kind", "path", "members"),
    [
        ("Image", "spec.mediaType", MediaType),
        ("Image", "spec.format", Format),
        ("Image", "spec.platform", Platform),
        ("Image", "spec.architecture", Architecture),
        ("Image", "spec.bootMode", BootMode),
        ("Image", "spec.state", State),
        ("Image", "spec.updatePolicy", UpdatePolicy),
        ("Image", "status.phase", Phase),
        ("Image", "status.format", Format),
        ("Image", "status.current.format", Format),
        ("Image", "status.backupStorageRefs[].status", RefStatus),
        ("BackupStorage", "spec.type", StorageType),
        ("BackupStorage", "spec.state", State),
        ("BackupStorage", "status.status", StorageStatus),
    ],
)
def test_enums_have_the_members_of_the_model(kind: str, path: str, members: type[StrEnum]) -> None:
    assert dict(described(kind))[path]["enum"] == [member.value for member in members]


# --- crds/README.md ---------------------------------------------------------------------------------------------------

README = (ROOT / "crds/README.md").read_text()


def first_column(heading: str) -> list[str]:
    """Return the names in backticks that begin the table rows below a heading."""
    _, _, below = README.partition(f"\n## {heading}\n")
    assert below, f"no section {heading}"
    section = re.split(r"\n## ", below)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_the_readme_has_a_row_for_every_field_and_no_other(kind: str, part: str) -> None:
    fields = set()
    for path, schema in described(kind):
        if path.startswith(f"{part}.") and schema.get("type") != "array":
            fields.add(path if "properties" in schema else path.removesuffix("[]"))
    documented = first_column(f"{kind} {part}")
    assert len(documented) == len(set(documented))
    assert set(documented) == fields


@pytest.mark.parametrize(
    ("heading", "members"), [("Reasons", Reason), ("Conditions", ConditionType), ("Phases", Phase)]
)
def test_the_readme_says_what_to_do_about_every_word(heading: str, members: type[StrEnum]) -> None:
    assert first_column(heading) == [member.value for member in members]
