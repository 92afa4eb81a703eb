"""Many images of one source at once: one fetches, the others wait without a slot, and say so."""

import random
import threading
from collections import Counter

from controller.gitops.loop import Standalone
from controller.model import conditions
from controller.model.conditions import ConditionType
from tests.integration.house import WAIT_S, ready
from tests.integration.ranged_server import Served
from tests.integration.tenants import IMAGE, OTHER, PATH, SHA256, SIZE, Tenants, fetched


def test_many_at_once_in_any_namespace_are_one_download(tenants: Tenants, https: Served) -> None:
    https.bytes_per_s = 4 * SIZE
    for number in range(20):
        tenants.image(f"ns-{number % 5}/x{number}", https.url(PATH), maxSize=f"{number + 2}Mi")
    after = tenants.apply()
    assert all(ready(image) for image in after.values())
    assert https.whole(PATH) == 1
    assert https.sent_bytes == SIZE + 19
    assert tenants.saved_bytes == 19 * SIZE
    assert len(set(tenants.copies().values())) == 1
    assert sorted(str(fetched(image)) for image in after.values()) == sorted([str(SIZE)] + ["0"] * 19)


def test_many_urls_of_one_digest_in_a_namespace_are_one_download(tenants: Tenants, http: Served) -> None:
    http.bytes_per_s = 4 * SIZE
    for number in range(10):
        http.files[f"/mirror-{number}.raw"] = IMAGE
        tenants.image(f"a/x{number}", http.url(f"/mirror-{number}.raw"), checksum=SHA256)
    after = tenants.apply()
    assert all(ready(image) for image in after.values())
    assert len(http.asked) == 1
    assert len(tenants.copies()) == 10


def test_those_who_wait_take_no_slot_and_say_what_they_wait_for(tenants: Tenants, https: Served) -> None:
    """With two slots: the download, and an image of another url that is through before it."""
    https.files["/other.raw"] = OTHER
    through, said = threading.Event(), set[str]()

    def hold(path: str) -> None:
        if path == PATH:
            assert through.wait(WAIT_S)

    def watch(standalone: Standalone) -> None:
        for _ in range(int(WAIT_S * 20)):
            images = {image.meta.key.owner: image for image in standalone.state.images()}
            ready_conditions = [
                conditions.find(image.status.conditions, ConditionType.READY) for image in images.values()
            ]
            said.update(found.message for found in ready_conditions if found is not None)
            other_ready = "z/other" in images and ready(images["z/other"])
            if other_ready and any("under way" in message for message in said):
                break
            if threading.Event().wait(0.05):
                break
        through.set()

    https.on_body = hold
    for number in range(6):
        tenants.image(f"ns-{number}/x", https.url(PATH), maxSize=f"{number + 2}Mi")
    tenants.image("z/other", https.url("/other.raw"))
    after = tenants.apply(concurrency=2, during=watch)
    assert all(ready(image) for image in after.values())
    assert any("waits for a transfer of the same source that is under way" in message for message in said)
    assert https.whole(PATH) == 1


def test_when_the_one_that_fetches_fails_another_takes_over(tenants: Tenants, https: Served) -> None:
    """Of four slots. All of it is asked for once at the start, as who is taken later finds a leader and waits.

    Then only in the time from a leader's failure until somebody is answered, in which each slot can ask once: whoever
    is taken after that finds a leader again, and whoever is answered after that waits for this leader's end. Two cuts
    are two such times at most. From the success on there is a note of the bytes, and one byte is asked for.
    """
    broken: list[str] = []

    def cut(path: str) -> None:
        if len(broken) < 2:
            broken.append(path)
            raise ConnectionError

    https.on_body = cut
    for number in range(8):
        tenants.image(
            f"ns-{number}/x",
            https.url(PATH),
            maxSize=f"{number + 2}Mi",
            retry={"initialBackoff": "1s", "maxBackoff": "1s"},
        )
    after = tenants.apply()
    assert all(ready(image) for image in after.values())
    assert https.whole(PATH) <= 1 + 2 * 4
    assert sorted(str(fetched(image)) for image in after.values()) == sorted([str(SIZE)] + ["0"] * 7)
    assert len(set(tenants.copies().values())) == 1


def test_a_source_without_a_strong_etag_is_fetched_by_each_and_nobody_waits(tenants: Tenants, https: Served) -> None:
    """All slots are used: three bodies are under way at once, of four slots, as one namespace never has the last."""
    https.etags[PATH] = None
    together = threading.Barrier(3, timeout=WAIT_S)

    def meet(_path: str) -> None:
        together.wait()

    https.on_body = meet
    for number in range(3):
        tenants.image(f"ns-{number}/x", https.url(PATH), maxSize=f"{number + 2}Mi")
    after = tenants.apply()
    assert all(ready(image) for image in after.values())
    assert https.whole(PATH) == 3


def test_a_random_crowd_ends_well(tenants: Tenants, https: Served) -> None:
    """Urls, digests and namespaces in any mixture: everything is Ready, and of each url one image fetched at most.

    Whoever may fetch leads its url until it ends, and whatever it brought is noted before that. Whoever comes next may
    fetch once the first has ended, looks for notes after that, and was answered with the version that they are about.
    """
    chance = random.Random(11)
    for number in range(4):
        https.files[f"/same-{number}.raw"] = IMAGE
    for number in range(30):
        more: dict[str, object] = {"checksum": SHA256} if chance.random() < 0.5 else {}
        url = https.url(f"/same-{chance.randrange(4)}.raw")
        tenants.image(f"ns-{chance.randrange(5)}/x{number}", url, maxSize=f"{number + 2}Mi", **more)
    after = tenants.apply()
    assert all(ready(image) for image in after.values())
    fetchers = Counter(image.spec.url.text for image in after.values() if fetched(image))
    assert fetchers
    assert max(fetchers.values()) == 1
