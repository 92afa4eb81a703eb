"""Where the CRD files are: beside the package in a wheel, above it in a checkout."""

from pathlib import Path

import yaml

from controller.model.admission import Admission
from controller.model.schema import Document

_PACKAGE = Path(__file__).resolve().parent.parent


def directory() -> Path:
    """Return the folder that holds the CRDs of this version.

    Raises:
        FileNotFoundError: the installation is broken.

    """
    for place in (_PACKAGE / "crds", _PACKAGE.parent / "crds"):
        if (place / "images.yaml").is_file():
            return place
    raise FileNotFoundError(f"no CRDs beside {_PACKAGE}: the installation is incomplete")


def documents() -> list[Document]:
    """Return the parsed CRDs, by file name."""
    files = sorted(directory().glob("*.yaml"))
    parsed = [yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader) for file in files]
    return [document for document in parsed if document["kind"] == "CustomResourceDefinition"]


def admission() -> Admission:
    """Return the judge of manifests. Takes some 20 ms: make one and keep it."""
    return Admission(documents())
