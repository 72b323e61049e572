"""Strongly connected components of a directed graph (Tarjan), without recursion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def find_cycles(edges: Mapping[int, Mapping[int, None]]) -> Iterator[list[int]]:
    """The nodes of each component of more than one node, ascending. `edges` is adjacency: node to its successors."""
    index: dict[int, int] = {}
    lowest: dict[int, int] = {}
    on_stack: dict[int, None] = {}
    for root in edges:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = lowest[root] = len(index)
        on_stack[root] = None
        while work:
            node, successors = work[-1]
            following = next(successors, None)
            if following is not None:
                if following not in index:
                    index[following] = lowest[following] = len(index)
                    on_stack[following] = None
                    work.append((following, iter(edges.get(following, {}))))
                elif following in on_stack:
                    lowest[node] = min(lowest[node], index[following])
                continue
            work.pop()
            if work:
                parent = work[-1][0]
                lowest[parent] = min(lowest[parent], lowest[node])
            if lowest[node] == index[node]:
                component = _pop_down_to(on_stack, node)
                if len(component) > 1:
                    yield sorted(component)


def _pop_down_to(stack: dict[int, None], node: int) -> list[int]:
    component = []
    while True:
        top, _ = stack.popitem()
        component.append(top)
        if top == node:
            return component
