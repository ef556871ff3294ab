"""
twistd's front door: C{twistd myserv ...} and C{twistd myserv-echo ...}.

Whatever an operator gets wrong ends here as one line for each mistake and exit
code 1, before twistd has done anything.
"""

from myserv.tap.commands import MyservCommand, TwistdCommand

__all__ = ["MyservCommand", "TwistdCommand"]
