"""What an API server checks in the `metadata` of every object, as JSON Schema (no CRD can say it), and what is left."""

from collections.abc import Mapping
from typing import Any

MAX_ANNOTATION_BYTES = 256 * 1024
"""Of all annotations of an object, names and values, as ValidateAnnotationsSize of k8s.io/apimachinery counts them."""

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_KEY = {
    "type": "string",
    "maxLength": 317,  # 253 of the prefix, a slash, 63 of the name
    "pattern": f"^([a-z0-9][a-z0-9.-]{{0,252}}/)?{_LABEL}$",
    "description": "an optional DNS prefix and a slash, then up to 63 letters, digits, dashes, underscores and dots.",
}
_ANY: dict[str, Any] = {}
NAMESPACE_NAME: dict[str, Any] = {
    "type": "string",
    "pattern": f"^({_DNS_LABEL})?$",
    "description": "a DNS label: up to 63 lower-case letters, digits and dashes.",
}
LABELS: dict[str, Any] = {
    "type": "object",
    "propertyNames": _KEY,
    "additionalProperties": {
        "type": "string",
        "pattern": f"^({_LABEL})?$",
        "description": "up to 63 letters, digits, dashes, underscores and dots.",
    },
}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Name, namespace, labels and annotations.",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": 253,
            "pattern": f"^{_SUBDOMAIN}$",
            "description": "a DNS subdomain: up to 253 lower-case letters, digits, dashes and dots, each part beginning"
            " and ending with a letter or digit.",
        },
        "namespace": NAMESPACE_NAME,
        "labels": LABELS,
        "annotations": {"type": "object", "propertyNames": _KEY, "additionalProperties": {"type": "string"}},
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {"type": "array"},
        "managedFields": {"type": "array"},
        "generation": {"type": "integer"},
        "deletionGracePeriodSeconds": {"type": "integer"},
        "generateName": {"type": "string"},
        "uid": {"type": "string"},
        "resourceVersion": {"type": "string"},
        "selfLink": {"type": "string"},
        "creationTimestamp": _ANY,
        "deletionTimestamp": _ANY,
    },
}


def annotations_problem(metadata: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the size of annotations that satisfy the schema; None where nothing is."""
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    # a lone surrogate, which JSON can write, counts as the three bytes it would take
    size = sum(len(f"{name}{text}".encode("utf-8", "surrogatepass")) for name, text in annotations.items())
    if size <= MAX_ANNOTATION_BYTES:
        return None
    return f"must have at most {MAX_ANNOTATION_BYTES} bytes in total, got {size}"
