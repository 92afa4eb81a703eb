"""(d) One and three storages at once, against the larger of md5sum and three bare writes in parallel."""

from tests.bench import cost
from tests.bench.table import Goal, Report
from tests.bench.workspace import STORAGE, Workspace

PART = "d"
SIZE_MIB = 2048
NAMES = ("one", "two", "three")


def measure(space: Workspace, report: Report) -> None:
    """Place the same image on one and on three storages of the same disk."""
    size = space.bytes(SIZE_MIB)
    source = space.random_image("d.raw", size)
    write = f"dd if=/dev/zero of=%s bs=4M count={size} iflag=count_bytes oflag=direct conv=fdatasync status=none"
    costs = cost.interleave(
        {
            "apply to one storage": lambda: place(space, NAMES[:1]),
            "apply to three storages": lambda: place(space, NAMES),
            "three O_DIRECT writes in parallel": space.shell(
                "; ".join(f"{write % name} & {name}=$!" for name in NAMES) + "; wait $one; wait $two; wait $three"
            ),
            "md5sum of the cached file": space.shell(f"md5sum {source}"),
        },
        min(space.rounds, 3),
    )
    source.unlink()
    one, three, bare, md5 = (cost.median_s(several) for several in costs.values())
    report.add(PART, costs, {"apply to three storages": f"{three / one:.2f} x one storage"})
    report.goals.append(Goal(PART, "three storages / max(md5sum, three bare writes)", three / max(bare, md5), 1.2))


def place(space: Workspace, names: tuple[str, ...]) -> cost.Cost:
    """Apply one image to fresh storages of these names."""
    folder = space.fresh()
    manifests = space.manifest(f"d{len(names)}", "d.raw", backupStorages=f"[{', '.join(names)}]")
    for name in names:
        (folder / name).mkdir()
        (manifests / f"{name}.yaml").write_text(STORAGE.format(name=name, path=folder / name))
    return space.apply(manifests, folder / "state")
