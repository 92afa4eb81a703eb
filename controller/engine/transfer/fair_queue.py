"""Who gets the next slot: first come first served within a namespace, namespaces in turn.

Pure data, no locks: the owner serialises. A namespace with 500 waiting entries delays another one by at most one slot,
and one whose sources never end cannot have all slots: of several, one is always left to the others. An origin gets a
bounded number of slots too, and of several of these one is left to other namespaces as well; who waits for a busy one
does not keep those behind it waiting.
"""

import sys
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

K = TypeVar("K")


@dataclass(slots=True)
class _Lane:
    """One namespace's entries by ticket; lists of tickets ascend, so a rank is a bisection."""

    tickets: list[int] = field(default_factory=list)
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Key and origin."""
    by_origin: dict[str, list[int]] = field(default_factory=dict)
    """The same tickets: thousands that wait for one busy origin are passed over in one step."""

    def add(self, ticket: int, key: str, origin: str) -> None:
        self.tickets.append(ticket)
        self.keys[ticket] = (key, origin)
        self.by_origin.setdefault(origin, []).append(ticket)

    def pop(self, ticket: int) -> tuple[str, str]:
        """Remove an entry; return its key and origin."""
        key, origin = self.keys.pop(ticket)
        same = self.by_origin[origin]
        for tickets in (self.tickets, same):
            del tickets[bisect_left(tickets, ticket)]
        if not same:
            del self.by_origin[origin]
        return key, origin

    def first(self, may_ask: Callable[[str], bool]) -> int | None:
        """Return the first ticket whose origin may be asked, None where there is none."""
        ticket = self.tickets[0]
        if may_ask(self.keys[ticket][1]):
            return ticket
        return min((tickets[0] for origin, tickets in self.by_origin.items() if may_ask(origin)), default=None)


class FairQueue:
    """Keys waiting for one of `slots`. Each key waits at most once.

    Whoever was taken holds a slot of its namespace, and one of the `per_origin` of its origin, until `give_back`.
    Without a number nobody is at a bound.
    """

    def __init__(self, slots: int | None = None, per_origin: int | None = None) -> None:
        self._bound = sys.maxsize if slots is None else max(1, slots - 1)
        self._origin_bound = sys.maxsize if per_origin is None else per_origin
        self._held: Counter[str] = Counter()
        """Slots by namespace; those without are not in."""
        self._asked: Counter[str] = Counter()
        """Slots by origin; those without are not in."""
        self._asked_by: Counter[tuple[str, str]] = Counter()
        """The same by namespace and origin."""
        self._lanes: dict[str, _Lane] = {}
        self._turns: deque[str] = deque()
        """Namespaces with entries; the first one is next."""
        self._where: dict[str, tuple[str, int]] = {}
        self._next_ticket = 0

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def put(self, namespace: str, key: str, origin: str = "") -> None:
        """Add `key` at the end of its namespace. One that waits already keeps its place. No `origin`: asks nobody."""
        if key in self._where:
            return
        lane = self._lanes.get(namespace)
        if lane is None:
            lane = self._lanes[namespace] = _Lane()
            self._turns.append(namespace)
        ticket = self._next_ticket
        self._next_ticket += 1
        lane.add(ticket, key, origin)
        self._where[key] = (namespace, ticket)

    def take(self) -> str | None:
        """Remove and return the key whose turn it is, None where nobody waits who may have one more slot.

        A namespace that holds as many as it may is passed over and keeps its turn, and so is one all of whose entries
        wait for busy origins. The owner has a slot free.
        """
        for namespace in self._turns:
            if self._held[namespace] >= self._bound:
                continue
            lane = self._lanes[namespace]
            ticket = lane.first(partial(self._may_ask, namespace))
            if ticket is not None:
                return self._give(namespace, lane, ticket)
        return None

    def give_back(self, namespace: str, origin: str = "") -> None:
        """Say that one of the slots of the namespace, and of the origin, is free again."""
        _lower(self._held, namespace)
        if origin:
            _lower(self._asked, origin)
            _lower(self._asked_by, (namespace, origin))

    def clear(self) -> None:
        """Forget everybody who waits; slots stay held."""
        self._lanes.clear()
        self._turns.clear()
        self._where.clear()

    def _may_ask(self, namespace: str, origin: str) -> bool:
        left = self._origin_bound - self._asked[origin]
        return left > 0 and self._asked_by[namespace, origin] < max(self._origin_bound - 1, 1)

    def _give(self, namespace: str, lane: _Lane, ticket: int) -> str:
        self._turns.remove(namespace)
        key, origin = lane.pop(ticket)
        del self._where[key]
        self._held[namespace] += 1
        if origin:
            self._asked[origin] += 1
            self._asked_by[namespace, origin] += 1
        if lane.tickets:
            self._turns.append(namespace)
        else:
            del self._lanes[namespace]
        return key

    def remove(self, key: str) -> bool:
        """Take `key` out of the line; return whether it was in."""
        place = self._where.pop(key, None)
        if place is None:
            return False
        namespace, ticket = place
        lane = self._lanes[namespace]
        lane.pop(ticket)
        if not lane.tickets:
            del self._lanes[namespace]
            self._turns.remove(namespace)
        return True

    def position(self, key: str) -> int | None:
        """Return how many takes it is until `key` comes out (1: the next one), None where it does not wait.

        As if no namespace and no origin were at its bound when its turn comes. While one is, those behind it come out
        earlier. Costs one step per waiting namespace, not per waiting key.
        """
        place = self._where.get(key)
        if place is None:
            return None
        namespace, ticket = place
        rank = bisect_left(self._lanes[namespace].tickets, ticket)
        position = 0
        own_turn_seen = False
        for other in self._turns:
            if other == namespace:
                own_turn_seen = True
                position += rank + 1
            else:
                rounds = rank if own_turn_seen else rank + 1
                position += min(len(self._lanes[other].tickets), rounds)
        return position


def _lower(held: Counter[K], name: K) -> None:
    held[name] -= 1
    if not held[name]:
        del held[name]
