"""A second opinion on what bytes are, from oslo.utils; never the only one (see gate.py for what it does not see).

It gets pieces of CHUNK_BYTES on a fixed grid: its VHDX inspector loses its way in pieces of 4 MiB, and so its answer
cannot depend on how the bytes came. Its safety checks are asked for qcow2, VMDK and ISO; for `gpt` (its word for any
boot sector) they refuse disks without a partition table, which are legitimate.
"""

import io
from typing import TYPE_CHECKING

from controller.errors import FormatRejected
from controller.media.verdict import Verdict
from controller.model.image import Format

if TYPE_CHECKING:
    from oslo_utils.imageutils.format_inspector import FileInspector

CHUNK_BYTES = 2**18
_CONFIRMS: dict[Format, tuple[set[str], ...]] = {
    Format.QCOW2: ({"qcow2"},),
    Format.VMDK: ({"vmdk"},),
    Format.ISO: ({"iso"}, {"iso", "gpt"}),
    Format.RAW: ({"raw"}, {"gpt"}),
}
"""What oslo.utils may say: a hybrid ISO is both, a raw disk with a boot sector is `gpt`."""
_SIZED = {Format.QCOW2, Format.VMDK}


class SecondOpinion:
    """`feed` all bytes, then `confirm` what the gate says. Imports oslo.utils (0.2 s) when made, not before."""

    def __init__(self) -> None:
        from oslo_utils.imageutils import format_inspector

        self._source = io.BytesIO()
        self._wrapper = format_inspector.InspectWrapper(self._source)
        self._chunk = bytearray()
        self._decided = False
        self._failure: Exception | None = None

    def feed(self, data: memoryview | bytes) -> None:
        """Take the next bytes; costs nothing once oslo.utils has seen enough. Never raises."""
        view = memoryview(data)
        while view and not self._decided:
            room = CHUNK_BYTES - len(self._chunk)
            self._chunk += view[:room]
            view = view[room:]
            if len(self._chunk) == CHUNK_BYTES:
                self._pass_on()

    def confirm(self, verdict: Verdict) -> None:
        """Say that the bytes ended and compare. Raises FormatRejected where the two do not agree."""
        if not self._decided:
            self._pass_on()
        if self._failure is None:
            try:
                self._wrapper.close()
                self._compare(verdict, self._wrapper.formats or [])
            except FormatRejected:
                raise
            except Exception as exc:  # noqa: BLE001 - struct.error, AttributeError, KeyError are known to come out
                self._failure = exc
        if self._failure is not None:
            why = f"{type(self._failure).__name__}: {self._failure}"
            raise FormatRejected(f"oslo.utils does not accept this {verdict.format}: {why}") from self._failure

    def _pass_on(self) -> None:
        self._source.seek(0)
        self._source.truncate()
        self._source.write(self._chunk)
        self._source.seek(0)
        size = len(self._chunk)
        self._chunk.clear()
        try:
            self._wrapper.read(size)
            self._decided = self._wrapper.formats is not None
        except Exception as exc:  # noqa: BLE001 - an inspector that breaks is an inspector that does not agree
            self._failure = exc
            self._decided = True

    def _compare(self, verdict: Verdict, inspectors: "list[FileInspector]") -> None:
        names = {str(inspector) for inspector in inspectors}
        if names not in _CONFIRMS[verdict.format]:
            said = " and ".join(sorted(names))
            raise FormatRejected(f"ambiguous: {verdict.format} by its header, {said} by oslo.utils")
        for inspector in inspectors:
            if str(inspector) != "gpt":
                inspector.safety_check()
            if verdict.format in _SIZED and inspector.virtual_size != verdict.virtual_size_bytes:
                raise FormatRejected(
                    f"ambiguous: a virtual size of {verdict.virtual_size_bytes} bytes by the header, "
                    f"{inspector.virtual_size} by oslo.utils"
                )
