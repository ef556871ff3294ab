"""
Gauges: sensors report numbers, and whoever asks or watches gets the latest.

A plugin of myserv as another package would bring one; nothing here is part of
myserv itself.
"""
