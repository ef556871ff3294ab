"""
Makes `twistd gauges` a command.

Twisted caches what it finds here: keep it to names that do not change.
"""

from myserv.tap import TwistdCommand

gauges = TwistdCommand("gauges", "Sensors report numbers, others ask or watch.")
