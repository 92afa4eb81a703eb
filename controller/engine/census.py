"""The Images that there are."""

from collections.abc import Iterator

from controller.model.resource import Image, Kind
from controller.ports import Resources


def images(resources: Resources) -> Iterator[Image]:
    """Yield every Image; one that goes meanwhile is left out. Raises what `resources` raises."""
    found = (resources.image(key) for key in resources.keys(Kind.IMAGE))
    return (image for image in found if image is not None)
