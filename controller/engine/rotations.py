"""Which Secrets were changed since an image was last tried with them. Remembers versions, never values."""

import threading

from controller.model.resource import Image
from controller.plan.case import mended_by_secret
from controller.ports import Secrets


class Rotations:
    """Thread-safe, as long as one thread has an image at a time. Forgets with the process: then a try is due."""

    def __init__(self, secrets: Secrets | None) -> None:
        self._secrets = secrets
        self._lock = threading.Lock()
        self._tried: dict[str, tuple[str, ...]] = {}

    def since(self, image: Image) -> bool:
        """Whether a stalled image may be tried again, as a Secret that it names is not what it was tried with."""
        if self._secrets is None or not mended_by_secret(image):
            return False
        with self._lock:
            tried = self._tried.get(image.meta.uid)
        return tried != self._versions(image)

    def tries(self, image: Image) -> None:
        """A transfer of this image is about to start, which reads the Secrets after this."""
        if self._secrets is None or not image.spec.secrets:
            return
        versions = self._versions(image)
        with self._lock:
            self._tried[image.meta.uid] = versions

    def forget(self, uid: str) -> None:
        """The image is gone."""
        with self._lock:
            self._tried.pop(uid, None)

    def _versions(self, image: Image) -> tuple[str, ...]:
        if self._secrets is None:
            return ()
        return tuple(self._secrets.version(image.meta.key.namespace, name) for name in image.spec.secrets)
