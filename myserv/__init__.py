"""myserv hosts network protocols: bring a Twisted Protocol, get the rest of the server."""

__version__ = "0.1.0"
