"""
Several processes that serve as one.

The supervisor checks what is to be served in an interpreter of its own
(C{examine}), opens every socket (C{bank}), starts a worker for each place
(C{process}, C{generation}) and replaces one that dies.  It never touches traffic.  A
worker is C{child}: it builds the same server as a process that serves alone, on
sockets that it is handed.
"""
