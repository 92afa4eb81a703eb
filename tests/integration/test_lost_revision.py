"""Back to an older revision whose bytes are lost, by its url alone: the very same bytes, or why not."""

import hashlib

from tests.fakes import images as fake_images
from tests.integration.shell import Shell
from tests.integration.test_damage_told import stored, told

OLD, OTHER = fake_images.raw(seed=1), fake_images.raw(seed=2)


def lost(shell: Shell) -> str:
    """Serve the second revision; the bytes of the first are gone. Return the url of the first."""
    for name, data in (("old", OLD), ("new", fake_images.raw(seed=3))):
        (shell.sources / name).write_bytes(data)
        shell.manifest("a", url=str(shell.sources / name), format="raw")
        assert shell.apply() == 0
    assert len(shell.status("a")["history"]) == 1
    stored(shell.state / "storage", OLD).unlink()
    return str(shell.sources / "old")


def test_other_bytes_of_that_url_are_source_changed_with_both_digests(shell: Shell) -> None:
    url = lost(shell)
    (shell.sources / "old").write_bytes(OTHER)
    shell.manifest("a", url=url, format="raw")
    assert shell.apply() == 4
    said = told(shell, "a")
    assert said["Ready"] == ("False", "SourceChanged")
    assert said["Available"] == ("True", "Succeeded"), "what was served is served"
    ready = shell.condition("a", "Ready")
    assert ready is not None
    for data in (OLD, OTHER):
        assert hashlib.sha256(data).hexdigest() in ready["message"]
    assert not stored(shell.state / "storage", OTHER).exists()
    shell.manifest("a", url=url, format="raw", checksum=f"sha256:{hashlib.sha256(OTHER).hexdigest()}")
    assert shell.apply() == 0
    assert stored(shell.state / "storage", OTHER).read_bytes() == OTHER


def test_the_same_bytes_are_fetched_again(shell: Shell) -> None:
    url = lost(shell)
    shell.manifest("a", url=url, format="raw")
    assert shell.apply() == 0
    assert stored(shell.state / "storage", OLD).read_bytes() == OLD
    assert shell.status("a")["current"]["sha256"] == hashlib.sha256(OLD).hexdigest()
