"""Time per operator as a device tells it, joined to the operators that the exporter wrote down."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from edgedeploy.alignment import aligned
from edgedeploy.domain.artifact import DelegateGraph, Operator
from edgedeploy.domain.measurement import ProfiledOperator
from edgedeploy.domain.operator_times import OperatorTime, Profile

_COUNTER = re.compile(r" #[0-9]+\Z")


def join(
    operators: Sequence[Operator],
    graphs: Iterable[DelegateGraph],
    profiled: Sequence[ProfiledOperator],
    *,
    method: str = "forward",
) -> Profile:
    """Join the profile of one method to its operators.

    What an engine ran itself is found by its call. What XNNPACK ran in a ``.pte`` is found by the nodes of its own graph,
    which the exporter read; in a ``.tflite`` by the order of the operators that the engine did not run itself. A graph
    that another one calls (a loop's body) is left aside: its time is in that of the caller.
    """
    rows = [operator for operator in operators if operator.method == method]
    main = [one for one in profiled if one.sequence == profiled[0].sequence]
    calls = {one.call: one for one in main if _is_whole_call(one)}
    steps = _steps_by_call(main)
    # Place among the rows of what each of these was.
    place_of_call = {place if row.call is None else row.call: place for place, row in enumerate(rows)}
    own = [(one, place_of_call.get(one.call)) for one in main if one.delegate is None]
    nodes_of = {graph.call: graph.nodes for graph in graphs if graph.method == method}
    if nodes_of:
        within = [pair for call, ran in steps.items() for pair in _by_graph(rows, call, nodes_of.get(call, ()), ran)]
    else:
        within = _by_order(rows, {place for _, place in own}, [one for ran in steps.values() for one in ran])
    return _summed(rows, [*own, *within, *_beside_steps(calls, steps)])


_Placed = tuple[ProfiledOperator, int | None]


def _is_whole_call(one: ProfiledOperator) -> bool:
    return one.delegate is not None and one.step is None


def _steps_by_call(main: Iterable[ProfiledOperator]) -> dict[int, list[ProfiledOperator]]:
    steps: dict[int, list[ProfiledOperator]] = defaultdict(list)
    for one in main:
        if one.step is not None:
            steps[one.call].append(one)
    return steps


def _by_graph(rows: Sequence[Operator], call: int, nodes: Sequence[str], ran: Sequence[ProfiledOperator]) -> list[_Placed]:
    place_of_node = {step: place for place, row in enumerate(rows) if row.call == call for step in row.steps}
    node_of = aligned(nodes, [one.name for one in ran])
    # What aligns with no node was added by XNNPACK; a node without operator was added by the delegate.
    return [(one, place_of_node.get(node_of.get(at, -1))) for at, one in enumerate(ran)]


def _by_order(rows: Sequence[Operator], run_by_engine: set[int | None], ran: Sequence[ProfiledOperator]) -> list[_Placed]:
    places = [place for place in range(len(rows)) if place not in run_by_engine]
    node_of = aligned([rows[place].operator for place in places], [one.name for one in ran])
    return [(one, places[node_of[at]] if at in node_of else None) for at, one in enumerate(ran)]


def _beside_steps(calls: Mapping[int, ProfiledOperator], steps: Mapping[int, Sequence[ProfiledOperator]]) -> list[_Placed]:
    """What delegates' calls took beside their steps; all of it, where they tell no steps."""
    rest: list[_Placed] = []
    for call, whole in calls.items():
        of_steps = [one.ns for one in steps.get(call, ())]
        ns = tuple(max(0, whole_ns - sum(parts)) for whole_ns, *parts in zip(whole.ns, *of_steps, strict=True))
        rest.append((msgspec.structs.replace(whole, ns=ns), None))
    return rest


def _summed(rows: Sequence[Operator], placed: Iterable[_Placed]) -> Profile:
    groups: dict[tuple[int | None, str | None, str], list[ProfiledOperator]] = defaultdict(list)
    for one, place in placed:
        groups[place, one.delegate, "" if place is not None else _COUNTER.sub("", one.name)].append(one)
    medians = {
        key: round(statistics.median(map(sum, zip(*(one.ns for one in group), strict=True)))) for key, group in groups.items()
    }
    total_ns = sum(medians.values())
    times = [
        OperatorTime(
            operator=None if place is None else rows[place],
            ran=tuple(dict.fromkeys(_COUNTER.sub("", one.name) for one in groups[place, delegate, name])),
            delegate=delegate,
            ns=ns,
            share=ns / total_ns if total_ns else 0.0,
        )
        for (place, delegate, name), ns in medians.items()
    ]
    timed = {place for place, _, _ in groups}
    untimed = tuple(row for place, row in enumerate(rows) if groups and place not in timed)
    return Profile(times=tuple(sorted(times, key=lambda time: -time.ns)), untimed=untimed, total_ns=total_ns)
