"""A client of the machine, and what its answers say."""

from __future__ import annotations

from typing import Any

from syncline.protocol.rsocket.connection import (
    CheckSetup,
    Close,
    ConnectionInstruction,
    MessageReceived,
    SendFrame,
    ServerConnection,
    SetupAccepted,
    TimePassed,
)
from syncline.protocol.rsocket.frames import (
    Error,
    ErrorCode,
    Frame,
    FrameType,
    Request,
    Setup,
    decode_frame,
    encode_frame,
)
from syncline.protocol.rsocket.limits import RSocketLimits

LIMITS = RSocketLimits()
JSON = "application/json"
SETUP = Setup(20_000, 90_000, JSON, JSON, metadata=b'{"token":"Token x"}')


class Peer:
    """A client and the machine that serves it; `now_s` is the only clock."""

    def __init__(self, limits: RSocketLimits = LIMITS, *, set_up: bool = True) -> None:
        self.now_s = 100.0
        self.machine = ServerConnection(limits, now_s=self.now_s)
        if set_up:
            assert self.sends(SETUP) == [CheckSetup(SETUP)]
            assert self.machine.receive(SetupAccepted(self.now_s)) == []

    def sends(self, frame: Frame | bytes) -> list[ConnectionInstruction]:
        message = frame if isinstance(frame, bytes) else encode_frame(frame)
        return self.machine.receive(MessageReceived(message, self.now_s))

    def requests(self, stream_id: int, n: int, **fields: Any) -> list[ConnectionInstruction]:
        return self.sends(Request(stream_id, FrameType.REQUEST_STREAM, n, **fields))

    def waits(self, seconds: float) -> list[ConnectionInstruction]:
        self.now_s += seconds
        return self.machine.receive(TimePassed(self.now_s))


def sent(instructions: list[ConnectionInstruction]) -> list[Frame]:
    return [decode_frame(instruction.message) for instruction in instructions if isinstance(instruction, SendFrame)]


def ended(instructions: list[ConnectionInstruction]) -> ErrorCode:
    """The code with which the connection was ended."""
    [frame] = [frame for frame in sent(instructions) if isinstance(frame, Error) and frame.stream_id == 0]
    assert isinstance(instructions[-1], Close)
    assert frame.message.startswith("[PSYNC_")  # official clients log the user out at an error without a code
    return ErrorCode(frame.code)


def refused(instructions: list[ConnectionInstruction], stream_id: int) -> ErrorCode:
    """The code with which a stream was refused, alone."""
    [frame] = sent(instructions)
    assert isinstance(frame, Error)
    assert frame.stream_id == stream_id
    assert frame.message.startswith("[PSYNC_")
    assert not any(isinstance(instruction, Close) for instruction in instructions)
    return ErrorCode(frame.code)
