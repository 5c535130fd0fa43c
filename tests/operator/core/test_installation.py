"""What an installation has once."""

import base64
from typing import TYPE_CHECKING, cast

from hookline_operator.apply.installation import Installation
from hookline_operator.resource_types import SECRETS
from support.memory_api import MemoryApi

if TYPE_CHECKING:
    from hookline_operator.apply.api import Api


async def test_a_line_break_behind_the_token_is_none_of_it() -> None:
    """A person makes the Secret with echo; agents leave it out, and would not know the operator for ever."""
    api = MemoryApi()
    data = {"tagKey": base64.b64encode(bytes(32)).decode(), "agentToken": base64.b64encode(b"token\n").decode()}
    api.put(SECRETS, {"metadata": {"name": "hookline-internal", "namespace": "hookline"}, "data": data})

    internal = await Installation(cast("Api", api), "hookline", None).internal()

    assert internal is not None
    assert internal.agent_token == "token"
