"""
Endpoint strings: one grammar for streams and datagrams.

C{grammar} splits and quotes text and knows nothing else; C{prefixes} lists what
there is; C{parse} turns text into an L{myserv.endpoints.parse.Endpoint}; each
other module is one kind of place to listen, or one layer over it.
"""
