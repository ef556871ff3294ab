"""
A protocol of one's own with an option, and nothing packaged: twistd -ny tac/shout.tac
"""

from attrs import frozen
from twisted.application import service
from twisted.protocols.basic import LineOnlyReceiver

from myserv.app import makeService
from myserv.plugin import ProtocolPlugin, Size, option


@frozen
class ShoutOptions:
    maxLine: Size = option("1KiB", help="the longest line that is answered")


class Shout(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, context, options):
        self.MAX_LENGTH = options.maxLine

    def lineReceived(self, line):
        self.sendLine(line.upper())


application = service.Application("shout")

makeService(
    ProtocolPlugin("shout", "answer in capitals", stream=Shout, optionsType=ShoutOptions),
    listen="tcp:7008:interface=127.0.0.1",
    options={"maxLine": "4KiB"},
).setServiceParent(application)
