"""Who may use a storage, in standalone mode: by the labels that Namespace manifests give."""

import yaml

from tests.fakes import images as fake_images
from tests.fakes.hostile_server import HostileServer, serving
from tests.integration.shell import Shell


def label(shell: Shell, **labels: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": labels}}
    (shell.manifests / "namespace.yaml").write_text(yaml.safe_dump(namespace))


def test_a_label_in_a_manifest_opens_a_storage_and_its_removal_keeps_what_is_there(shell: Shell) -> None:
    spec = {
        "type": "ImageStore",
        "imageStore": {"path": str(shell.root / "gold")},
        "reservedCapacity": 0,
        "namespaceSelector": {"matchLabels": {"tier": "gold"}},
    }
    storage = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": "gold"}}
    shell.manifests.mkdir(exist_ok=True)
    (shell.manifests / "storage.yaml").write_text(yaml.safe_dump(storage | {"spec": spec}))
    flags = ("--allow-network", "127.0.0.0/8", "--timeout", "2s")
    with HostileServer(serving(fake_images.raw(seed=1))) as server:
        image = {
            "apiVersion": "goldmaster.dev/v1alpha1",
            "kind": "Image",
            "metadata": {"name": "a", "namespace": "team"},
        }
        (shell.manifests / "image.yaml").write_text(yaml.safe_dump(image | {"spec": {"url": server.url()}}))
        assert shell.apply(*flags) == 4
        assert "namespaceSelector does not select this namespace: gold" in shell.out + shell.err
        assert server.connections == 0
        label(shell, tier="gold")
        assert shell.apply(*flags) == 0
        fetched = server.connections
        label(shell, tier="tin")
        assert shell.apply(*flags) == 0
        assert shell("describe", "image", "a", "-n", "team") == 0
        assert "kept on gold" in shell.out
        assert server.connections == fetched
    label(shell, tier="not a label!")
    assert shell.apply(*flags) == 3
    assert "namespace.yaml:1: metadata.labels: " in shell.err
