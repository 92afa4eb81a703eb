"""`goldmaster plan`: what would be done, and why."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

import click

from controller import logs, reading, wiring
from controller.cli import exits, git_options, options, running, screen, source_options
from controller.cli.source_options import Asking
from controller.cli.validate import problems_of
from controller.gitops.given import Given
from controller.gitops.loop import Standalone
from controller.gitops.state import Applied
from controller.kube.foresight import UNCHANGED, Foreseen
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import Image, Key, Kind
from controller.plan.effects import Plan
from controller.settings import GitSettings, ProxySettings, Settings, StandaloneSettings

Step = dict[str, str]


class Standing(StrEnum):
    """How an object stands before `apply` does anything."""

    TO_DO = "to do"
    WAITING = "waiting"
    STALLED = "stalled"
    AS_IT_SHOULD_BE = "as it should be"


@click.command(short_help="Print what apply would do, and why; change nothing.")
@options.some_paths
@git_options.commit
@options.place
@options.namespace_of_place
@options.allow_network
@options.allow_path
@source_options.proxied
@options.secrets
@options.max_size
@options.max_deletions
@options.confirm_deletions
@options.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)
def plan(
    paths: Sequence[Path],
    git: GitSettings | None,
    place: reading.Place,
    namespace: str | None,
    networks: running.Networks,
    allowed_paths: Sequence[Path],
    proxies: ProxySettings,
    secrets_dir: Path | None,
    max_size: int,
    max_deletions: int,
    confirm_deletions: bool,
    output: str,
) -> int:
    """Print what `apply` with the same arguments would do first for each image, and why. Changes nothing.

    Works on a copy of the state in memory, also beside a running instance; a state that does not exist yet is not made.
    Sources are not asked. With --git the newest commit of a repository is read, as `apply` would do; it is put nowhere.

    With --kube: what applying PATH... to the cluster would change, and what its operator would do first, by the objects
    and statuses that are there. Reads only, and asks no storage and no process: what lies in the trash, and what a
    transfer that runs has fetched, is not known. The operator's own flags decide where it may fetch from and what is
    deleted; those here count for a state directory.
    """
    logs.configure(quiet=True)
    settings = running.settings(networks, allowed_paths, asking=Asking(proxies=proxies), max_size=max_size)
    if place.state_dir is None:
        given = running.given(paths, git, settings.source, secrets_dir, keep=True)
        return _in_cluster(given, place, namespace, settings, output)
    mode = StandaloneSettings(
        place.state_dir,
        max_deletions_percent=max_deletions,
        confirm_deletions=confirm_deletions,
        secrets_dir=secrets_dir,
        git=git,
    )
    return _of_state(paths, settings, mode, output)


def _of_state(paths: Sequence[Path], settings: Settings, mode: StandaloneSettings, output: str) -> int:
    with wiring.rehearsal(settings, mode, paths) as instance:
        if instance.following is not None:
            with running.interrupts() as stop:
                instance.following.look(stop)
        trees = instance.load(paths)
        problems = problems_of(trees)
        applied = instance.take(trees)
        instance.try_again()
        steps = _steps(instance, applied)
        wrong = running.tell_followed(instance)
        followed = instance.state.followed()
    for problem in (*problems, *applied.problems):
        screen.warn(str(problem))
    for held in applied.held_back:
        screen.warn(f"not deleted ({len(held.keys)}): {held.why}")
    _tell(steps, output, followed.revision if followed is not None and not wrong else None)
    return exits.INVALID if problems or applied.problems else wrong


def _in_cluster(given: Given, place: reading.Place, namespace: str | None, settings: Settings, output: str) -> int:
    problems = [str(problem) for problem in problems_of(given.trees)]
    found = wiring.foreseen(place, settings, given.said(), namespace, screen.warn)
    steps = [_foreseen_step(entry) for entry in found if not entry.problems]
    problems += [f"{entry.key.shown}: {problem}" for entry in found for problem in entry.problems]
    for problem in problems:
        screen.warn(problem)
    if any(entry.plan is not None and entry.plan.effects for entry in found):
        screen.warn("not looked at: the trash, whose bytes would serve without a fetch, and transfers that run")
    _tell(steps, output, given.revision)
    return exits.INVALID if problems else exits.OK


def _foreseen_step(found: Foreseen) -> Step:
    if found.plan is not None and found.image is not None:
        return _step(found.key, found.why, *_standing(found.image, found.plan, changed=True))
    if found.why != UNCHANGED:
        return _step(found.key, found.why, Standing.TO_DO, "take up")
    if found.image is None:
        return _step(found.key, found.why, Standing.AS_IT_SHOULD_BE, "nothing")
    as_it_is = Plan(found.image.status, "the operator has not looked at it yet")
    return _step(found.key, found.why, *_standing(found.image, as_it_is, changed=False))


def _tell(steps: Sequence[Step], output: str, revision: str | None) -> None:
    if output == "json":
        print(json.dumps(steps, indent=2))
    else:
        _print(steps, revision)


def _steps(instance: Standalone, applied: Applied) -> list[Step]:
    why = {
        **dict.fromkeys(applied.created, "new"),
        **dict.fromkeys(applied.updated, "changed"),
        **dict.fromkeys(applied.deleted, "manifest gone"),
    }
    for key in instance.state.keys(Kind.BACKUP_STORAGE):
        # only the probe: a whole pass of the engine also tidies up
        instance.engine.storages.reconcile(key)
    steps = [
        _step(key, why[key], Standing.TO_DO, "delete" if key in applied.deleted else "take up")
        for key in _sorted(why)
        if key.kind is Kind.BACKUP_STORAGE
    ]
    for key in instance.state.keys(Kind.IMAGE):
        looked = instance.engine.images.look(key)
        if looked is None:
            continue
        image, _, planned = looked
        steps.append(_step(key, why.get(key, "unchanged"), *_standing(image, planned, changed=key in why)))
    return steps


def _standing(image: Image, planned: Plan, *, changed: bool) -> tuple[Standing, str]:
    if planned.effects or planned.after:
        return Standing.TO_DO, planned.summary
    found = planned.status.conditions
    ready = conditions.find(found, ConditionType.READY)
    if ready is None or image.meta.deleting:
        return Standing.WAITING, f"wait: {planned.summary}"
    if conditions.is_true(found, ConditionType.STALLED):
        return Standing.STALLED, f"stalled: {ready.reason}: {ready.message}"
    if not ready.status:
        return Standing.WAITING, f"wait: {ready.reason}: {ready.message}"
    return (Standing.TO_DO, planned.summary) if changed else (Standing.AS_IT_SHOULD_BE, "nothing")


def _step(key: Key, why: str, standing: Standing, action: str) -> Step:
    return {"object": key.shown, "why": why, "standing": standing.value, "action": action}


def _sorted(keys: Iterable[Key]) -> list[Key]:
    return sorted(keys)


def _print(steps: Sequence[Step], revision: str | None) -> None:
    busy = [step for step in steps if step["standing"] != Standing.AS_IT_SHOULD_BE.value]
    if busy:
        screen.print_table(
            ["OBJECT", "WHY", "WHAT WOULD BE DONE"], [[step["object"], step["why"], step["action"]] for step in busy]
        )
    counts = Counter(step["standing"] for step in steps)
    shown = [
        f"{counts[standing.value]} {standing.value}"
        for standing in Standing
        if counts[standing.value] or standing in {Standing.TO_DO, Standing.AS_IT_SHOULD_BE}
    ]
    screen.warn(", ".join(shown) + (f" by {revision}" if revision else ""))
