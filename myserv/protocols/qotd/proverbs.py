"""
The quotes of an operator who brings none: proverbs, which are everybody's.
"""

from __future__ import annotations

from typing import Final

PROVERBS: Final = b"""\
A journey of a thousand miles begins with a single step.
%
A smooth sea never made a skilled sailor.
%
A stitch in time saves nine.
%
Actions speak louder than words.
%
For want of a nail the shoe was lost;
for want of a shoe the horse was lost;
for want of a horse the rider was lost.
%
Fortune favours the bold.
%
Great oaks from little acorns grow.
%
He who asks is a fool for five minutes;
he who does not ask is a fool for ever.
%
Many hands make light work.
%
Measure twice, cut once.
%
No news is good news.
%
Practice makes perfect.
%
Rome was not built in a day.
%
Still waters run deep.
"""
"""In the form that L{myserv.protocols.qotd.codec.parseQuotes} reads."""
