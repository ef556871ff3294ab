"""
What differs between a configuration that runs and another: nothing is done here.

Most of what a file says may change while a server runs.  The rest is I{pending}: it
takes a restart, and until then what runs stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve, frozen

from myserv.config.model import ServerKeys
from myserv.limits import Limits, PenaltyLimits
from myserv.options.declare import OptionSpec, describe, formatValue
from myserv.server.plan import PlannedEndpoint, ServerPlan, ServicePlan

AT_ONCE: Final = frozenset({"maxConnections", "logConnections"})
"""The keys of C{[server]} that one process can change while it serves."""

NAMED: Final = 5
"""How many services a line names that is about all of them."""


@frozen
class ServiceChanges:
    """
    What becomes of a service that stays.

    @ivar before: What it is.
    @ivar after: What it will be.
    @ivar opened: The endpoints to open.
    @ivar closed: Those to close.
    """

    before: ServicePlan
    after: ServicePlan
    opened: tuple[PlannedEndpoint, ...] = ()
    closed: tuple[PlannedEndpoint, ...] = ()


@frozen
class Changes:
    """
    What is to be done.

    @ivar before: What runs.
    @ivar after: What will run: the new configuration, without what is pending.
    @ivar services: Those that stay, changed or not.
    @ivar started: Those that are new.
    @ivar stopped: Those that are gone.
    @ivar words: A few words for each difference.
    @ivar pending: The same for what takes a restart.
    """

    before: ServerPlan
    after: ServerPlan
    services: tuple[ServiceChanges, ...]
    started: tuple[ServicePlan, ...]
    stopped: tuple[ServicePlan, ...]
    words: tuple[str, ...]
    pending: tuple[str, ...]


def comparePlans(
    before: ServerPlan, after: ServerPlan, atOnce: frozenset[str] = AT_ONCE
) -> Changes:
    """
    Find out what differs.

    Args:
        before: What runs.
        after: What somebody wants instead.
        atOnce: The keys of C{[server]} that can be changed without a restart.
    """
    words: list[str] = []
    pending: list[str] = []
    keys = _compareKeys(before.keys, after.keys, atOnce, words, pending)
    for spec, old, new in _differences(PenaltyLimits, before.penalties, after.penalties):
        words.append(f"penalties.{spec.name}: {_insteadOf(spec, old, new)}")
    running = {plan.name: plan for plan in before.services}
    wanted = {plan.name for plan in after.services}
    stopped = tuple(plan for plan in before.services if plan.name not in wanted)
    words += [f"services.{plan.name}: is gone" for plan in stopped]
    started = tuple(plan for plan in after.services if plan.name not in running)
    words += [f"services.{plan.name}: is new" for plan in started]
    staying = {
        plan.name: _compareServices(running[plan.name], plan, words, pending)
        for plan in after.services
        if plan.name in running
    }
    words += _limitsInWords(staying.values())
    services = tuple(
        staying[plan.name].after if plan.name in staying else plan for plan in after.services
    )
    return Changes(
        before,
        ServerPlan(keys, after.penalties, services),
        tuple(staying.values()),
        started,
        stopped,
        tuple(words),
        tuple(pending),
    )


def compareCode(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """
    Find out which code is installed that does not run.

    Args:
        before: What runs, see L{myserv.server.fingerprint.codeOf}.
        after: What a new interpreter would run.

    Returns:
        A few words for each difference; what is in one of the two only is none.
    """
    return tuple(
        f"{what}: {after[what]} is installed, {version} runs"
        for what, version in before.items()
        if after.get(what, version) != version
    )


def _compareKeys(
    before: ServerKeys,
    after: ServerKeys,
    atOnce: frozenset[str],
    words: list[str],
    pending: list[str],
) -> ServerKeys:
    unchanged: dict[str, Any] = {}
    for spec, old, new in _differences(ServerKeys, before, after):
        (words if spec.name in atOnce else pending).append(
            f"server.{spec.name}: {_insteadOf(spec, old, new)}"
        )
        if spec.name not in atOnce:
            unchanged[spec.attribute] = old
    return evolve(after, **unchanged)


def _compareServices(
    before: ServicePlan, after: ServicePlan, words: list[str], pending: list[str]
) -> ServiceChanges:
    key = f"services.{before.name}"
    opened = _without(after.endpoints, before.endpoints)
    closed = _without(before.endpoints, after.endpoints)
    words += [f"{key}.listen: {each.endpoint} is gone" for each in closed]
    if before.reference != after.reference:
        # What is new is meant for the other protocol; what is gone may be meant for
        # another service.
        pending.append(f'{key}.protocol: "{after.reference}" instead of "{before.reference}"')
        pending += [f"{key}.listen: {each.endpoint} is new" for each in opened]
        kept = _without(before.endpoints, closed)
        return ServiceChanges(before, evolve(before, endpoints=kept), (), closed)
    words += [f"{key}.listen: {each.endpoint} is new" for each in opened]
    # Values of options are not told: they may be secrets.
    pending += [f"{key}.options.{name}" for name in _differingOptions(before, after)]
    # What runs is the plugin that was loaded then.
    after = evolve(after, plugin=before.plugin, options=before.options)
    return ServiceChanges(before, after, opened, closed)


def _differingOptions(before: ServicePlan, after: ServicePlan) -> Iterator[str]:
    if before.options != after.options:
        for spec, _, _ in _differences(before.plugin.optionsType, before.options, after.options):
            yield spec.name


def _without(
    endpoints: Iterable[PlannedEndpoint], others: Iterable[PlannedEndpoint]
) -> tuple[PlannedEndpoint, ...]:
    # One that is asked for twice, such as a port 0, is there twice.
    left = Counter(str(each.endpoint) for each in others)
    remaining = []
    for each in endpoints:
        text = str(each.endpoint)
        if left[text]:
            left[text] -= 1
        else:
            remaining.append(each)
    return tuple(remaining)


def _limitsInWords(services: Iterable[ServiceChanges]) -> Iterator[str]:
    # A change of [limits] is one of every service, and one line.
    names: dict[tuple[str, str], list[str]] = {}
    for each in services:
        for spec, old, new in _differences(Limits, each.before.limits, each.after.limits):
            names.setdefault((spec.name, _insteadOf(spec, old, new)), []).append(each.after.name)
    for (key, text), those in names.items():
        if len(those) == 1:
            yield f"services.{those[0]}.limits.{key}: {text}"
        else:
            more = f" and {len(those) - NAMED} more" if len(those) > NAMED else ""
            yield f"limits.{key}: {text} for {', '.join(those[:NAMED])}{more}"


def _differences(
    optionsType: type | None, before: object, after: object
) -> Iterator[tuple[OptionSpec, Any, Any]]:
    for spec in describe(optionsType):
        old, new = getattr(before, spec.attribute), getattr(after, spec.attribute)
        if old != new:
            yield spec, old, new


def _insteadOf(spec: OptionSpec, old: Any, new: Any) -> str:
    return f"{_written(spec, new)} instead of {_written(spec, old)}"


def _written(spec: OptionSpec, value: Any) -> str:
    if value is None or value == ():
        return "nothing"
    return ", ".join(map(formatValue, value)) if spec.type.many else formatValue(value)
