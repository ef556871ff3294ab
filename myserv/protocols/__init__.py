"""
The built-in services: the small servers of RFC 862 to 868.

Each lives by the rules of a third party's plugin: it imports C{myserv.plugin},
C{myserv.interfaces} and C{myserv.errors}, and nothing else of ours.  Read them
as examples.
"""
