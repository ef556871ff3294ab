"""What misbehaviour has cost."""

from __future__ import annotations

from myserv.workers import penaltybook
from myserv.workers.penaltybook import PenaltyBook


def test_penaltiesAddUpAndWearOff() -> None:
    """Up to the maximum; another book goes on with them."""
    book = PenaltyBook(20)
    book.add(1, 5, now=100)
    book.add(1, 5, now=102)
    book.add(2, 50, now=102)
    book.add(3, 1, now=102)
    assert book.left(104) == [(1, 6), (2, 18)]
    again = PenaltyBook(20)
    again.restore(book.left(104), now=4)
    assert again.left(5) == [(1, 5), (2, 17)]


def test_thereIsABound() -> None:
    """Those that have worn off are forgotten first, then the oldest."""
    book = PenaltyBook(1000)
    most = penaltybook.MAXIMUM_PEERS
    book.add(-1, 1, now=0)
    for number in range(most):
        book.add(number, 100, now=5)
    assert len(book.left(5)) == most
    book.add(most, 100, now=5)
    assert [key for key, _ in book.left(5)] == list(range(1, most + 1))
