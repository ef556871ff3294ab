"""
A check in an interpreter of its own: C{python -m myserv.workers.examine}.

It is asked on standard input and answers on standard output, in JSON.  Code that was
installed meanwhile is the code that is checked, and what a plugin does when it is
imported, or built, it does as the user that the workers run as, and not in the
supervisor.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any, Final

from myserv.config.model import ServerKeys
from myserv.errors import ConfigurationError, describeException
from myserv.options.declare import describe
from myserv.server.changes import comparePlans
from myserv.server.inquiry import leadSession
from myserv.workers.blueprint import drawUp, packBlueprint
from myserv.workers.building import Planned, planText
from myserv.workers.fingerprint import fingerprint
from myserv.workers.privileges import readIdentity, requireRights

EVERY_KEY: Final = frozenset(spec.name for spec in describe(ServerKeys))
"""New workers take all of C{[server]}."""


def examine(request: dict[str, Any]) -> dict[str, Any]:
    """
    Check a configuration as a start of the server would.

    Args:
        request: C{path} and C{text} of the configuration file, the text that is
            C{running} (C{None}: nothing is), the C{modules} that have to be there, and
            the C{searchPath} that they are found by.

    Returns:
        C{blueprint}, or C{problems}: a line each.
    """
    from twisted.internet import reactor

    from myserv.admission.server import ServerAdmission
    from myserv.config.document import parseDocument
    from myserv.config.model import readConfig
    from myserv.workers.building import buildPlanned, roomOf

    # The supervisor's next program needs them.
    for name in request["modules"]:
        importlib.import_module(name)
    path, text = request["path"], request["text"]
    code = fingerprint()
    document = parseDocument(path, text.encode())
    config, problems = readConfig(document)
    try:
        identity = readIdentity(config.server)
        requireRights(identity)
    except ConfigurationError as error:
        raise document.report([*problems, *error.problems]) from None
    identity.assume()
    planned = planText(path, text)
    admission = ServerAdmission(
        reactor.seconds,
        lambda event: None,
        room=roomOf(planned.plan.keys, planned.plan.keys.workerCount),
        penalties=planned.plan.penalties,
    )
    buildPlanned(planned, planned.plan.services, reactor, lambda event: None, admission)
    changes = compareTexts(path, request["running"], planned)
    return {"blueprint": packBlueprint(drawUp(planned, text, identity, code, changes))}


def compareTexts(path: str, running: str | None, planned: Planned) -> tuple[str, ...]:
    """
    Say what is different from what runs.

    Args:
        path: The file, as the operator wrote it.
        running: What it held when what runs was started; C{None}: nothing runs.
        planned: What it means now.

    Returns:
        A few words for each difference; none if the code that is installed now can make
        nothing of the old text.
    """
    if running is None:
        return ()
    try:
        before = planText(path, running).plan
    except ConfigurationError:
        return ()
    changes = comparePlans(before, planned.plan, EVERY_KEY)
    # For one process these would be pending; new workers are as good as a restart.
    return (*changes.words, *changes.pending)


def main() -> None:
    """
    Answer one question.
    """
    leadSession()
    # What a plugin prints is no answer.
    answering = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    sys.path += [each for each in request["searchPath"] if each not in sys.path]
    try:
        answer = examine(request)
    except ConfigurationError as error:
        answer = {"problems": [str(each) for each in error.problems]}
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor has to know
        traceback.print_exc()
        answer = {"problems": [f"{request['path']}: {describeException(error)}"]}
    with open(answering, "wb") as stream:
        stream.write(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
