"""`make demo`: the main job on real bootable images, with no cluster and no internet beyond Debian's packages.

`images.yaml.in` is what a person would commit; the checksums and the address of the demo's own server are filled in.
"""
