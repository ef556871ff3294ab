"""
One built-in service on three endpoints: twistd -ny tac/echo.tac
"""

from twisted.application import service

from myserv.app import makeService

application = service.Application("echo")

makeService(
    "echo",
    listen=[
        "tcp:7007:interface=127.0.0.1",
        "udp:7007:interface=127.0.0.1",
        "unix:/tmp/myserv-echo.sock:mode=600",
    ],
).setServiceParent(application)
