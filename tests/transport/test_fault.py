"""What an errno means: ours, or what the network said of the other side."""

import errno

import pytest

from monitor.core.wire import FaultKind, Phase
from monitor.transport.fault import broken, kind_of
from tests.core.test_blame import table

ERRNOS = """
               at_once      on_the_way
ECONNREFUSED   refused      refused
ECONNRESET     reset        reset
ECONNABORTED   reset        reset
EPIPE          reset        reset
ETIMEDOUT      timeout      timeout
EHOSTUNREACH   unreachable  unreachable
EHOSTDOWN      unreachable  unreachable
EPROTO         unreachable  unreachable
ENOPROTOOPT    unreachable  unreachable
ENETUNREACH    local        unreachable
EACCES         local        unreachable
ENONET         local        unreachable
EOPNOTSUPP     local        unreachable
ENETDOWN       local        local
EADDRNOTAVAIL  local        local
EADDRINUSE     local        local
EAFNOSUPPORT   local        local
EMFILE         local        local
ENFILE         local        local
ENOMEM         local        local
ENOBUFS        local        local
EPERM          local        local
EINVAL         local        local
EIO            local        local
"""


@pytest.mark.parametrize(("name", "when", "kind"), table(ERRNOS))
def test_an_errno_is_ours_unless_the_network_can_have_said_it(name: str, when: str, kind: str) -> None:
    code, told = getattr(errno, name), when == "on_the_way"
    assert kind_of(code, told=told) is FaultKind(kind)
    fault = broken(code, Phase.CONNECT, "192.0.2.1 port 443", told=told)
    assert (fault.kind, fault.errno, "192.0.2.1" in fault.text) == (FaultKind(kind), code, True)


def test_an_errno_that_nobody_knows_makes_no_outage() -> None:
    assert {kind_of(None), kind_of(9999), kind_of(9999, told=True)} == {FaultKind.LOCAL}
