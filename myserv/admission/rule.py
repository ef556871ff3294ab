"""
What the rules have in common: ours, and those of third parties.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.admission.reasons import RAISED
from myserv.events import Event, ProtocolRaised
from myserv.interfaces import IAdmissionRule, IArrival


@implementer(IAdmissionRule)
class Rule:
    """
    A rule of ours; this one lets everybody in.
    """

    __slots__ = ()

    def admit(self, arrival: IArrival) -> str | None:
        """
        Let an arrival in (C{None}), or say why not.
        """
        return None

    def release(self, arrival: IArrival) -> None:
        """
        An arrival that was let in by all rules is gone.
        """

    def withdraw(self, arrival: IArrival) -> None:
        """
        An arrival that this rule let in was refused by a later one.

        A rule that counts what comes in, and not what is there, gives back here
        what it took.
        """
        self.release(arrival)


class ForeignRule(Rule):
    """
    A third party's rule: what it raises is its own affair.
    """

    __slots__ = ("_emit", "_rule")

    def __init__(self, rule: IAdmissionRule, emit: Callable[[Event], None]) -> None:
        """
        Args:
            rule: The rule.
            emit: Told when it raises.
        """
        self._rule = rule
        self._emit = emit

    def admit(self, arrival: IArrival) -> str | None:
        """
        Ask the rule; one that raises refuses.
        """
        try:
            reason = self._rule.admit(arrival)
            return None if reason is None else str(reason)
        except BaseException:  # noqa: BLE001 - the author's bug, whatever it raises
            self._raised(arrival, "admit")
            return RAISED

    def release(self, arrival: IArrival) -> None:
        """
        Tell the rule.
        """
        try:
            self._rule.release(arrival)
        except BaseException:  # noqa: BLE001 - see admit
            self._raised(arrival, "release")

    def _raised(self, arrival: IArrival, during: str) -> None:
        self._emit(ProtocolRaised(arrival.service, arrival.address, during, Failure()))
