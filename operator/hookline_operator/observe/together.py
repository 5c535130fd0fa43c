"""Several calls at the same time, all of which are waited for."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """
    What each returns, in order; the first error, if there was one, when all have ended.

    One that fails does not cancel the others: what they find is of use, and a connection that is cancelled while it is
    being made is not closed before the garbage is collected.
    """
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
