"""
What the supervisor knows of a configuration: enough to open its sockets, and nothing
for which a plugin's code would have to run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen

from myserv.endpoints.grammar import join
from myserv.workers.building import Planned
from myserv.workers.privileges import Identity
from myserv.workers.shareable import sharingOf


@frozen
class WantedPlace:
    """
    A place to listen.

    @ivar service: Whose it is.
    @ivar index: Which of the service's endpoints.
    @ivar place: The string without its layers.
    @ivar endpoint: The string, for people.
    @ivar sharing: The value of a L{Sharing}.
    @ivar where: Where it was asked for, such as C{"myserv.toml:4:10"}.
    @ivar key: The key, likewise.
    """

    service: str
    index: int
    place: str
    endpoint: str
    sharing: str
    where: str
    key: tuple[str | int, ...]


@frozen
class Blueprint:
    """
    A configuration that was checked.

    @ivar path: The file, as the operator wrote it.
    @ivar text: What it held.
    @ivar workers: How many workers it asks for.
    @ivar places: Where they listen.
    @ivar services: The services' names.
    @ivar drain: Seconds that the slowest of them may take to end.
    @ivar structure: Differs where anything but limits and penalties does.
    @ivar maximumPenalty: Seconds of penalties that a peer collects at most.
    @ivar identity: Whom the workers run as.
    @ivar fingerprint: What the code is, for whoever asks whether it is another.
    @ivar changes: What is different from what ran when it was checked, a few words for
        each.
    """

    path: str
    text: str
    workers: int
    places: tuple[WantedPlace, ...]
    services: tuple[str, ...]
    drain: float
    structure: str
    maximumPenalty: float
    identity: Identity
    fingerprint: str
    changes: tuple[str, ...] = ()


def drawUp(
    planned: Planned,
    text: str,
    identity: Identity,
    fingerprint: str,
    changes: tuple[str, ...] = (),
) -> Blueprint:
    """
    Write down what the supervisor has to know.

    Args:
        planned: What the file means.
        text: What it holds.
        identity: Whom the workers run as.
        fingerprint: What the code is.
        changes: What is different from what runs.
    """
    places = []
    for plan in planned.plan.services:
        for planned_ in plan.endpoints:
            place = planned_.endpoint.place
            sharing = sharingOf(place)
            assert sharing is not None
            index = planned_.key[-1]
            assert isinstance(index, int)
            places.append(
                WantedPlace(
                    plan.name,
                    index,
                    join(place.parameters()),
                    str(planned_.endpoint),
                    sharing.value,
                    planned.document.locate(planned_.key),
                    planned_.key,
                )
            )

    return Blueprint(
        path=planned.document.path,
        text=text,
        workers=planned.plan.keys.workerCount,
        places=tuple(places),
        services=tuple(plan.name for plan in planned.plan.services),
        drain=max((float(plan.limits.drain) for plan in planned.plan.services), default=0.0),
        structure=_structureOf(planned.document.values),
        maximumPenalty=float(planned.plan.penalties.maximum),
        identity=identity,
        fingerprint=fingerprint,
        changes=changes,
    )


def _structureOf(values: Mapping[str, Any]) -> str:
    services = {
        name: {key: table[key] for key in table if key != "limits"}
        for name, table in values.get("services", {}).items()
    }
    # maxConnections is the one limit in [server].
    server = {
        key: each for key, each in values.get("server", {}).items() if key != "maxConnections"
    }
    rest = json.dumps({"server": server, "services": services}, sort_keys=True, default=str)
    return hashlib.sha256(rest.encode()).hexdigest()


def packBlueprint(blueprint: Blueprint) -> dict[str, Any]:
    """
    Make a blueprint something that JSON can hold.
    """
    return asdict(blueprint)


def unpackBlueprint(values: Mapping[str, Any]) -> Blueprint:
    """
    Make a blueprint of what JSON held.

    Raises:
        KeyError: Something is missing.
        TypeError: Something is not what it should be.
    """
    places = [WantedPlace(**{**each, "key": tuple(each["key"])}) for each in values["places"]]
    return Blueprint(
        **{
            **values,
            "places": tuple(places),
            "services": tuple(values["services"]),
            "identity": Identity(**values["identity"]),
            "changes": tuple(values["changes"]),
        }
    )
