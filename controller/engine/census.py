"""The Images that there are."""

from collections.abc import Iterator

from controller.model.digest import Digest
from controller.model.resource import Image, Kind
from controller.ports import Resources


def images(resources: Resources) -> Iterator[Image]:
    """Yield every Image; one that goes meanwhile is left out. Raises what `resources` raises."""
    found = (resources.image(key) for key in resources.keys(Kind.IMAGE))
    return (image for image in found if image is not None)


def keeps(image: Image, sha256: Digest) -> bool:
    """Whether an image serves a content, or keeps it for going back."""
    revisions = (image.status.current, *image.status.history)
    return any(revision is not None and revision.content.sha256 == sha256 for revision in revisions)
